"""The tables of a study file, which are the reference of its keys.

Each class is a table of the file, and each attribute is a key. `StudySpec` has the keys outside of
them, and the table `[space]` is a `Space`.
"""

import re
from typing import Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from evaluators.scores import DEVICE_NAME
from evaluators.speed.runners import RUNNERS, RunnerKind
from evaluators.speed.workload_parts import Deployment
from evaluators.text.corpus import CorpusName
from hardware.machine_lock import IfOccupied, LockWait, make_lock_wait
from hardware.runner import ModelFormat
from search_space.architecture_file import LIST_SUFFIX
from search_space.input_errors import format_value
from search_space.quantization import Quantization

NamedSampler: TypeAlias = Literal[
    "known-costs",
    "tpe",
    "nsga2",
    "gp",
    "random",
    "evolution",
    "front-mutation",
    "screened-tpe",
]

SamplerKind: TypeAlias = Literal["auto", NamedSampler]

# These need an estimate of each objective but one before a candidate is evaluated.
COST_AWARE_SAMPLERS: tuple[NamedSampler, ...] = ("known-costs", "front-mutation", "screened-tpe")

STUDY_NAME = r"[a-z0-9][a-z0-9._-]{0,63}"
"""The names that a study may have, as a regular expression."""

_MOST_TOKENS = 1_048_576


class StrictModel(BaseModel):
    """A frozen model that rejects unknown keys and does not convert values."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Target(StrictModel):
    """The table `[target]`: the deployment that candidates are measured for.

    Attributes:
        quantization: How the weights are stored on the device. The runner decides which of `fp32`,
            `fp16`, `int8` and `int4` are possible.
        context_depth: The number of preceding tokens, 0 to 1,048,576, at which decoding is timed.
        prompt_length: The number of prompt tokens, 1 to 1,048,576, for which prefill is timed.
        more_depths: Further context depths in ascending order, 0 to 1,048,576 tokens each, at
            which decoding is timed. The depth 4096 adds the score `decode@4096`.
        devices: The names of devices in the file `devices.toml` of the machine that runs the study.
            Each adds scores such as `decode@phone` and `memory@phone`. Scores without a name are
            measured on the machine itself.
    """

    quantization: Quantization = "int4"
    context_depth: int = Field(default=1024, ge=0, le=_MOST_TOKENS)
    prompt_length: int = Field(default=512, ge=1, le=_MOST_TOKENS)
    more_depths: tuple[int, ...] = ()
    devices: tuple[str, ...] = ()

    @property
    def deployment(self) -> Deployment:
        """The deployment that the costs of a model follow from."""
        return Deployment(
            quantization=self.quantization,
            prompt_length=self.prompt_length,
            context_depth=self.context_depth,
        )

    @field_validator("more_depths")
    @classmethod
    def _check_more_depths(cls, depths: tuple[int, ...]) -> tuple[int, ...]:
        if list(depths) != sorted(set(depths)) or not all(0 <= n <= _MOST_TOKENS for n in depths):
            raise ValueError(
                f"{list(depths)} is not in ascending order between 0 and {_MOST_TOKENS:,}"
            )
        return depths

    @field_validator("devices")
    @classmethod
    def _check_devices(cls, devices: tuple[str, ...]) -> tuple[str, ...]:
        for index, name in enumerate(devices):
            if not re.fullmatch(DEVICE_NAME, name):
                raise ValueError(
                    f"{format_value(name)} is not the name of a device: 1 to 32 lower-case "
                    "letters, digits, dashes or underscores, starting with a letter"
                )
            if name in devices[:index]:
                raise ValueError(f"{format_value(name)} is given twice")
        return devices

    @model_validator(mode="after")
    def _check_depths(self) -> Self:
        if self.context_depth in self.more_depths:
            raise ValueError(
                f"more_depths: {self.context_depth} is the context_depth, which the score "
                "'decode' already covers"
            )
        return self


class Objective(StrictModel):
    """An entry of `[[objectives]]`: a score to minimise.

    Attributes:
        name: The name of the score; see `evaluators.scores`.
        max: The limit, in the unit of the score and above 0. A candidate that is certainly above
            it is infeasible. None sets no limit.
    """

    name: str
    max: float | None = Field(default=None, gt=0)


class Constraint(StrictModel):
    """An entry of `[[constraints]]`: a score that is limited but not minimised.

    Attributes:
        name: The name of the score; see `evaluators.scores`.
        max: The limit, in the unit of the score and above 0. A candidate that is certainly above
            it is infeasible.
    """

    name: str
    max: float = Field(gt=0)


class ProxySettings(StrictModel):
    """The table `[proxy]`: the short training of a narrow copy that estimates quality.

    Attributes:
        corpus: The training text: `python` (the sources of the standard library), a file, a folder,
            a pattern such as `docs/**/*.md`, a dataset such as `hf:OWNER/NAME:CONFIGURATION#text`,
            or a list of these; see `read_documents`.
        task: The path of a file of prompts and completions for the score `task`; see `read_task`.
            That score is known only at the end of the training, so rungs stop no candidate of a
            study that has it as an objective.
        task_share: The fraction of the training tokens, above 0 and at most 1, that is taken from
            the task.
        width_share: The width of the proxy as a fraction, above 0 and at most 1, of the candidate's
            width.
        context_length: Tokens per sequence, 16 to 8,192.
        batch_size: Sequences per training step, 1 to 1,024.
        method: `scratch` trains every candidate. `shared` trains one network that contains all
            layouts of one size; each candidate inherits its loss from it, and rungs do not apply.
        token_budget: Tokens per training, 1,000 to 1e12 and at least 10 steps.
        shared_token_budget: Tokens in the one training of the shared network, with the same bounds.
        rungs: Fractions of the token budget in ascending order, between 0 and 1 (exclusive), at
            which a candidate that cannot reach the front is stopped early.
        rung_margin: The difference in loss, 0 to 10 bits per byte, above which it is stopped.
        device: Where training runs, `cpu` or `cuda`.
        threads: The number of CPU threads of each training, 1 to 1,024.
        parallel: The number of candidates, 1 to 1,024, that are trained at the same time, each in a
            process of its own. None chooses as many as this machine has cores and memory for. It
            may be changed later.
    """

    corpus: CorpusName = "python"
    task: str | None = None
    task_share: float = Field(default=0.25, gt=0, le=1)
    width_share: float = Field(default=0.125, gt=0, le=1)
    context_length: int = Field(default=256, ge=16, le=8_192)
    batch_size: int = Field(default=4, ge=1, le=1_024)
    method: Literal["scratch", "shared"] = "scratch"
    token_budget: int = Field(default=800_000, ge=1_000, le=1_000_000_000_000)
    shared_token_budget: int = Field(default=5_000_000, ge=1_000, le=1_000_000_000_000)
    rungs: tuple[float, ...] = (0.25, 0.5)
    rung_margin: float = Field(default=0.02, ge=0, le=10)
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(default=1, ge=1, le=1_024)
    parallel: int | None = Field(default=None, ge=1, le=1_024)

    @property
    def training_tokens(self) -> int:
        """Tokens of the training of a candidate, or of the shared network."""
        return self.token_budget if self.method == "scratch" else self.shared_token_budget

    @field_validator("corpus", mode="before")
    @classmethod
    def _check_corpus(cls, corpus: object) -> object:
        names = (corpus,) if isinstance(corpus, str) else corpus
        if not isinstance(names, list | tuple) or not names:
            raise ValueError(f"{format_value(corpus)} is not a name or a list of names")
        for name in names:
            if not isinstance(name, str):
                raise ValueError(f"{format_value(name)} is not a name")
        return corpus if isinstance(corpus, str) else tuple(names)

    @field_validator("rungs")
    @classmethod
    def _check_rungs(cls, rungs: tuple[float, ...]) -> tuple[float, ...]:
        if list(rungs) != sorted(set(rungs)) or not all(0 < rung < 1 for rung in rungs):
            raise ValueError(f"{list(rungs)} is not in ascending order between 0 and 1 (exclusive)")
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
                    f"{name}: {tokens:,} is not at least 10 batches of "
                    f"context_length * batch_size = {batch:,} tokens"
                )
        return self


class DeviceSettings(StrictModel):
    """The table `[device]`: where and how precisely latency is measured.

    Attributes:
        runner: The program that executes the models; see `evaluators.speed.runners`.
        threads: The number of threads, 1 to 1,024.
        llama_bench: The path of the program llama-bench, for the runner `llama.cpp` only. None
            looks it up in PATH.
        reference: The model that every candidate is timed interleaved with; see `paired_reference`.
        precision: The requested precision of times, as a fraction above 0 and below 1. If half the
            width of the 95 % confidence interval of a time's ratio to the reference model is larger
            than this fraction of it, the time is provisional: it decides nothing and is measured
            again.
        seconds: Time limit per candidate, in seconds, above 0 and at most 3,600.
        longest_wait: Seconds, 0 to 86,400, that a measurement and the training wait for another
            process that measures on this machine. None is ten minutes more than twice `seconds`.
            It may be changed later, as may `if_occupied`.
        if_occupied: What a measurement does if that process has not ended by then: `measure`
            regardless, with provisional times, or `stop` the run. Training continues.
    """

    runner: RunnerKind = "local"
    threads: int = Field(default=1, ge=1, le=1_024)
    llama_bench: str | None = None
    reference: str | None = None
    precision: float = Field(default=0.05, gt=0, lt=1)
    seconds: float = Field(default=20.0, gt=0, le=3_600)
    longest_wait: float | None = Field(default=None, ge=0, le=86_400)
    if_occupied: IfOccupied = "measure"

    @property
    def lock_wait(self) -> LockWait:
        """How long to wait for another process that measures, and what to do then."""
        return make_lock_wait(self.seconds, self.longest_wait, self.if_occupied)

    @property
    def model_format(self) -> ModelFormat:
        """The format of the model files that the runner reads."""
        return RUNNERS[self.runner].model_format

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.llama_bench is not None and self.runner != "llama.cpp":
            raise ValueError(
                f"llama_bench: {self.llama_bench!r} is not used by the runner {self.runner!r}, "
                "only by 'llama.cpp'"
            )
        return self


class SamplerSettings(StrictModel):
    """The table `[sampler]`: how candidates are proposed.

    Attributes:
        kind: `known-costs`, which estimates the costs of a candidate in advance; Optuna's `tpe`,
            `nsga2`, `gp` or `random`; or for comparison `evolution`, `front-mutation` or
            `screened-tpe`. `auto` is `known-costs` if exactly one objective cannot be estimated,
            and otherwise `tpe`.
        startup_trials: The number of random trials, 2 to 10,000, before the sampler learns from
            results. For `nsga2` it is also the population size.
        start_from: What the search starts from: names of studies in the same database, whose fronts
            become the first candidates and whose other candidates inform the sampler, and files of
            architectures, which become the first candidates. A name that contains a slash or ends
            with `.json` or `.jsonl` is a file, relative to the study file; see
            `read_architectures`.
    """

    kind: SamplerKind = "auto"
    startup_trials: int = Field(default=10, ge=2, le=10_000)
    start_from: tuple[str, ...] = ()

    @field_validator("start_from")
    @classmethod
    def _check_start_from(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        earlier: set[str] = set()
        for name in names:
            if name in earlier:
                raise ValueError(f"{format_value(name)} is given twice")
            earlier.add(name)
            if not is_start_file(name) and not re.fullmatch(STUDY_NAME, name):
                raise ValueError(
                    f"{format_value(name)} is neither a file (.json or .jsonl) nor the name of a "
                    "study"
                )
        return names


def is_start_file(name: str) -> bool:
    """Return whether a name in `sampler.start_from` is a file, not a study."""
    return "/" in name or name.endswith((".json", LIST_SUFFIX))
