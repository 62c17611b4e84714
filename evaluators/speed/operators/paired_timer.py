"""Times models in turns with the short-convolution probe of their setting, which stays loaded."""

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Self

from scipy.special import stdtrit

from evaluators.cache import EvaluationCache
from evaluators.evaluator import Evaluation, Score
from evaluators.speed.built_model import loaded
from evaluators.speed.latency import Quiet
from evaluators.speed.operators.probe_times import PairedRatio, Setting
from evaluators.speed.reference_calibration import Reference
from hardware.measurement import Workload, quantile_ms
from hardware.quiet import Say, measuring
from hardware.runner import LoadedModel, Runner
from hardware.stability import TimingBudget, measure_paired, ratio
from search_space.architecture import Architecture, architecture_hash
from search_space.probes import make_probes

# Raise it when the graph or the way it is timed changes: what was measured before does not compare.
_VERSION = 1
_PATIENCE_S = 10.0
# `ratio` makes its interval by Student's distribution below so many windows, by ranks from there.
_RANKED = 6
_NORMAL_975 = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileBudget:
    """How well a time is to be known, as in an Effort; rounds: how often all is loaded anew."""

    precision: float
    seconds: float
    rounds: int


class PairedTimer:
    """One round of a setting. To be closed, or used in `with`.

    capacity: the most tokens that caches hold; no time depends on it.
    """

    def __init__(
        self,
        runner: Runner,
        setting: Setting,
        profile_budget: ProfileBudget,
        round_number: int,
        capacity: int,
        memory: EvaluationCache,
        quiet: Quiet | None = None,
    ) -> None:
        """quiet: None waits some seconds a round while others are busy here."""
        self._runner = runner
        self._quantization = setting.quantization
        self._pains = profile_budget
        self._quiet = quiet or self._patient
        self._patience_s = _PATIENCE_S
        # A window no smaller than the capacity would be built as full attention.
        self._capacity = max(capacity, 1 + max(setting.kinds.windows, default=0))
        first = make_probes(setting.width, setting.layers, setting.kinds)[0]
        self._reference = Reference(
            runner, first.architecture, setting.quantization, self._capacity, memory
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
        """Under which one workload of any model is remembered."""
        return f"paired {_VERSION} {workload} {self._facts}"

    def time(
        self,
        architecture: Architecture,
        workloads: Sequence[Workload],
        say: Say,
        timed: Callable[[Workload, Evaluation], None],
    ) -> None:
        """Hands each workload's evaluation to `timed` as soon as it is there.

        Raises EvaluationFailed, and what `say` and `timed` raise.
        """
        missing = list(workloads)

        def work(reference: LoadedModel) -> None:
            with loaded(self._runner, architecture, self._quantization, self._capacity) as model:
                while missing:
                    timed(missing[0], self._evaluate(model, reference, missing[0], say))
                    del missing[0]

        with self._quiet(say, self._reference.cores):
            say("builds and loads the model")
            self._reference.beside(work)

    @contextlib.contextmanager
    def _patient(self, say: Say, cores: Sequence[int]) -> Iterator[float]:
        with measuring(say, cores, patience_s=self._patience_s) as waited_s:
            self._patience_s = max(0.0, self._patience_s - waited_s)
            yield waited_s

    def _evaluate(
        self, model: LoadedModel, reference: LoadedModel, workload: Workload, say: Say
    ) -> Evaluation:
        start = time.monotonic()
        timing_budget = TimingBudget(
            workload=workload, precision=self._pains.precision, seconds=self._pains.seconds
        )
        (measurement,) = measure_paired(model, reference, [timing_budget], say)
        assert measurement.reference is not None
        known = ratio(measurement)
        reference_ms = quantile_ms(measurement.reference, 0.5)
        return Evaluation(
            scores=(
                Score(name="ratio", value=known.value, unit="1", low=known.low, high=known.high),
                Score(name="reference", value=reference_ms, unit="ms"),
            ),
            seconds=time.monotonic() - start,
            measurements=(measurement,),
        )


def paired_ratio(evaluation: Evaluation) -> PairedRatio:
    """Of an evaluation that a PairedTimer made."""
    score, (measurement,) = evaluation.scores[0], evaluation.measurements
    if score.low is None or score.high is None:
        return PairedRatio(value=score.value, deviation=None)
    windows = len(measurement.samples_ns) // (measurement.window or 1)
    quantile = float(stdtrit(windows - 1, 0.975)) if windows < _RANKED else _NORMAL_975
    deviation = math.log(score.high / score.low) / 2 / quantile
    return PairedRatio(value=score.value, deviation=deviation)


def reference_ms(evaluation: Evaluation) -> float:
    """The reference's median beside it."""
    return evaluation.scores[1].value
