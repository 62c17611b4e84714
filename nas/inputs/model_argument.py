"""What `nas show` and `nas export` are about: a model or a trial, as it is or stretched."""

from dataclasses import dataclass
from pathlib import Path

from nas.inputs.named_model import find_model
from nas.inputs.study_argument import find_study
from search_space.architecture import Architecture
from search_space.architecture_file import architecture_file
from search_space.preset_models import PRESETS
from search_space.scaling import missed, parse_parameters, scaled
from studies.analysis import summaries
from studies.analysis.summaries import TrialDetail
from studies.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An architecture and what is known of it.

    detail: the trial that it is, or was before it was stretched.
    file: the architecture file that it was read from, or that lies in its folder.
    folder: where it was read from, if that is a folder.
    stretched_from: the architecture before; None for one as it was found.
    remark: a sentence about a stretching that did not reach its target.
    """

    name: str
    architecture: Architecture
    detail: TrialDetail | None = None
    file: Path | None = None
    folder: Path | None = None
    stretched_from: Architecture | None = None
    remark: str | None = None


def find_subject(
    model: str, trial: str | None, *, storage: str | None = None, scale: str | None = None
) -> Subject:
    """A preset, an architecture file, a model's folder, or a trial of a study.

    scale: a number of parameters to stretch it to. ValueError for what there is not.
    """
    found = _find_model(model) if trial is None else _find_trial(model, trial, storage)
    if scale is None:
        return found
    parameters = parse_parameters(scale)
    stretched = scaled(found.architecture, parameters)
    return Subject(
        name=f"{found.name}-{scale.lower()}",
        architecture=stretched,
        detail=found.detail,
        file=found.file,
        stretched_from=found.architecture,
        remark=missed(stretched, parameters),
    )


def _find_model(text: str) -> Subject:
    if text.endswith(".toml"):
        raise ValueError(f"trial: a study has many; name one, as in: {text} 0")
    found = find_model(text)
    if text in PRESETS:
        return Subject(name=found.name, architecture=found.architecture)
    folder = Path(text) if Path(text).is_dir() else None
    file = architecture_file(Path(text))
    return Subject(name=found.name, architecture=found.architecture, file=file, folder=folder)


def _find_trial(study: str, trial: str, storage: str | None) -> Subject:
    place = find_study(study, storage)
    with Store.open(place.storage, create=False) as store:
        detail = summaries.detail(store, place.name, trial)
    if detail.architecture is None:
        raise ValueError(f"trial: {trial} has no architecture yet")
    return Subject(name=f"{place.name}-{trial}", architecture=detail.architecture, detail=detail)
