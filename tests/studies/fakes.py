"""Deterministic evaluators whose scores conflict like real ones, and a small study."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from evaluators.calibration import CalibrationKey, CalibrationStore, ReferenceTiming
from evaluators.evaluator import (
    CalibratedRatio,
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
from studies.search.events import Listener, ignore
from studies.search.loop import run_study
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import Objective, ProxySettings, SamplerSettings
from studies.storage.store import Store

TOKEN_BUDGET = 40_000
REFERENCE_MS = 7.0

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


@dataclass(kw_only=True)
class RefinableFake(FakeEvaluator):
    """A latency evaluator with the score `decode` that can measure again.

    `factor` and `is_busy` take an architecture and the number of its earlier runs. The former
    multiplies the time that a run measures. The latter returns whether other programs disturb it:
    the score is the median of the undisturbed runs. Without any, it is the median of all runs and
    provisional. `error` is half the width of its interval. `before_refining` is called before each
    repeat. With `calibrations`, the score is the ratio to a reference model, which takes 7 ms for
    the score to be `decode_ms`, multiplied by its time there.
    """

    stage: str = "latency"
    score_names: tuple[str, ...] = ("decode",)
    measure: Callable[[Architecture, Report], Evaluation] = field(init=False)
    factor: Callable[[Architecture, int], float] = lambda architecture, runs: 1.0
    is_busy: Callable[[Architecture, int], bool] = lambda architecture, runs: False
    error: float = 0.02
    before_refining: Callable[[Architecture], None] = lambda architecture: None
    calibrations: CalibrationStore | None = None
    reference_ms: float = REFERENCE_MS
    governor: str | None = None
    refined: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.measure = lambda architecture, report: self._measured(architecture, ())

    def refine(self, architecture: Architecture, earlier: Evaluation, report: Report) -> Evaluation:
        self.refined.append(architecture_hash(architecture))
        report(Progress(done=0.0, text="measuring again"))
        self.before_refining(architecture)
        return self._measured(architecture, earlier.measurements)

    def rescore(
        self, architecture: Architecture, evaluation: Evaluation, report: Report
    ) -> Evaluation:
        return replace(evaluation, scores=(self._score(evaluation.measurements),))

    @property
    def key(self) -> CalibrationKey:
        return CalibrationKey(device=self.fingerprint, reference="ab", workload="tg8@64")

    def _measured(self, architecture: Architecture, earlier: Sequence[Measurement]) -> Evaluation:
        (run,) = _latency(architecture, lambda progress: None).measurements
        assert run.disturbance is not None
        factor = self.factor(architecture, len(earlier))
        elsewhere = 1.0 if self.is_busy(architecture, len(earlier)) else 0.0
        run = replace(
            run,
            samples_ns=tuple(round(factor * sample) for sample in run.samples_ns),
            disturbance=replace(run.disturbance, elsewhere=elsewhere),
        )
        runs, remarks = (*earlier, run), ()
        if self.calibrations is not None:
            timing = ReferenceTiming(
                at=0.0, milliseconds=self.reference_ms, error=0.005, governor=self.governor
            )
            remarks = tuple(map(str, self.calibrations.add_timings({self.key: timing})))
        return Evaluation(
            scores=(self._score(runs),),
            seconds=2.0 * len(runs),
            measurements=runs,
            remarks=remarks,
        )

    def _score(self, runs: Sequence[Measurement]) -> Score:
        quiet = [run for run in runs if run.disturbance and not run.disturbance.elsewhere]
        value = statistics.median(run.samples_ns[0] / 1e6 for run in quiet or runs)
        error = self.error if quiet else 0.5
        bounds = value * math.exp(-error), value * math.exp(error)
        score = Score(
            name="decode",
            value=value,
            unit="ms",
            low=bounds[0],
            high=bounds[1],
            provisional=not quiet,
        )
        if self.calibrations is None:
            return score
        calibration = self.calibrations.calibration(self.key)
        assert calibration is not None
        ratio, low, high = (each / REFERENCE_MS for each in (value, *bounds))
        measured = CalibratedRatio(calibration=self.key, ratio=ratio, low=low, high=high)
        value, low_ms, high_ms = calibration.convert(ratio, low, high)
        return replace(score, value=value, low=low_ms, high=high_ms, measured=measured)


def busy_at_first(
    chosen: Callable[[Architecture], bool] = lambda architecture: True, *, factor: float = 1.5
) -> RefinableFake:
    """Return a device on which the first time of the chosen architectures is provisional.

    It differs from the true time by the factor.
    """

    def is_busy(architecture: Architecture, runs: int) -> bool:
        return runs == 0 and chosen(architecture)

    return RefinableFake(
        factor=lambda architecture, runs: factor if is_busy(architecture, runs) else 1.0,
        is_busy=is_busy,
    )


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """The job of a `TrainingFake`."""

    architecture: Architecture
    seconds: float
    end: Callable[[Architecture], None]

    def run(self, report: Report) -> Evaluation:
        def report_slowly(progress: Progress) -> None:
            time.sleep(self.seconds / 8)
            report(progress)

        self.end(self.architecture)
        return _training(self.architecture, report_slowly)


def _nothing(architecture: Architecture) -> None:
    """Let a training end normally."""


@dataclass(kw_only=True)
class TrainingFake:
    """A JobEvaluator with the losses of `training`.

    `end` is called in the process of the job, before its training. It must be a function of a
    module that this process can import.
    """

    stage: str = "training"
    score_names: tuple[str, ...] = ("loss",)
    fingerprint: str = "fake-training"
    seconds: float = 0.0
    end: Callable[[Architecture], None] = _nothing
    asked: list[str] = field(default_factory=list)

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        return self.prepare(architecture, report).run(report)

    def prepare(self, architecture: Architecture, report: Report) -> TrainingJob:
        self.asked.append(architecture_hash(architecture))
        return TrainingJob(architecture=architecture, seconds=self.seconds, end=self.end)


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
    spec: StudySpec,
    store: Store,
    stages: Stages | None = None,
    *,
    listener: Listener = ignore,
    is_quiet: bool = True,
) -> tuple[Trial, ...]:
    """Run a study to its end and return its candidates."""
    run_study(
        spec,
        evaluators=stages or all_stages(),
        store=store,
        listener=listener,
        is_quiet=lambda: is_quiet,
    )
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
