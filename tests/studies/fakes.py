"""Deterministic evaluators whose scores conflict like real ones, and a small study."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from evaluators.evaluator import (
    CurvePoint,
    Evaluation,
    EvaluationFailed,
    FailureKind,
    Progress,
    Report,
    Score,
)
from hardware.environment import Environment
from hardware.measurement import Disturbance, Measurement, parse_workload
from search_space.architecture import Architecture, architecture_hash
from search_space.costs import parameter_counts
from search_space.space.space_definition import Space
from studies.records import Trial
from studies.search.loop import run_study
from studies.spec.study_spec import Objective, ProxySettings, SamplerSettings, StudySpec
from studies.storage.store import Store

TOKEN_BUDGET = 40_000

ENVIRONMENT = Environment(
    host="fake",
    system="Fake 1",
    cpu="one",
    cores=2,
    memory_bytes=2**33,
    python="3.11",
    runtime_version="1",
    governor=None,
    clock_mhz=2_000.5,
    temperature_c=None,
    load_1min=0.25,
)


def small_spec(storage: str, **changes: object) -> StudySpec:
    """Return a study with three objectives, whose space is too large for a test to exhaust."""
    space = Space(
        depth=(4, 6),
        width=(256, 512),
        mixers=("c", "a", "s", "l", "-"),
        feed_forward=(1.0, 2.0, 3.0),
        vocab_size=(1_024, 4_096),
    )
    spec = StudySpec(
        name="small",
        trials=6,
        storage=storage,
        space=space,
        objectives=(Objective(name="loss"), Objective(name="decode"), Objective(name="memory")),
        proxy=ProxySettings(token_budget=TOKEN_BUDGET, rungs=(0.25, 0.5), rung_margin=0.01),
        sampler=SamplerSettings(kind="random"),
    )
    return spec.model_copy(update=changes)


def unlucky(architecture: Architecture, fraction: float) -> bool:
    """Return whether an architecture is in a fixed subset, which is about this fraction of all."""
    return int(architecture_hash(architecture), 16) % 1_000 < 1_000 * fraction


@dataclass(kw_only=True)
class FakeEvaluator:
    """An evaluator that records what it evaluates.

    `failing` selects the architectures that fail, and `seconds` is the time of an evaluation.
    """

    stage: str
    score_names: tuple[str, ...]
    measure: Callable[[Architecture, Report], Evaluation]
    fingerprint: str = ""
    seconds: float = 0.0
    failing: Callable[[Architecture], bool] = lambda architecture: False
    failure: FailureKind = "diverged"
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fingerprint = self.fingerprint or f"fake-{self.stage}"

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        self.asked.append(architecture_hash(architecture))
        for step in range(4):
            time.sleep(self.seconds / 4)
            report(Progress(done=step / 4, text=f"step {step}"))
        if self.failing(architecture):
            raise EvaluationFailed(self.failure, "requested by the test")
        return self.measure(architecture, report)


Stages: TypeAlias = tuple[FakeEvaluator, FakeEvaluator, FakeEvaluator]


def static() -> FakeEvaluator:
    return FakeEvaluator(stage="costs", score_names=("parameters", "memory"), measure=_costs)


def latency() -> FakeEvaluator:
    return FakeEvaluator(stage="latency", score_names=("decode",), measure=_latency)


def training() -> FakeEvaluator:
    return FakeEvaluator(stage="training", score_names=("loss",), measure=_training)


def all_stages() -> Stages:
    return static(), latency(), training()


def run_with_fakes(
    spec: StudySpec, store: Store, stages: Stages | None = None
) -> tuple[Trial, ...]:
    """Run a study to its end and return its candidates."""
    run_study(spec, evaluators=stages or all_stages(), store=store)
    return store.trials(spec.name)


def decode_ms(architecture: Architecture) -> float:
    cost = {"c": 0.2, "a": 1.0, "s": 0.6, "l": 0.3, "-": 0.0}
    mixers = sum(cost[letter] for letter in architecture.layout)
    return mixers + parameter_counts(architecture).total / 1e7


def final_loss(architecture: Architecture) -> float:
    worth = {"c": 0.04, "a": 0.06, "s": 0.05, "l": 0.045, "-": 0.0}
    gain = sum(worth[letter] for letter in architecture.layout)
    luck = int(architecture_hash(architecture), 16) % 1_000 / 1_000
    return 3.0 - gain - parameter_counts(architecture).total / 1e9 - 0.3 * luck**3


def _costs(architecture: Architecture, report: Report) -> Evaluation:
    parameters = parameter_counts(architecture).total
    return Evaluation(
        scores=(
            Score(name="parameters", value=float(parameters), unit=""),
            Score(name="memory", value=parameters / 2e6, unit="MB"),
        ),
        seconds=0.001,
    )


def _latency(architecture: Architecture, report: Report) -> Evaluation:
    milliseconds = decode_ms(architecture)
    sample_ns = round(milliseconds * 1e6)
    measurement = Measurement(
        workload=parse_workload("tg8@64"),
        runtime="fake",
        threads=1,
        cores=(0,),
        samples_ns=(sample_ns, sample_ns + 10, sample_ns - 10),
        warmup_ns=(2 * sample_ns,),
        load_ns=5_000_000_000,
        peak_memory_bytes=3_000_000_000,
        environment=ENVIRONMENT,
        window=1,
        empty_memory_bytes=20_000_000,
        loaded_memory_bytes=2_500_000_000,
        model_bytes=1_500_000_000,
        environment_after=replace(ENVIRONMENT, load_1min=1.5),
        disturbance=Disturbance(steal=0.01, beside=0.02, elsewhere=0.5, waited_s=3.0),
    )
    reference = replace(measurement, samples_ns=(7_000_000, 7_100_000, 6_900_000))
    score = Score(
        name="decode", value=milliseconds, unit="ms", low=milliseconds * 0.98, high=milliseconds
    )
    return Evaluation(
        scores=(score,), seconds=2.0, measurements=(replace(measurement, reference=reference),)
    )


def _training(architecture: Architecture, report: Report) -> Evaluation:
    loss = final_loss(architecture)
    curve = []
    for step in range(1, 9):
        point = CurvePoint(tokens=TOKEN_BUDGET * step // 8, loss=loss + 0.5 * (8 - step) / 8)
        curve.append(point)
        report(Progress(done=step / 8, text=f"{point.tokens:,} tokens", point=point))
    score = Score(name="loss", value=loss, unit="bits/byte", low=loss - 0.01, high=loss + 0.01)
    return Evaluation(scores=(score,), seconds=30.0, curve=tuple(curve))
