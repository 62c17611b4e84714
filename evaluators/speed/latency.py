"""Latency and memory of the deployed model file, at full size, measured on the device."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Self, TypeAlias

from evaluators.calibration import CalibrationStore
from evaluators.evaluator import (
    CalibratedRatio,
    Evaluation,
    Infeasible,
    Progress,
    Report,
    Score,
    text_reporter,
)
from evaluators.scores import make_score, measured_names
from evaluators.speed.built_model import build_and_load, unsupported_by_format
from evaluators.speed.calibrated_times import CalibratedTimes
from evaluators.speed.latency_settings import (
    MEDIAN,
    TAIL,
    LatencySettings,
    deeper_names,
    fingerprint_facts,
    timing_budgets_of,
)
from evaluators.speed.paired_reference import ReferenceModel
from hardware.measurement import Disturbance, Measurement
from hardware.progress import Say
from hardware.quiet import Reservation, measuring
from hardware.runner import LoadedModel, Runner
from hardware.stability import measure_paired
from search_space.architecture import Architecture, architecture_hash

Quiet: TypeAlias = Callable[[Say], AbstractContextManager[Reservation]]
"""Reserves the machine for one measurement, as `hardware.quiet.measuring` does."""

# Increase this when the graph or the timing changes, so that earlier times are not comparable.
_VERSION = 3


class LatencyEvaluator:
    """The Evaluator of latency and memory; it times an architecture interleaved with a reference.

    Close it at the end, or use it in `with`.

    - `decode` (ms per token), `prefill` (ms per prompt), `decode_p95`, `prefill_p95` and
      `decode@DEPTH`: the ratio to the reference model's median time, multiplied by the time that
      the reference model takes on this device according to all timings so far. The interval covers
      the errors of both. A score is provisional if the interval of the ratio is wider than
      requested or unknown.
    - `memory` (MB, 1e6 bytes): the peak of what the process holds in weights, caches and
      activations, with caches for the longest workload. `decode_memory` and `prefill_memory`: the
      peak of the phase in excess of what is held after loading. Memory is allocated in huge pages,
      so each of them is known to within one page, which is their interval.
    - `size` (MB, 1e6 bytes): the size of the model file.
    """

    stage = "latency"

    def __init__(
        self,
        runner: Runner,
        settings: LatencySettings,
        reference: Architecture,
        calibrations: CalibrationStore,
        quiet: Quiet | None = None,
    ) -> None:
        """Choose the device and the workloads; nothing is loaded yet.

        Args:
            runner: The device.
            settings: The workloads to time, and how precisely.
            reference: The architecture of the reference model.
            calibrations: Stores the timings of the reference model.
            quiet: Reserves the machine for a measurement; None waits at most `settings.seconds` for
                other programs.
        """
        self._runner = runner
        # They are read once, because a device that is lost later could not be asked.
        self._device, self._memory_step_bytes = runner.fingerprint, runner.memory_step_bytes
        self._settings = settings
        self._timing_budgets = timing_budgets_of(settings)
        self._capacity = max(
            timing_budget.workload.tokens + timing_budget.workload.depth
            for timing_budget in self._timing_budgets.values()
        )
        self._quiet = quiet or _wait_as(settings)
        self._times = CalibratedTimes(
            calibrations,
            device=f"{settings.quantization} {self._device}",
            reference=architecture_hash(reference),
        )
        self._reference = ReferenceModel(runner, reference, settings.quantization, self._capacity)

    @property
    def fingerprint(self) -> str:
        """The timing budgets, the reference model, the device and the versions, as one text."""
        # Databases hold evaluations under these names, so they must not change.
        facts = {
            "efforts": {
                name: fingerprint_facts(timing_budget)
                for name, timing_budget in self._timing_budgets.items()
            },
            "quantization": self._settings.quantization,
            "reference": architecture_hash(self._reference.architecture),
        }
        return f"latency {_VERSION} {json.dumps(facts, sort_keys=True)} {self._device}"

    @property
    def score_names(self) -> tuple[str, ...]:
        """The latencies, the memory scores and the size of the model file."""
        return measured_names(self._settings.more_depths)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the reference model's process."""
        self._reference.close()

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        """Time the architecture against the reference model.

        Args:
            architecture: The candidate or reference model.
            report: Receives the progress.

        Raises:
            EvaluationFailed: The model cannot be built, loaded or timed.
            Infeasible: The runtime does not support the architecture.
        """
        return self.conclude(self.measure(architecture, report))

    def refine(self, architecture: Architecture, earlier: Evaluation, report: Report) -> Evaluation:
        """Load and time the architecture again; see `Refinable.refine`."""
        return self.conclude(self.measure(architecture, report), earlier)

    def rescore(
        self, architecture: Architecture, evaluation: Evaluation, report: Report
    ) -> Evaluation:
        """Compute the scores from all measurements; see `Refinable.rescore`."""
        return replace(evaluation, scores=tuple(self._scores(evaluation.measurements)))

    def measure(self, architecture: Architecture, report: Report) -> Evaluation:
        """Return the measurements of `evaluate` with their remarks, but without any score.

        The time of the reference model is not stored. `conclude` does both.
        """
        start = time.monotonic()
        remarks: list[str] = []
        measurements = self._measure(architecture, report, remarks.append)
        return Evaluation(
            scores=(),
            seconds=time.monotonic() - start,
            measurements=measurements,
            remarks=tuple(remarks),
        )

    def conclude(self, measured: Evaluation, earlier: Evaluation | None = None) -> Evaluation:
        """Return an evaluation with the scores that follow from its measurements.

        Args:
            measured: What `measure` returned, perhaps in another process.
            earlier: An earlier evaluation of the same architecture, whose measurements count, too.
        """
        remarks = (*measured.remarks, *self._times.add(measured.measurements))
        if earlier is not None:
            self._times.learn_from_repeats(earlier.measurements, measured.measurements)
        before, seconds = ((), 0.0) if earlier is None else (earlier.measurements, earlier.seconds)
        measurements = (*before, *measured.measurements)
        return Evaluation(
            scores=tuple(self._scores(measurements)),
            seconds=seconds + measured.seconds,
            measurements=measurements,
            remarks=remarks,
        )

    def _measure(
        self, architecture: Architecture, report: Report, remark: Say
    ) -> tuple[Measurement, ...]:
        """Measure; `remark` receives sentences about the conditions that the user should read."""
        with self._reserved_machine(architecture, text_reporter(report)) as reservation:
            if reservation.remark is not None:
                remark(reservation.remark)
            timed = self._time(architecture, self._time_reporter(report), remark)
        return tuple(with_reservation(each, reservation) for each in timed.values())

    def _time_reporter(self, report: Report) -> Say:
        """Return a callback that reports text with the fraction of the time limit that is spent."""
        start, most = time.monotonic(), self._settings.seconds

        def say(text: str) -> None:
            report(Progress(done=min(1.0, (time.monotonic() - start) / most), text=text))

        say(f"building and loading the model at {self._settings.quantization}")
        return say

    @contextlib.contextmanager
    def _reserved_machine(self, architecture: Architecture, say: Say) -> Iterator[Reservation]:
        """Reserve the machine, unless the architecture is unsupported."""
        reason = unsupported_by_format(architecture, self._runner.model_format)
        if reason is not None:
            raise Infeasible(reason)
        with self._quiet(say) as reservation:
            try:
                yield reservation
            finally:
                self._reference.unload_if_large()

    def _time(self, architecture: Architecture, say: Say, remark: Say) -> dict[str, Measurement]:
        """Return the architecture's measurements by the names of the timing budgets."""

        def work(reference: LoadedModel) -> tuple[Measurement, ...]:
            with build_and_load(
                self._runner, architecture, self._settings.quantization, self._capacity
            ) as model:
                return measure_paired(model, reference, list(self._timing_budgets.values()), say)

        return dict(zip(self._timing_budgets, self._reference.run(work, remark), strict=True))

    def _scores(self, measurements: Sequence[Measurement]) -> Iterator[Score]:
        """Yield the scores in the order of `score_names`, from one or several runs."""
        runs = {
            name: [each for each in measurements if each.workload == timing_budget.workload]
            for name, timing_budget in self._timing_budgets.items()
        }
        for name in ("decode", "prefill"):
            yield self._milliseconds(name, runs[name], MEDIAN)
            yield self._milliseconds(f"{name}_p95", runs[name], TAIL)
        for name in deeper_names(self._settings):
            yield self._milliseconds(name, runs[name], MEDIAN)
        peaks = [
            each.peak_memory_bytes - _recorded(each.empty_memory_bytes) for each in measurements
        ]
        yield self._megabytes("memory", max(peaks))
        for name in ("decode", "prefill"):
            yield self._megabytes(f"{name}_memory", max(map(_beyond_loaded, runs[name])))
        yield make_score("size", _recorded(measurements[0].model_bytes) / 1e6)

    def _megabytes(self, name: str, count: int) -> Score:
        """Return the score of a memory; its interval is one step of the device to either side."""
        step = self._memory_step_bytes
        if not step:
            return make_score(name, count / 1e6)
        return make_score(name, count / 1e6, max(0, count - step) / 1e6, (count + step) / 1e6)

    def _milliseconds(self, name: str, runs: Sequence[Measurement], quantile: float) -> Score:
        calibration = self._times.calibration(runs[0].workload)
        estimate = self._times.ratio(runs, quantile)
        interval = estimate.interval
        measured = CalibratedRatio(
            calibration=calibration.key,
            ratio=estimate.value,
            low=None if interval is None else interval.low,
            high=None if interval is None else interval.high,
        )
        value, low, high = calibration.convert(measured.ratio, measured.low, measured.high)
        return replace(
            make_score(name, value, low, high),
            provisional=estimate.half_width > self._settings.precision,
            measured=measured,
        )


def with_reservation(measurement: Measurement, reservation: Reservation) -> Measurement:
    """Return a measurement that records how long it waited, and whether the machine was reserved.

    So does the measurement of its reference model.
    """
    disturbance, reference = measurement.disturbance, measurement.reference
    is_reserved = reservation.obstacle is None
    if disturbance is None and (not is_reserved or reservation.cooled_s):
        # a system without counters
        disturbance = Disturbance(steal=0.0, beside=0.0, elsewhere=0.0)
    if disturbance is not None:
        disturbance = replace(
            disturbance,
            waited_s=reservation.waited_s,
            reserved=is_reserved,
            cooled_s=reservation.cooled_s,
        )
    return replace(
        measurement,
        disturbance=disturbance,
        reference=None if reference is None else with_reservation(reference, reservation),
    )


def _wait_as(settings: LatencySettings) -> Quiet:
    """Return a `Quiet` that waits for other programs no longer than the timing may take."""
    return lambda say: measuring(say, patience_s=settings.seconds, lock_wait=settings.lock_wait)


def _beyond_loaded(measurement: Measurement) -> int:
    """Return the peak memory in excess of what is held after loading, in bytes."""
    return max(0, measurement.peak_memory_bytes - _recorded(measurement.loaded_memory_bytes))


def _recorded(count: int | None) -> int:
    assert count is not None, "every runner of this release records it"
    return count
