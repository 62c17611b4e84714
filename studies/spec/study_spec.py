"""The specification of a study: the whole study file, and the checks across its tables."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Self, assert_never

from pydantic import Field, field_validator, model_validator

from evaluators.quality.recall_probe import RecallProbe
from evaluators.scores import (
    PER_BYTE,
    TASK,
    device_of,
    is_additive,
    is_predictable,
    is_timed,
    measured_names,
    score_names,
)
from evaluators.speed.runners import RUNNERS
from evaluators.text.corpus import check_corpus
from evaluators.text.task import read_task
from search_space.architecture import Architecture
from search_space.input_errors import format_value, one_of, suggest_name
from search_space.preset_models import PRESETS
from search_space.space.encoding import encode
from search_space.space.layout_space import check_layouts_only
from search_space.space.matching import Matched, MatchedLatency
from search_space.space.space_definition import Space, check_weight_rule
from search_space.strict import parse_json
from studies.spec.study_tables import (
    COST_AWARE_SAMPLERS,
    STUDY_NAME,
    Constraint,
    DeviceSettings,
    NamedSampler,
    Objective,
    ProxySettings,
    SamplerSettings,
    StrictModel,
    Target,
)


class StudySpec(StrictModel):
    """A whole study file with every default filled in.

    Attributes:
        name: The name of the study: 1 to 64 lower-case letters, digits, dots, dashes or
            underscores, starting with a letter or a digit.
        trials: The number of candidates to evaluate, 1 to 1,000,000.
        seed: The seed of the search, 0 to 4,294,967,295.
        storage: The database: `sqlite:///FILE` or `postgresql://USER@HOST/NAME`. A relative FILE
            is relative to the current folder.
        space: The choices and rules that candidates are drawn from.
        target: The deployment that they are measured for.
        objectives: The scores to minimise, two or more.
        constraints: The scores that are limited but not minimised.
        proxy: The short training that estimates quality.
        recall: The associative recall probe behind the score `recall_error`.
        device: Where and how precisely latency is measured.
        sampler: How candidates are proposed.
        references: The names of the models that are scored in addition to the candidates.
        models: The named models that are not presets. It is not a key of the study file; see
            `with_models`.
        starts: The architectures of each name in `sampler.start_from`, or the path of a file that
            does not exist. It is not a key of the study file; see `with_start_files` and
            `warm_start`.
    """

    name: str
    trials: int = Field(ge=1, le=1_000_000)
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    storage: str = "sqlite:///nas.db"
    space: Space
    target: Target = Target()
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()
    proxy: ProxySettings = ProxySettings()
    recall: RecallProbe = RecallProbe()
    device: DeviceSettings = DeviceSettings()
    sampler: SamplerSettings = SamplerSettings()
    references: tuple[str, ...] = ()
    models: Mapping[str, Architecture | str] = {}
    starts: Mapping[str, tuple[Architecture, ...] | str] = {}

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not re.fullmatch(STUDY_NAME, name):
            raise ValueError(
                f"{name!r} is not 1 to 64 lower-case letters, digits, dots, dashes or underscores, "
                "starting with a letter or a digit"
            )
        return name

    @field_validator("storage")
    @classmethod
    def _check_storage(cls, storage: str) -> str:
        # Only the scheme is shown, because the rest may contain a password.
        scheme, separator, rest = storage.partition("://")
        if not separator or scheme not in _DATABASES:
            shown = f"'{scheme[:20]}'" if separator else "a value without ://"
            raise ValueError(f"{shown} is not sqlite:///FILE or postgresql://USER@HOST/NAME")
        if scheme == "sqlite" and (rest in ("/", "/:memory:") or not rest.startswith("/")):
            raise ValueError(f"'{storage}' is not sqlite:///FILE; a study must be stored in a file")
        return storage

    @field_validator("objectives")
    @classmethod
    def _check_objectives(cls, objectives: tuple[Objective, ...]) -> tuple[Objective, ...]:
        if len(objectives) < 2:
            raise ValueError(f"a Pareto front requires at least 2, not {len(objectives)}")
        _check_different([objective.name for objective in objectives])
        return objectives

    @field_validator("constraints")
    @classmethod
    def _check_constraints(cls, constraints: tuple[Constraint, ...]) -> tuple[Constraint, ...]:
        _check_different([constraint.name for constraint in constraints])
        return constraints

    @field_validator("references")
    @classmethod
    def _check_references(cls, references: tuple[str, ...]) -> tuple[str, ...]:
        _check_different(references)
        return references

    @property
    def sampler_kind(self) -> NamedSampler:
        """The kind of sampler; `auto` is `known-costs` if that is possible, and otherwise `tpe`."""
        if self.sampler.kind != "auto":
            return self.sampler.kind
        return "known-costs" if len(self._unpredictable) == 1 else "tpe"

    @property
    def _unpredictable(self) -> list[str]:
        """The objectives that cannot be estimated before a candidate is evaluated."""
        names = [objective.name for objective in self.objectives]
        return [name for name in names if not is_predictable(name)]

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        named = {f"references[{n}]": name for n, name in enumerate(self.references)}
        for field, model in (named | {"device.reference": self.device.reference}).items():
            if model is not None and model not in PRESETS and model not in self.models:
                near = suggest_name(model, list(PRESETS))
                raise ValueError(f"{field}: {model!r} is neither a preset nor a file; {near}")
        known = score_names(self.target.more_depths, self.target.devices)
        for field, name in named_scores(self).items():
            device = device_of(name)
            if device is not None and device not in self.target.devices:
                raise ValueError(
                    f"{field}: {name!r} is not possible, because target.devices lacks {device!r}"
                )
            if name not in known:
                raise ValueError(f"{field}: {name!r} is not a score; {suggest_name(name, known)}")
            if name == TASK and self.proxy.task is None:
                raise ValueError(
                    f"{field}: '{TASK}' is not possible without proxy.task, a file of prompts and "
                    "completions"
                )
        matched = self.space.matched
        latencies = [name for name in known if is_timed(name) and is_additive(name)]
        if isinstance(matched, MatchedLatency) and matched.score not in latencies:
            raise ValueError(
                f"space.matched.score: {matched.score!r} is not {one_of(latencies)}, which can be "
                "predicted"
            )
        formats = RUNNERS[self.device.runner].quantizations
        if is_measured_here(self) and self.target.quantization not in formats:
            raise ValueError(
                f"target.quantization: {self.target.quantization!r} is not {one_of(formats)}, "
                f"which the runner {self.device.runner!r} supports"
            )
        objectives = [objective.name for objective in self.objectives]
        unpredictable = self._unpredictable
        if self.sampler.kind in COST_AWARE_SAMPLERS and len(unpredictable) != 1:
            found = ", ".join(unpredictable) or "none"
            raise ValueError(
                f"sampler.kind: {self.sampler.kind!r} requires exactly one objective that cannot "
                f"be estimated before a candidate is evaluated, such as loss; here: {found}"
            )
        if self.name in self.sampler.start_from:
            index = self.sampler.start_from.index(self.name)
            raise ValueError(
                f"sampler.start_from[{index}]: {self.name!r} is this study; a study starts from "
                "others"
            )
        for index, constraint in enumerate(self.constraints):
            if constraint.name in objectives:
                place = objectives.index(constraint.name)
                raise ValueError(
                    f"constraints[{index}].name: {constraint.name} is an objective; set "
                    f"objectives[{place}].max instead"
                )
        try:
            check_weight_rule(self.space, self.target.quantization)
        except ValueError as error:
            raise ValueError(f"space.{error}") from None
        if self.proxy.method == "shared":
            _check_shared(self)
        return self


def named_scores(spec: StudySpec) -> dict[str, str]:
    """Return the scores that a study asks for, by the field that names each."""
    objectives = {f"objectives[{n}].name": item.name for n, item in enumerate(spec.objectives)}
    constraints = {f"constraints[{n}].name": item.name for n, item in enumerate(spec.constraints)}
    match spec.space.matched:
        case MatchedLatency(score=score):
            matched = {"space.matched.score": score}
        case Matched() | None:
            matched = {}
        case _:
            assert_never(spec.space.matched)
    return objectives | constraints | matched


def asked_scores(spec: StudySpec) -> tuple[str, ...]:
    """Return the scores that a study asks for, each of them once, objectives first."""
    return tuple(dict.fromkeys(named_scores(spec).values()))


def is_measured_here(spec: StudySpec) -> bool:
    """Return whether a study measures models on the machine that runs it.

    It does not if it names devices and asks for no score of this machine.
    """
    here = {*measured_names(spec.target.more_depths), *PER_BYTE}
    return not spec.target.devices or bool(here & set(asked_scores(spec)))


def check_machine(spec: StudySpec) -> None:
    """Check that the corpus and the task of a study are available on this machine.

    Raises:
        ValueError: The corpus or the task cannot be read.
    """
    try:
        check_corpus(spec.proxy.corpus)
        if spec.proxy.task is not None:
            read_task(spec.proxy.task)
    except ValueError as error:
        raise ValueError(f"proxy.{error}") from None


def to_json(spec: StudySpec) -> str:
    """Return the canonical JSON, with all defaults so that a stored study keeps its settings."""
    return json.dumps(spec.model_dump(mode="json"), sort_keys=True)


def from_json(text: str, study: str | None = None) -> StudySpec:
    """Read a specification that `to_json` of this release or an earlier one has written.

    Args:
        text: The specification.
        study: The name under which it is stored, for the error.

    Raises:
        ValueError: The text is not a specification.
    """
    named = "" if study is None else f" {format_value(study)}"
    return parse_json(StudySpec, text, f"the stored study{named}")


_DATABASES = ("sqlite", "postgresql", "postgresql+psycopg", "postgres")


def _check_shared(spec: StudySpec) -> None:
    """Check that the space has one size and that it contains the reference models."""
    try:
        check_layouts_only(spec.space)
    except ValueError as error:
        raise ValueError(f"space.{error} when proxy.method is 'shared'") from None
    for index, name in enumerate(spec.references):
        model = spec.models.get(name, PRESETS.get(name))
        if isinstance(model, Architecture) and encode(spec.space, model) is None:
            raise ValueError(
                f"references[{index}]: {name!r} is not in the space, as proxy.method 'shared' "
                "requires"
            )


def _check_different(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is given twice")
