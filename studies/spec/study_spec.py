"""A study: what is searched, for which target, by which objectives, and where it is kept."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from evaluators.quality.recall_probe import RecallProbe
from evaluators.scores import score_names
from evaluators.speed.runners import RUNNERS, RunnerKind
from evaluators.text.corpus import CorpusName, check_corpus
from evaluators.text.task import read_task
from hardware.runner import ModelFormat
from search_space.architecture import Architecture
from search_space.input_errors import nearest, shown
from search_space.preset_models import PRESETS
from search_space.quantization import Quantization
from search_space.space.encoding import encode
from search_space.space.space_definition import Space, check_layouts_only, check_weight_rule
from search_space.strict import one_of, parse_json

SamplerKind: TypeAlias = Literal["tpe", "nsga2", "gp", "random"]

_MOST_TOKENS = 1_048_576


class StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Target(StrictModel):
    """What is deployed: weights so quantised, decoding at this depth, this long a prompt.

    more_depths: where decoding is timed too, as the scores `decode@4096` and so on.
    """

    quantization: Quantization = "int4"
    context_depth: int = Field(default=1024, ge=0, le=_MOST_TOKENS)
    prompt_length: int = Field(default=512, ge=1, le=_MOST_TOKENS)
    more_depths: tuple[int, ...] = ()

    @field_validator("more_depths")
    @classmethod
    def _check_more_depths(cls, depths: tuple[int, ...]) -> tuple[int, ...]:
        if list(depths) != sorted(set(depths)) or not all(0 <= n <= _MOST_TOKENS for n in depths):
            raise ValueError(
                f"{list(depths)} is not in rising order between 0 and {_MOST_TOKENS:,}"
            )
        return depths

    @model_validator(mode="after")
    def _check_depths(self) -> Self:
        if self.context_depth in self.more_depths:
            raise ValueError(
                f"more_depths: {self.context_depth} is the context_depth, whose score is 'decode'"
            )
        return self


class Objective(StrictModel):
    """A score to make small; see evaluators.scores.

    max: the budget above which a candidate is infeasible.
    """

    name: str
    max: float | None = Field(default=None, gt=0)


class Constraint(StrictModel):
    """A score that must stay at or below `max` but is not optimised."""

    name: str
    max: float = Field(gt=0)


class ProxySettings(StrictModel):
    """The short training that stands for quality.

    corpus: `python` (the standard library's sources), a file, a folder, a pattern such as
        `docs/**/*.md`, or a list of these; see `read_documents`.
    task: the path of a file of prompts and completions, see `read_task`, for the score of that
        name; as that comes with the loss, a study with `task` as an objective has no use for rungs.
    task_share: of the tokens that are read, those of the task.
    width_share: the proxy's width as a share of the candidate's.
    method: `scratch` trains every candidate; `shared` trains one network that holds them all, from
        which each inherits its loss, and has no use for rungs. It compares layouts of one size.
    shared_token_budget: what that network is trained on, once a study.
    rungs: shares of the token budget at which a candidate that cannot reach the front stops.
    rung_margin: bits per byte by which it must be behind to be stopped.
    """

    corpus: CorpusName = "python"
    task: str | None = None
    task_share: float = Field(default=0.25, gt=0, le=1)
    width_share: float = Field(default=0.125, gt=0, le=1)
    context_length: int = Field(default=256, ge=16, le=8_192)
    batch_size: int = Field(default=4, ge=1, le=1_024)
    method: Literal["scratch", "shared"] = "scratch"
    token_budget: int = Field(default=400_000, ge=1_000, le=1_000_000_000_000)
    shared_token_budget: int = Field(default=5_000_000, ge=1_000, le=1_000_000_000_000)
    rungs: tuple[float, ...] = (0.5,)
    rung_margin: float = Field(default=0.02, ge=0, le=10)
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(default=1, ge=1, le=1_024)

    @field_validator("corpus", mode="before")
    @classmethod
    def _check_corpus(cls, corpus: object) -> object:
        names = (corpus,) if isinstance(corpus, str) else corpus
        if not isinstance(names, list | tuple) or not names:
            raise ValueError(f"{shown(corpus)} is not a name or a list of names")
        for name in names:
            if not isinstance(name, str):
                raise ValueError(f"{shown(name)} is not a name")
        return corpus if isinstance(corpus, str) else tuple(names)

    @field_validator("rungs")
    @classmethod
    def _check_rungs(cls, rungs: tuple[float, ...]) -> tuple[float, ...]:
        if list(rungs) != sorted(set(rungs)) or not all(0 < rung < 1 for rung in rungs):
            raise ValueError(f"{list(rungs)} is not in rising order between 0 and 1, both left out")
        return rungs

    @model_validator(mode="after")
    def _check_token_budget(self) -> Self:
        batch = self.context_length * self.batch_size
        budgets = {"token_budget": self.token_budget}
        if self.method == "shared":
            budgets["shared_token_budget"] = self.shared_token_budget
        for name, tokens in budgets.items():
            if tokens < 10 * batch:
                raise ValueError(
                    f"{name}: {tokens:,} is not 10 or more batches of "
                    f"context_length * batch_size = {batch:,} tokens"
                )
        return self


class DeviceSettings(StrictModel):
    """Where latency is measured, with how many threads, and how well.

    llama_bench: the program's path, for the runner llama.cpp; None looks it up in PATH.
    reference: the model that every candidate is timed in alternation with; see `paired_reference`.
    precision: half the width of a 95 % interval, as a share of the score, that is enough.
    seconds: when the timing of one candidate ends anyhow.
    """

    runner: RunnerKind = "local"
    threads: int = Field(default=1, ge=1, le=1_024)
    llama_bench: str | None = None
    reference: str | None = None
    precision: float = Field(default=0.02, gt=0, lt=1)
    seconds: float = Field(default=20.0, gt=0, le=3_600)

    @property
    def model_format(self) -> ModelFormat:
        return RUNNERS[self.runner].model_format

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.llama_bench is not None and self.runner != "llama.cpp":
            raise ValueError(
                f"llama_bench: {self.llama_bench!r} is not of use to the runner {self.runner!r}, "
                "only to 'llama.cpp'"
            )
        return self


class SamplerSettings(StrictModel):
    """Who proposes candidates.

    startup_trials: those drawn at random before the sampler learns; in nsga2 it is also the size of
        a generation.
    """

    kind: SamplerKind = "tpe"
    startup_trials: int = Field(default=10, ge=2, le=10_000)


class StudySpec(StrictModel):
    """A study file, every default filled in.

    references: models that are scored beside the candidates, by name.
    models: of those named that are no presets; see `with_models`.
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

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
            raise ValueError(
                f"{name!r} is not 1 to 64 small letters, digits, dots, dashes or underscores, "
                "the first a letter or a digit"
            )
        return name

    @field_validator("storage")
    @classmethod
    def _check_storage(cls, storage: str) -> str:
        # Only the scheme is ever shown: what follows it may hold a password.
        scheme, separator, rest = storage.partition("://")
        if not separator or scheme not in _DATABASES:
            shown = f"'{scheme[:20]}'" if separator else "a text without ://"
            raise ValueError(f"{shown} is not sqlite:///FILE or postgresql://USER@HOST/NAME")
        if scheme == "sqlite" and (rest in ("/", "/:memory:") or not rest.startswith("/")):
            raise ValueError(f"'{storage}' is not sqlite:///FILE, and a study is kept in a file")
        return storage

    @field_validator("objectives")
    @classmethod
    def _check_objectives(cls, objectives: tuple[Objective, ...]) -> tuple[Objective, ...]:
        if len(objectives) < 2:
            raise ValueError(f"{len(objectives)} is not two or more, which a front is made of")
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

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        named = {f"references[{n}]": name for n, name in enumerate(self.references)}
        for field, model in (named | {"device.reference": self.device.reference}).items():
            if model is not None and model not in PRESETS and model not in self.models:
                near = nearest(model, list(PRESETS))
                raise ValueError(f"{field}: {model!r} is neither a preset nor a file; {near}")
        known = score_names(self.target.more_depths)
        for field, name in named_scores(self).items():
            if name not in known:
                raise ValueError(f"{field}: {name!r} is not a score; {nearest(name, known)}")
            if name == "task" and self.proxy.task is None:
                raise ValueError(
                    f"{field}: 'task' is not possible without proxy.task, a file of prompts and "
                    "completions"
                )
        formats = RUNNERS[self.device.runner].quantizations
        if self.target.quantization not in formats:
            raise ValueError(
                f"target.quantization: {self.target.quantization!r} is not what the runner "
                f"{self.device.runner!r} takes: {one_of(formats)}"
            )
        objectives = [objective.name for objective in self.objectives]
        for index, constraint in enumerate(self.constraints):
            if constraint.name in objectives:
                place = objectives.index(constraint.name)
                raise ValueError(
                    f"constraints[{index}].name: {constraint.name} is an objective, "
                    f"whose budget is objectives[{place}].max"
                )
        try:
            check_weight_rule(self.space, self.target.quantization)
        except ValueError as error:
            raise ValueError(f"space.{error}") from None
        if self.proxy.method == "shared":
            _check_shared(self)
        return self


def named_scores(spec: StudySpec) -> dict[str, str]:
    """The scores that the study judges by, by the place where each is named."""
    objectives = {f"objectives[{n}].name": item.name for n, item in enumerate(spec.objectives)}
    constraints = {f"constraints[{n}].name": item.name for n, item in enumerate(spec.constraints)}
    return objectives | constraints


def asked_scores(spec: StudySpec) -> tuple[str, ...]:
    """The scores that the study judges by."""
    return tuple(named_scores(spec).values())


def check_machine(spec: StudySpec) -> None:
    """ValueError for what the study needs and this machine lacks: its text and its task."""
    try:
        check_corpus(spec.proxy.corpus)
        if spec.proxy.task is not None:
            read_task(spec.proxy.task)
    except ValueError as error:
        raise ValueError(f"proxy.{error}") from None


def to_json(spec: StudySpec) -> str:
    """The canonical text, defaults included, so that a stored study keeps what it was run with."""
    return json.dumps(spec.model_dump(mode="json"), sort_keys=True)


def from_json(text: str) -> StudySpec:
    """What `to_json` wrote, by this version or an earlier one."""
    return parse_json(StudySpec, text, "the stored study")


_DATABASES = ("sqlite", "postgresql", "postgresql+psycopg", "postgres")


def _check_shared(spec: StudySpec) -> None:
    """A shared network has one size, and knows no model but those of the space."""
    try:
        check_layouts_only(spec.space)
    except ValueError as error:
        raise ValueError(f"space.{error} where proxy.method is 'shared'") from None
    for index, name in enumerate(spec.references):
        model = spec.models.get(name, PRESETS.get(name))
        if isinstance(model, Architecture) and encode(spec.space, model) is None:
            raise ValueError(
                f"references[{index}]: {name!r} is not in the space, and proxy.method 'shared' "
                "scores nothing else"
            )


def _check_different(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is given twice")
