"""Latency and memory of the deployed model file, at full size, measured on the device."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Self, TypeAlias

from evaluators.cache import EvaluationCache
from evaluators.evaluator import Evaluation, Infeasible, Progress, Report, Score
from evaluators.scores import definition_of, make_score, score_at_depth
from evaluators.speed.built_model import build_and_load, unsupported_by_format
from evaluators.speed.reference_calibration import ReferenceModel
from hardware.measurement import Measurement, Workload, undisturbed_ms
from hardware.progress import Say
from hardware.quiet import measuring
from hardware.runner import LoadedModel, Runner
from hardware.stability import TimingBudget, measure_paired, ratio
from search_space.architecture import Architecture, architecture_hash
from search_space.quantization import Quantization

Quiet: TypeAlias = Callable[[Say, Sequence[int]], AbstractContextManager[float]]
"""Reserves the machine for one measurement on some cores; yields the seconds that it waited."""

# Increase this when the graph or the timing changes, so that earlier times are not comparable.
_VERSION = 2
_DECODE_TOKENS = 64
_MEDIAN, _TAIL = 0.5, 0.95
# For workloads that no requested time needs: one window, and a value without an interval.
_ANY_PRECISION = 0.5
_NO_SECONDS = 1e-3
_ONE_WINDOW = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySettings:
    """The workloads to time, and how precisely.

    Attributes:
        quantization: The quantisation of the deployed weights.
        prompt_length: Tokens of the prompt that is timed in prefill.
        context_depth: Tokens that precede the decoded ones.
        more_depths: Further context depths at which decoding is timed.
        asked: The scores that are needed. The times among them are measured with `precision`; other
            workloads get one window and no interval. If both a median and its `_p95` are asked for,
            the precision applies to the latter.
        precision: Half the width of the 95 % confidence interval, as a fraction of the score.
        seconds: Time limit for the timing of one architecture. The requested times share it,
            and a workload that needs less leaves the rest to those that follow.
    """

    quantization: Quantization
    prompt_length: int
    context_depth: int
    more_depths: tuple[int, ...] = ()
    asked: frozenset[str] = frozenset({"decode", "prefill"})
    precision: float = 0.02
    seconds: float = 20.0


class LatencyEvaluator:
    """The Evaluator of latency and memory; it times an architecture interleaved with a reference.

    Close it at the end, or use it in `with`.

    - `decode` (ms per token), `prefill` (ms per prompt), `decode_p95`, `prefill_p95` and
      `decode@DEPTH`: the ratio to the reference model's time, multiplied by the time that the
      reference takes alone on this device, which is measured once and cached. The interval is that
      of the ratio. It does not include the error of the reference's own time, which is the same for
      all architectures timed against this reference.
    - `memory` (MB, 1e6 bytes): the peak of what the process holds in weights, caches and
      activations, with caches for the longest workload. `decode_memory` and `prefill_memory`: the
      peak of the phase in excess of what is held after loading.
    - `size` (MB, 1e6 bytes): the size of the model file.
    """

    stage = "latency"

    def __init__(
        self,
        runner: Runner,
        settings: LatencySettings,
        reference: Architecture,
        cache: EvaluationCache,
        quiet: Quiet | None = None,
    ) -> None:
        """Choose the device and the workloads; nothing is loaded yet.

        Args:
            runner: The device.
            settings: The workloads to time, and how precisely.
            reference: The architecture of the reference model.
            cache: Stores the times of the reference model alone.
            quiet: Reserves the machine for a measurement; None waits at most `settings.seconds` for
                other programs.
        """
        self._runner = runner
        self._settings = settings
        self._timing_budgets = _timing_budgets(settings)
        self._capacity = max(
            timing_budget.workload.tokens + timing_budget.workload.depth
            for timing_budget in self._timing_budgets.values()
        )
        self._quiet = quiet or _wait_at_most(settings.seconds)
        self._reference = ReferenceModel(
            runner, reference, settings.quantization, self._capacity, cache
        )

    @property
    def fingerprint(self) -> str:
        """The timing budgets, the reference model, the device and the versions, as one text."""
        # Databases hold evaluations under these names, so they must not change.
        facts = {
            "efforts": {
                name: _fingerprint_facts(timing_budget)
                for name, timing_budget in self._timing_budgets.items()
            },
            "quantization": self._settings.quantization,
            "reference": architecture_hash(self._reference.architecture),
            "milliseconds": self._reference.calibration_version,
        }
        return f"latency {_VERSION} {json.dumps(facts, sort_keys=True)} {self._runner.fingerprint}"

    @property
    def score_names(self) -> tuple[str, ...]:
        """The latencies, the memory scores and the size of the model file."""
        deeper = map(score_at_depth, self._settings.more_depths)
        return (
            *("decode", "decode_p95", "prefill", "prefill_p95", *deeper),
            *("memory", "decode_memory", "prefill_memory", "size"),
        )

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
        start = time.monotonic()
        say = self._time_reporter(report)
        with self._reserved_machine(architecture, say) as waited_s:
            timed = self._time(architecture, say)
            alone = self._calibrate(say)
        return Evaluation(
            scores=tuple(self._scores(timed, alone)),
            seconds=time.monotonic() - start,
            measurements=tuple(_with_wait(each, waited_s) for each in timed.values()),
        )

    def measure(self, architecture: Architecture, report: Report) -> tuple[Measurement, ...]:
        """Return the measurements of `evaluate`, without calibrating the reference model."""
        say = self._time_reporter(report)
        with self._reserved_machine(architecture, say) as waited_s:
            timed = self._time(architecture, say)
        return tuple(_with_wait(each, waited_s) for each in timed.values())

    def _time_reporter(self, report: Report) -> Say:
        """Return a callback that reports text with the fraction of the time limit that is spent."""
        start, most = time.monotonic(), self._settings.seconds

        def say(text: str) -> None:
            report(Progress(done=min(1.0, (time.monotonic() - start) / most), text=text))

        say(f"building and loading the model at {self._settings.quantization}")
        return say

    @contextlib.contextmanager
    def _reserved_machine(self, architecture: Architecture, say: Say) -> Iterator[float]:
        """Reserve the machine, unless the architecture is unsupported; yield the seconds waited."""
        reason = unsupported_by_format(architecture, self._runner.model_format)
        if reason is not None:
            raise Infeasible(reason)
        with self._quiet(say, self._reference.cores) as waited_s:
            try:
                yield waited_s
            finally:
                self._reference.unload_if_large()

    def _time(self, architecture: Architecture, say: Say) -> dict[str, Measurement]:
        """Return the architecture's measurements by the names of the timing budgets."""

        def work(reference: LoadedModel) -> tuple[Measurement, ...]:
            with build_and_load(
                self._runner, architecture, self._settings.quantization, self._capacity
            ) as model:
                return measure_paired(model, reference, list(self._timing_budgets.values()), say)

        return dict(zip(self._timing_budgets, self._reference.run(work), strict=True))

    def _calibrate(self, say: Say) -> dict[str, Measurement]:
        """Return the reference model's own measurements by the names of the timing budgets."""
        return {
            name: self._reference.calibrate(
                timing_budget.workload, lambda progress: say(progress.text)
            )
            for name, timing_budget in self._timing_budgets.items()
        }

    def _scores(
        self, timed: Mapping[str, Measurement], alone: Mapping[str, Measurement]
    ) -> Iterator[Score]:
        """Yield the scores in the order of `score_names`."""
        for name in ("decode", "prefill"):
            yield _milliseconds(name, timed[name], alone[name], _MEDIAN)
            yield _milliseconds(f"{name}_p95", timed[name], alone[name], _TAIL)
        for name in _deeper(self._settings):
            yield _milliseconds(name, timed[name], alone[name], _MEDIAN)
        peak = max(measurement.peak_memory_bytes for measurement in timed.values())
        yield _megabytes("memory", peak - _recorded(timed["decode"].empty_memory_bytes))
        for name in ("decode", "prefill"):
            loaded_bytes = _recorded(timed[name].loaded_memory_bytes)
            yield _megabytes(f"{name}_memory", max(0, timed[name].peak_memory_bytes - loaded_bytes))
        yield _megabytes("size", _recorded(timed["decode"].model_bytes))


def _fingerprint_facts(timing_budget: TimingBudget) -> dict[str, object]:
    """Return the budget under the names that stored fingerprints have, which must not change."""
    facts = asdict(timing_budget)
    return facts | {"share": facts.pop("quantile")}


def _timing_budgets(settings: LatencySettings) -> dict[str, TimingBudget]:
    """Return the timing budgets by score.

    Decoding comes first, because it needs little time and leaves the rest to the others.
    """
    workloads = {"decode": _decode(settings.context_depth)}
    workloads |= {
        name: _decode(depth)
        for name, depth in zip(_deeper(settings), settings.more_depths, strict=True)
    }
    workloads["prefill"] = Workload(phase="prefill", tokens=settings.prompt_length)
    asked = {_timed_workload(score) for score in settings.asked} & set(workloads)
    return {
        name: TimingBudget(
            workload=workload,
            precision=settings.precision,
            seconds=settings.seconds / len(asked),
            quantile=_TAIL if f"{name}_p95" in settings.asked else _MEDIAN,
        )
        if name in asked
        else TimingBudget(
            workload=workload,
            precision=_ANY_PRECISION,
            seconds=_NO_SECONDS,
            fewest=_ONE_WINDOW,
        )
        for name, workload in workloads.items()
    }


def _timed_workload(score: str) -> str | None:
    """Return the workload that a time is computed from, such as `decode` for `decode_p95`.

    Other scores have none: a longer timing does not make the memory of a workload more precise.
    """
    definition = definition_of(score)
    return definition.workload if definition is not None and definition.kind == "time" else None


def _deeper(settings: LatencySettings) -> list[str]:
    return [score_at_depth(depth) for depth in settings.more_depths]


def _decode(depth: int) -> Workload:
    return Workload(phase="decode", tokens=_DECODE_TOKENS, depth=depth)


def _wait_at_most(seconds: float) -> Quiet:
    """Wait for other programs, but not for longer; after that they are part of the noise."""
    return lambda say, cores: measuring(say, cores, patience_s=seconds)


def _with_wait(measurement: Measurement, seconds: float) -> Measurement:
    if measurement.disturbance is None:
        return measurement
    disturbance = replace(measurement.disturbance, waited_s=seconds)
    return replace(measurement, disturbance=disturbance)


def _milliseconds(name: str, timed: Measurement, alone: Measurement, quantile: float) -> Score:
    estimate, alone_ms = ratio(timed, quantile), undisturbed_ms(alone, quantile)
    return make_score(
        name,
        estimate.value * alone_ms,
        low=None if estimate.low is None else estimate.low * alone_ms,
        high=None if estimate.high is None else estimate.high * alone_ms,
    )


def _megabytes(name: str, count: int) -> Score:
    return make_score(name, count / 1e6)


def _recorded(count: int | None) -> int:
    assert count is not None, "every runner of this release records it"
    return count
