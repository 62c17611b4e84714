"""Study files that give models by path, and what their studies store about them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from search_space.architecture import to_json
from search_space.huggingface.configuration import config_of
from search_space.preset_models import PRESETS
from studies.search.loop import run_study
from studies.spec.difference import difference
from studies.spec.reference_models import (
    check_models,
    model_of,
    paired_reference,
    with_stored_models,
)
from studies.spec.study_file import read_spec
from studies.spec.study_spec import StudySpec, from_json
from studies.spec.study_spec import to_json as spec_to_json
from studies.storage.store import Store
from tests.search_space.strategies import ATTENTION, CONV, stack
from tests.studies.fakes import all_stages

MINE = stack(CONV, ATTENTION)
STUDY = """
name = "small"
trials = 1
references = [{references}]
{more}

[[objectives]]
name = "loss"

[[objectives]]
name = "decode"

[space]
depth = [2]
width = [64]
mixers = ["c", "a"]
feed_forward = [2.0]
vocab_size = [512]
head_dim = [32]

[device]
runner = "fake"
{device}
"""


def read(folder: Path, *references: str, more: str = "", device: str = "") -> StudySpec:
    named = ", ".join(map(json.dumps, references))
    file = folder / "study.toml"
    file.write_text(STUDY.format(references=named, more=more, device=device))
    return read_spec(file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a study file, which is not the working directory."""
    place = tmp_path / "place"
    (place / "models").mkdir(parents=True)
    (place / "models" / "mine.json").write_text(to_json(MINE))
    (place / "qwen").mkdir()
    (place / "qwen" / "config.json").write_text(json.dumps(config_of(PRESETS["qwen3-0.6b"])))
    return place


def test_files_and_folders_are_named_like_presets(folder: Path) -> None:
    spec = read(folder, "lfm2-350m", "models/mine.json", "qwen")
    assert spec.references == ("lfm2-350m", "mine", "qwen")
    assert model_of(spec, "lfm2-350m") == PRESETS["lfm2-350m"]
    assert model_of(spec, "mine") == MINE
    assert model_of(spec, "qwen") == PRESETS["qwen3-0.6b"]
    assert from_json(spec_to_json(spec)) == spec
    named = read(folder, "qwen/config.json", device='reference = "models/mine.json"')
    assert named.references == ("qwen",)
    assert paired_reference(named) == "mine"


def test_they_are_scored_like_presets(folder: Path, tmp_path: Path) -> None:
    spec = read(folder, "models/mine.json")
    with Store.open(f"sqlite:///{tmp_path / 'nas.db'}") as store:
        run_study(spec, evaluators=all_stages(), store=store)
        [reference] = store.trials(spec.name, "reference")
        assert (reference.name, reference.state) == ("mine", "complete")
        assert reference.model is not None
        assert store.architecture(reference.model.hash) == MINE


def test_a_study_resumes_without_the_file(folder: Path) -> None:
    begun = read(folder, "models/mine.json")
    (folder / "models" / "mine.json").unlink()
    spec = read(folder, "models/mine.json")
    with pytest.raises(ValueError, match=r"^references\[0\]: '.*models/mine\.json' does not exist"):
        check_models(spec)
    known = with_stored_models(spec, from_json(spec_to_json(begun)))
    assert known == begun


def test_a_file_that_was_changed_is_another_study(folder: Path) -> None:
    begun = read(folder, "models/mine.json")
    (folder / "models" / "mine.json").write_text(to_json(replace(MINE, norm_eps=0.1)))
    [change] = difference(begun, with_stored_models(read(folder, "models/mine.json"), begun))
    assert change.startswith("models.mine: ")


@pytest.mark.parametrize(
    ("references", "more", "device", "sentence"),
    [
        (["mine"], "", "", "references[0]: 'mine' is neither a preset nor a file; expected one of"),
        (["lfm2-350"], "", "", "did you mean lfm2-350m?"),
        ([], "", 'reference = "lfm9"', "device.reference: 'lfm9' is neither a preset nor a file"),
        (["models/mine.json"] * 2, "", "", "references: mine is given twice"),
        (
            ["models/mine.json", "mine.json"],
            "",
            "",
            "references[1]: 'mine.json' has the same name as '",
        ),
        (
            ["models/lfm2-350m.json"],
            "",
            "",
            "references[0]: 'models/lfm2-350m.json' has the same name",
        ),
        (["models/mine.json"], "", 'reference = "mine.json"', "device.reference: 'mine.json' has"),
        (["models/7.json"], "", "", "references[0]: 'models/7.json' has a number as its name"),
        (["text.json"], "", "", "references[0]: "),
        (["models"], "", "", "references[0]: model: '"),
        ([], "models = {}", "", "models is not a known field; use references or device.reference"),
        (["\0"], "", "", "is neither a preset nor a file"),
    ],
)
def test_an_error_is_one_sentence(
    references: list[str], more: str, device: str, sentence: str, folder: Path
) -> None:
    (folder / "text.json").write_text("no architecture")
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is checked below
        read(folder, *references, more=more, device=device)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(f"{folder / 'study.toml'}: ")
    assert "\n" not in str(caught.value)
