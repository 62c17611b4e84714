"""What is timed on a device, and how precisely."""

from dataclasses import asdict, dataclass, field

from evaluators.scores import definition_of, score_at_depth
from evaluators.speed.calibrated_times import WITHIN_RUN
from hardware.machine_lock import LockWait
from hardware.measurement import Workload
from hardware.stability import TimingBudget
from search_space.quantization import Quantization

MEDIAN, TAIL = 0.5, 0.95
"""The quantiles of a time that are scores."""

_DECODE_TOKENS = 64
# For workloads that no requested time needs: as many windows as fit into a short time.
_ANY_PRECISION = 0.5
_FEW_SECONDS = 1.0
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
            workloads get about a second. If both a median and its `_p95` are asked for, the
            precision applies to the latter.
        precision: Half the width of the 95 % confidence interval of the ratio to the reference
            model, as a fraction, above which a score is provisional.
        seconds: Time limit for the timing of one architecture. The requested times share it,
            and a workload that needs less leaves the rest to those that follow.
        lock_wait: How long to wait for other measurements and for training, and what to do then.
    """

    quantization: Quantization
    prompt_length: int
    context_depth: int
    more_depths: tuple[int, ...] = ()
    asked: frozenset[str] = frozenset({"decode", "prefill"})
    precision: float = 0.05
    seconds: float = 20.0
    lock_wait: LockWait = field(default_factory=LockWait)


def fingerprint_facts(timing_budget: TimingBudget) -> dict[str, object]:
    """Return the budget under the names that stored fingerprints have, which must not change."""
    facts = asdict(timing_budget)
    return facts | {"share": facts.pop("quantile")}


def timing_budgets_of(settings: LatencySettings) -> dict[str, TimingBudget]:
    """Return the timing budgets by score.

    Decoding comes first, because it needs little time and leaves the rest to the others.

    Args:
        settings: The workloads to time, and how precisely.
    """
    workloads = {"decode": _decode(settings.context_depth)}
    workloads |= {
        name: _decode(depth)
        for name, depth in zip(deeper_names(settings), settings.more_depths, strict=True)
    }
    workloads["prefill"] = Workload(phase="prefill", tokens=settings.prompt_length)
    asked = {_timed_workload(score) for score in settings.asked} & set(workloads)
    return {
        name: TimingBudget(
            workload=workload,
            precision=WITHIN_RUN * settings.precision,
            seconds=settings.seconds / len(asked),
            quantile=TAIL if f"{name}_p95" in settings.asked else MEDIAN,
        )
        if name in asked
        else TimingBudget(
            workload=workload,
            precision=_ANY_PRECISION,
            seconds=_FEW_SECONDS,
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


def deeper_names(settings: LatencySettings) -> list[str]:
    """Return the names of the decoding scores at the further depths."""
    return [score_at_depth(depth) for depth in settings.more_depths]


def _decode(depth: int) -> Workload:
    return Workload(phase="decode", tokens=_DECODE_TOKENS, depth=depth)
