"""The architecture at full size, as the model file that would be deployed, timed on the device."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Self, TypeAlias

from evaluators.cache import EvaluationCache
from evaluators.evaluator import Evaluation, Infeasible, Progress, Report, Score
from evaluators.scores import definition_of, score_at_depth
from evaluators.speed.built_model import inexpressible, loaded
from evaluators.speed.reference_calibration import Reference
from hardware.measurement import Measurement, Workload, undisturbed_ms
from hardware.quiet import Say, measuring
from hardware.runner import LoadedModel, Runner
from hardware.stability import TimingBudget, measure_paired, ratio
from search_space.architecture import Architecture, architecture_hash
from search_space.quantization import Quantization

# Takes the machine for one measurement; yields the seconds that it waited for it.
Quiet: TypeAlias = Callable[[Say, Sequence[int]], AbstractContextManager[float]]

# Raise it when the graph or the way it is timed changes: what was measured before does not compare.
_VERSION = 2
_DECODE_TOKENS = 64
_MEDIAN, _TAIL = 0.5, 0.95
# For what nobody asked for: one window of each, and a value without an interval.
_ANY_PRECISION = 0.5
_NO_SECONDS = 1e-3
_ONE_WINDOW = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySettings:
    """A prompt of `prompt_length` tokens, and tokens written one by one behind `context_depth`.

    more_depths: where writing is timed too.
    asked: the scores that are to be known with `precision`, half the width of the 95 % interval as
        a share of the score; the others get one window, and no interval. Of a median and its
        `_p95`, where both are asked for, it is the latter.
    seconds: when the timing of one architecture ends anyhow; the workloads behind `asked` share
        them, and those that need less leave more to the others.
    """

    quantization: Quantization
    prompt_length: int
    context_depth: int
    more_depths: tuple[int, ...] = ()
    asked: frozenset[str] = frozenset({"decode", "prefill"})
    precision: float = 0.02
    seconds: float = 20.0


class LatencyEvaluator:
    """Times an architecture in alternation with a reference model. To be closed, or used in `with`.

    decode in ms a token and prefill in ms a prompt, each as median and as `_p95`, and
        `decode@DEPTH`: the ratio to the reference times what the reference takes on this device,
        which is measured once and remembered. The interval is that of the ratio; the error of the
        reference's own figure is the same for all that are timed beside it, and is not in it.
    memory in MB (1e6 bytes): the most that the process holds of weights, caches and activations,
        with caches for the longest workload; `decode_memory` and `prefill_memory` are the most in
        that phase without what is held once the model is loaded. size in MB, of the model's file.
    """

    stage = "latency"

    def __init__(
        self,
        runner: Runner,
        settings: LatencySettings,
        reference: Architecture,
        memory: EvaluationCache,
        quiet: Quiet | None = None,
    ) -> None:
        """memory: keeps the reference's times. quiet: None waits no longer than timing may take."""
        self._runner = runner
        self._settings = settings
        self._timing_budgets = _timing_budgets(settings)
        self._capacity = max(
            timing_budget.workload.tokens + timing_budget.workload.depth
            for timing_budget in self._timing_budgets.values()
        )
        self._quiet = quiet or _patient(settings.seconds)
        self._reference = Reference(
            runner, reference, settings.quantization, self._capacity, memory
        )

    @property
    def fingerprint(self) -> str:
        facts = {
            "efforts": {
                name: _fingerprint_facts(timing_budget)
                for name, timing_budget in self._timing_budgets.items()
            },
            "quantization": self._settings.quantization,
            "reference": architecture_hash(self._reference.architecture),
            "milliseconds": self._reference.calibration,
        }
        return f"latency {_VERSION} {json.dumps(facts, sort_keys=True)} {self._runner.fingerprint}"

    @property
    def score_names(self) -> tuple[str, ...]:
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
        """Ends the reference model's process."""
        self._reference.close()

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        start = time.monotonic()
        say = self._teller(report)
        with self._machine(architecture, say) as waited_s:
            timed = self._timed(architecture, say)
            alone = self._alone(say)
        return Evaluation(
            scores=tuple(self._scores(timed, alone)),
            seconds=time.monotonic() - start,
            measurements=tuple(_waited(each, waited_s) for each in timed.values()),
        )

    def measure(self, architecture: Architecture, report: Report) -> tuple[Measurement, ...]:
        """What `evaluate` measures, without the times of the reference alone."""
        say = self._teller(report)
        with self._machine(architecture, say) as waited_s:
            timed = self._timed(architecture, say)
        return tuple(_waited(each, waited_s) for each in timed.values())

    def _teller(self, report: Report) -> Say:
        start, most = time.monotonic(), self._settings.seconds

        def say(text: str) -> None:
            report(Progress(done=min(1.0, (time.monotonic() - start) / most), text=text))

        say(f"builds and loads the model at {self._settings.quantization}")
        return say

    @contextlib.contextmanager
    def _machine(self, architecture: Architecture, say: Say) -> Iterator[float]:
        """Taken for an architecture that the runtime can express; yields the seconds waited."""
        reason = inexpressible(architecture, self._runner.model_format)
        if reason is not None:
            raise Infeasible(reason)
        with self._quiet(say, self._reference.cores) as waited_s:
            try:
                yield waited_s
            finally:
                self._reference.rest()

    def _timed(self, architecture: Architecture, say: Say) -> dict[str, Measurement]:
        """By the names of the efforts."""

        def work(reference: LoadedModel) -> tuple[Measurement, ...]:
            with loaded(
                self._runner, architecture, self._settings.quantization, self._capacity
            ) as model:
                return measure_paired(model, reference, list(self._timing_budgets.values()), say)

        return dict(zip(self._timing_budgets, self._reference.beside(work), strict=True))

    def _alone(self, say: Say) -> dict[str, Measurement]:
        """The reference, by the names of the efforts."""
        return {
            name: self._reference.calibrated(timing_budget.workload, lambda told: say(told.text))
            for name, timing_budget in self._timing_budgets.items()
        }

    def _scores(
        self, timed: Mapping[str, Measurement], alone: Mapping[str, Measurement]
    ) -> Iterator[Score]:
        """In the order of `score_names`."""
        for name in ("decode", "prefill"):
            yield _milliseconds(name, timed[name], alone[name], _MEDIAN)
            yield _milliseconds(f"{name}_p95", timed[name], alone[name], _TAIL)
        for name in _deeper(self._settings):
            yield _milliseconds(name, timed[name], alone[name], _MEDIAN)
        peak = max(measurement.peak_memory_bytes for measurement in timed.values())
        yield _megabytes("memory", peak - _known(timed["decode"].empty_memory_bytes))
        for name in ("decode", "prefill"):
            at_rest = _known(timed[name].loaded_memory_bytes)
            yield _megabytes(f"{name}_memory", max(0, timed[name].peak_memory_bytes - at_rest))
        yield _megabytes("size", _known(timed["decode"].model_bytes))


def _fingerprint_facts(timing_budget: TimingBudget) -> dict[str, object]:
    """Return the budget under the names that stored fingerprints have, which must not change."""
    facts = asdict(timing_budget)
    return facts | {"share": facts.pop("quantile")}


def _timing_budgets(settings: LatencySettings) -> dict[str, TimingBudget]:
    """By score; decoding first, since it is soon known and leaves its seconds to the rest."""
    workloads = {"decode": _decode(settings.context_depth)}
    workloads |= {
        name: _decode(depth)
        for name, depth in zip(_deeper(settings), settings.more_depths, strict=True)
    }
    workloads["prefill"] = Workload(phase="prefill", tokens=settings.prompt_length)
    asked = {_workload_name(score) for score in settings.asked} & set(workloads)
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


def _workload_name(score: str) -> str | None:
    """Return the workload that a score is read from: `decode` for `decode_p95`."""
    definition = definition_of(score)
    return None if definition is None else definition.workload


def _deeper(settings: LatencySettings) -> list[str]:
    return [score_at_depth(depth) for depth in settings.more_depths]


def _decode(depth: int) -> Workload:
    return Workload(phase="decode", tokens=_DECODE_TOKENS, depth=depth)


def _patient(seconds: float) -> Quiet:
    """Others may be busy for longer than that, and then are part of the noise."""
    return lambda say, cores: measuring(say, cores, patience_s=seconds)


def _waited(measurement: Measurement, seconds: float) -> Measurement:
    if measurement.disturbance is None:
        return measurement
    disturbance = replace(measurement.disturbance, waited_s=seconds)
    return replace(measurement, disturbance=disturbance)


def _milliseconds(name: str, timed: Measurement, alone: Measurement, quantile: float) -> Score:
    estimate, alone_ms = ratio(timed, quantile), undisturbed_ms(alone, quantile)
    return Score(
        name=name,
        value=estimate.value * alone_ms,
        unit=_unit(name),
        low=None if estimate.low is None else estimate.low * alone_ms,
        high=None if estimate.high is None else estimate.high * alone_ms,
    )


def _megabytes(name: str, count: int) -> Score:
    return Score(name=name, value=count / 1e6, unit=_unit(name))


def _unit(name: str) -> str:
    definition = definition_of(name)
    assert definition is not None, name
    return definition.unit


def _known(count: int | None) -> int:
    assert count is not None, "a runner's models tell it"
    return count
