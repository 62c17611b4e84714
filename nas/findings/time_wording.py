"""How measured scores are written: the mark of provisional ones, intervals, and what they cover."""

from collections.abc import Iterable, Iterator, Sequence
from typing import assert_never

from evaluators.evaluator import Score
from evaluators.scores import is_timed
from hardware.measurement import Workload, parse_workload
from nas.findings.wording import PROVISIONAL, amount, joined, marked, number, value_text
from studies.analysis.study_front import Axis, is_provisional
from studies.records import Trial
from studies.spec.limits import judge, limits
from studies.spec.reference_models import paired_reference
from studies.spec.study_spec import StudySpec

PROVISIONAL_LEGEND = (
    f"{PROVISIONAL} provisional: too uncertain to decide anything; `nas run` measures it again "
    "when the machine is quieter"
)
# Explains the mark where it is first printed while a study runs or is confirmed.
FIRST_MARK_LEGEND = (
    f"{PROVISIONAL} provisional: too uncertain to decide anything; measured again later"
)
# How far the losses of one layout differ between seeds, in bits per byte; see docs/proxy.md.
USUAL_SEED_NOISE = 0.01
# Follows the name of a candidate that may exceed a limit.
UNSURE = "?"


def score_text(spec: StudySpec, score: Score) -> str:
    """Format a score with its interval and the mark: `10.00 ±0.02`, `~0.5710 (0.4800 to 1.330)`."""
    text = value_text(score.value, score.low, score.high)
    return marked(text, is_provisional=is_provisional(spec, score))


def named_score(spec: StudySpec, score: Score) -> str:
    """Format a score with its name, interval and unit: `decode ~10.00 ±0.20 ms/token`."""
    text = score_text(spec, score)
    return f"{score.name} {text}" + ("" if score.unit == score.name else f" {score.unit}")


def score_number(spec: StudySpec, score: Score) -> str:
    """Format the value of a score with the mark, but without its interval: `~0.5710`."""
    return marked(number(score.value), is_provisional=is_provisional(spec, score))


def quoted(spec: StudySpec, trial: Trial, axis: Axis) -> str:
    """Format an objective of a trial for a sentence: `decode 10.00 ms/token (9.900 to 10.10)`."""
    score = next(score for score in trial.scores if score.name == axis.name)
    text = marked(amount(score.value, axis), is_provisional=is_provisional(spec, score))
    value = f"{axis.name} {text}"
    if score.low is None or score.high is None:
        return value
    return f"{value} ({number(score.low)} to {number(score.high)})"


def marks_legend(spec: StudySpec, scores: Iterable[Score]) -> Iterator[str]:
    """Explain the mark of provisional scores, if any of these scores has it."""
    marked = [score for score in scores if is_provisional(spec, score)]
    if any(score.measured is not None for score in marked):
        yield PROVISIONAL_LEGEND
    if any(score.measured is None for score in marked):
        yield (
            f"{PROVISIONAL} from an earlier release: the confidence interval is wider than the "
            f"requested ±{100 * spec.device.precision:g} %"
        )


def precision_legend(precision: float) -> str:
    """Explain the mark of provisional values that `nas run` does not measure again.

    Args:
        precision: The requested half-width of the interval, as a fraction of the value.
    """
    return (
        f"{PROVISIONAL}: the confidence interval is wider than the requested ±{100 * precision:g} %"
    )


def times_legend(spec: StudySpec, scores: Iterable[Score]) -> Iterator[str]:
    """State how times are computed and what their intervals cover, if any score is a time."""
    timed = [score for score in scores if is_timed(score.name)]
    reference = paired_reference(spec)
    if any(score.measured is not None for score in timed):
        yield (
            f"times: the ratio to {reference} (measured interleaved), multiplied by the time of "
            f"{reference}; intervals cover the errors of both and the scatter between repeats, and "
            f"may be wider than the ±{100 * spec.device.precision:g} % that is requested of the "
            "ratio, which alone decides whether a time is provisional"
        )
    if any(score.measured is None for score in timed):
        yield (
            f"times from an earlier release: measured interleaved with {reference}; intervals "
            f"cover the ratio to {reference} only, not the error of the time of {reference}"
        )


def workload_legend(workloads: Iterable[str]) -> Iterator[str]:
    """Explain the names of workloads in one line, such as `pp128: reads a prompt of 128 tokens`."""
    meanings = [f"{name}: {_meaning(parse_workload(name))}" for name in dict.fromkeys(workloads)]
    if meanings:
        yield "; ".join(meanings)


def workload_on(workload: str, devices: Sequence[str]) -> str:
    """Return a workload with the names of devices: `pp128 on phone`, or `pp128` for none."""
    return f"{workload} on {joined(devices)}" if devices else workload


def seed_noise_legend(*, is_confirmed: bool) -> Iterator[str]:
    """State how far losses differ by chance, unless a confirmation has measured it."""
    if not is_confirmed:
        yield (
            f"losses: differences below about {USUAL_SEED_NOISE:g} bits/byte are seed noise, "
            "unless `nas confirm` measures it; small training budgets have more"
        )


def unsure_limits(spec: StudySpec, trial: Trial) -> tuple[str, ...]:
    """Return the scores of a complete candidate that may exceed their limits.

    Such a candidate was kept, because a confidence interval contains the limit or a score is
    provisional. Candidates in other states and reference models have none.
    """
    if trial.kind != "candidate" or trial.state != "complete":
        return ()
    return judge(spec, trial.scores).unsure


def unsure_legend(spec: StudySpec, trials: Sequence[Trial]) -> Iterator[str]:
    """State which of these trials may exceed which limit: `trial 3 may exceed the limit of ...`."""
    unsure = {trial.title: unsure_limits(spec, trial) for trial in trials}
    for name in limits(spec):
        titles = [title for title, names in unsure.items() if name in names]
        if titles:
            yield f"{UNSURE} {joined(titles)} may exceed the limit of {name}"


def provisional_among(trials: Iterable[Trial], axes: Sequence[Axis]) -> tuple[Trial, ...]:
    """Return those of the trials that have a provisional objective.

    Such a trial is on the front if no other dominates it, and dominates none itself.
    """
    names = [axis.name for axis in axes]
    return tuple(trial for trial in trials if trial.provisional(names))


def provisional_members_text(count: int, members: int) -> str:
    """Return the sentence `2 of 9 members are on the front only provisionally`."""
    verb = "is" if count == 1 else "are"
    noun = "member" if members == 1 else "members"
    return f"{count:,} of {members:,} {noun} {verb} on the front only provisionally"


def _meaning(workload: Workload) -> str:
    match workload.phase:
        case "prefill":
            return f"reads a prompt of {workload.tokens:,} tokens"
        case "decode":
            after = f" after {workload.depth:,} others" if workload.depth else ""
            return f"generates {workload.tokens:,} tokens{after}"
        case _:
            assert_never(workload.phase)
