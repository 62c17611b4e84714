"""Timing of models interleaved with the short-convolution probe of their setting."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Self

from scipy.special import stdtrit

from evaluators.evaluator import Evaluation, Score
from evaluators.speed.built_model import build_and_load
from evaluators.speed.latency import Quiet
from evaluators.speed.operators.probe_times import PairedRatio, Setting
from evaluators.speed.paired_reference import ReferenceModel
from hardware.machine_lock import DEFAULT_LOCK_WAIT, LockWait
from hardware.measurement import NORMAL_975, Interval, Workload, quantile_ms
from hardware.progress import Say, ignore_text
from hardware.quiet import MeasurementSeries
from hardware.runner import LoadedModel, Runner
from hardware.stability import TimingBudget, measure_paired
from hardware.window_statistics import FEWEST_FOR_RANKS, ratio
from search_space.architecture import Architecture, architecture_hash
from search_space.probes import make_probes

# Increase this when the graph or the timing changes, so that earlier times are not comparable.
_VERSION = 2
_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileBudget:
    """The timing budget of each workload of a profile.

    Attributes:
        precision: Half the width of the 95 % confidence interval at which a timing stops, as a
            fraction of the time.
        seconds: Time limit per workload and round.
        rounds: How many times each model is loaded and timed.
    """

    precision: float
    seconds: float
    rounds: int


class PairedTimer:
    """Times the models of one setting in one round, with the reference model loaded throughout.

    Use it as a context manager, which ends the reference model's process.
    """

    def __init__(
        self,
        runner: Runner,
        setting: Setting,
        profile_budget: ProfileBudget,
        round_number: int,
        capacity: int,
        quiet: Quiet | None = None,
        lock_wait: LockWait = DEFAULT_LOCK_WAIT,
    ) -> None:
        """Choose the device and the reference model; nothing is loaded yet.

        Args:
            runner: The device.
            setting: What the models of the profile have in common.
            profile_budget: The timing budget of each workload.
            round_number: The number of the round, counted from 0.
            capacity: The number of tokens that caches have room for; no time depends on it.
            quiet: Reserves the machine for a measurement; None waits for other programs, but at
                most some seconds per round.
            lock_wait: How long to wait for other measurements and for training, and what to do
                then.
        """
        self._runner = runner
        self._quantization = setting.quantization
        self._budget = profile_budget
        self._quiet = quiet or MeasurementSeries(_PATIENCE_S, lock_wait).measuring
        # An attention window that is not smaller than the capacity would become full attention.
        self._capacity = max(capacity, 1 + max(setting.kinds.windows, default=0))
        first = make_probes(setting.width, setting.layers, setting.kinds)[0]
        self._reference = ReferenceModel(
            runner, first.architecture, setting.quantization, self._capacity
        )
        facts = asdict(profile_budget) | {
            "rounds": round_number,
            "quantization": setting.quantization,
            "reference": architecture_hash(first.architecture),
        }
        self._facts = f"{json.dumps(facts, sort_keys=True)} {runner.fingerprint}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reference.close()

    def fingerprint(self, workload: Workload) -> str:
        """Return the fingerprint under which the times of one workload are cached."""
        return f"paired {_VERSION} {workload} {self._facts}"

    def time(
        self,
        architecture: Architecture,
        workloads: Sequence[Workload],
        say: Say,
        on_timed: Callable[[Workload, Evaluation], None],
        remark: Say = ignore_text,
    ) -> None:
        """Time workloads of one model.

        If another process does not release the machine, the ratios are provisional, without an
        interval.

        Args:
            architecture: The model.
            workloads: The workloads to time.
            say: Receives lines of text about the progress.
            on_timed: Called with each workload and its evaluation as soon as it has been timed.
            remark: Receives sentences that the user should read.

        Raises:
            EvaluationFailed: The model cannot be built, loaded or timed.
        """
        missing = list(workloads)

        def work(reference: LoadedModel) -> None:
            with build_and_load(
                self._runner, architecture, self._quantization, self._capacity
            ) as model:
                # A workload leaves the list when it has been timed: if the reference model dies,
                # `work` is called again for the others.
                while missing:
                    evaluation = self._evaluate(model, reference, missing[0], say)
                    if reservation.obstacle is not None:
                        evaluation = replace(
                            evaluation, scores=tuple(map(_provisional, evaluation.scores))
                        )
                    on_timed(missing[0], evaluation)
                    del missing[0]

        with self._quiet(say) as reservation:
            if reservation.remark is not None:
                remark(reservation.remark)
            say("building and loading the model")
            self._reference.run(work, remark)

    def _evaluate(
        self, model: LoadedModel, reference: LoadedModel, workload: Workload, say: Say
    ) -> Evaluation:
        start = time.monotonic()
        timing_budget = TimingBudget(
            workload=workload, precision=self._budget.precision, seconds=self._budget.seconds
        )
        (measurement,) = measure_paired(model, reference, [timing_budget], say)
        assert measurement.reference is not None
        estimate = ratio(measurement)
        reference_ms = quantile_ms(measurement.reference, 0.5)
        return Evaluation(
            scores=(
                Score(
                    name="ratio",
                    value=estimate.value,
                    unit="1",
                    low=estimate.low,
                    high=estimate.high,
                ),
                Score(name="reference", value=reference_ms, unit="ms"),
            ),
            seconds=time.monotonic() - start,
            measurements=(measurement,),
        )


def paired_ratio(evaluation: Evaluation) -> PairedRatio:
    """Return the ratio of times that an evaluation of a PairedTimer contains."""
    score, (measurement,) = evaluation.scores[0], evaluation.measurements
    if score.low is None or score.high is None:
        return PairedRatio(value=score.value, deviation=None)
    windows = len(measurement.samples_ns) // (measurement.window or 1)
    ranked = windows >= FEWEST_FOR_RANKS
    quantile = NORMAL_975 if ranked else float(stdtrit(windows - 1, 0.975))
    half_width = Interval(low=score.low, high=score.high).half_width
    return PairedRatio(value=score.value, deviation=half_width / quantile)


def reference_ms(evaluation: Evaluation) -> float:
    """Return the reference model's median time, in ms, that such an evaluation contains."""
    return evaluation.scores[1].value


def _provisional(score: Score) -> Score:
    return replace(score, low=None, high=None, provisional=True)
