"""Converts trials, architectures and learning curves into the columns of a document."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from evaluators.evaluator import Score
from evaluators.scores import is_timed
from hardware.measurement import Interval
from nas.dashboard.trial_form import Architectures, Column, Curves, Trials
from nas.findings.time_wording import unsure_limits
from studies.analysis.followed_study import FollowedStudy
from studies.analysis.shapes import Shape
from studies.records import Trial
from studies.spec.study_spec import StudySpec, asked_scores

# A chart cannot show more, and rounding halves the size of a document.
_DIGITS = 7


def trial_columns(
    followed: FollowedStudy, trials: Sequence[Trial], places: Mapping[str, int]
) -> Trials:
    """Return trials as columns.

    Args:
        followed: The study.
        trials: The trials to convert.
        places: The index of each architecture in the document, by hash.
    """
    spec = followed.spec
    evidence = [followed.evidence.get(trial.id) for trial in trials]
    outcomes = [trial.outcome for trial in trials]
    return {
        "id": [trial.id for trial in trials],
        "kind": [trial.kind for trial in trials],
        "number": [trial.number for trial in trials],
        "name": [str(trial.name) for trial in trials],
        "state": [trial.state for trial in trials],
        "stage": [trial.stage for trial in trials],
        "reason": [None if each is None else each.reason for each in outcomes],
        "failure": [None if each is None else each.failure for each in outcomes],
        "duplicate_of": [trial.duplicate_of for trial in trials],
        "architecture": [places[trial.model.hash] for trial in trials if trial.model is not None],
        "scores": _score_columns(spec, trials),
        "estimated_loss": [
            None if each is None else short(each.estimated_loss) for each in outcomes
        ],
        "trained": [_trained(spec, trial) for trial in trials],
        "unsure_limits": [list(unsure_limits(spec, trial)) for trial in trials],
        "disturbed": [None if each is None else short(each.disturbed) for each in evidence],
        "waited": [None if each is None else short(each.waited_s) for each in evidence],
        "seconds": [exact_short(sum(run.seconds for run in trial.stages)) for trial in trials],
        "ended_at": [
            None if trial.ended_at is None else seconds_since_1970(trial.ended_at)
            for trial in trials
        ],
    }


def architecture_columns(
    hashes: Iterable[str], shapes: Mapping[str, Shape], parameters: Mapping[str, int]
) -> Architectures:
    """Return architectures as columns.

    Args:
        hashes: The hashes of the architectures, in the order of the columns.
        shapes: The shapes of the architectures, by hash.
        parameters: The numbers of parameters, by hash.
    """
    rows = [(digest, shapes[digest], parameters[digest]) for digest in hashes]
    return {
        "hash": [digest for digest, _, _ in rows],
        "layout": [shape.layout for _, shape, _ in rows],
        "width": [shape.width for _, shape, _ in rows],
        "depth": [len(shape.layout) for _, shape, _ in rows],
        "feed_forward": [shape.feed_forward_width for _, shape, _ in rows],
        "heads": [shape.heads for _, shape, _ in rows],
        "kv_heads": [shape.kv_heads for _, shape, _ in rows],
        "head_dim": [shape.head_dim for _, shape, _ in rows],
        "kernel": [shape.kernel for _, shape, _ in rows],
        "window": [shape.window for _, shape, _ in rows],
        "vocab_size": [shape.vocab_size for _, shape, _ in rows],
        "embedding_width": [shape.embedding_width for _, shape, _ in rows],
        "embedding_share": [
            exact_short(shape.embedding_parameters / total) for _, shape, total in rows
        ],
        "parameters": [total for _, _, total in rows],
    }


def curve_columns(trials: Iterable[Trial]) -> list[Curves]:
    """Return learning curves, grouped by the token counts at which they were evaluated.

    A curve that was stopped early joins the group of a longer curve that starts with the same token
    counts.
    """
    groups: dict[tuple[int, ...], Curves] = {}
    with_curves = [trial for trial in trials if trial.curve]
    for trial in sorted(with_curves, key=lambda trial: -len(trial.curve)):
        tokens = tuple(point.tokens for point in trial.curve)
        group = groups.get(tokens) or next(
            (group for known, group in groups.items() if known[: len(tokens)] == tokens), None
        )
        if group is None:
            group = groups[tokens] = {"tokens": list(tokens), "trial": [], "loss": []}
        group["trial"].append(trial.id)
        group["loss"].append([exact_short(point.loss) for point in trial.curve])
    return list(groups.values())


def short(value: float | None) -> float | None:
    """Return `exact_short(value)`, or None for None."""
    return None if value is None else exact_short(value)


def exact_short(value: float) -> float:
    """Round to as many digits as a chart can show; whole numbers, such as counts, stay exact."""
    return value if float(value).is_integer() else float(f"{value:.{_DIGITS}g}")


def seconds_since_1970(moment: datetime) -> float:
    """Return a Unix timestamp in seconds, rounded to milliseconds."""
    return round(moment.timestamp(), 3)


def _score_columns(spec: StudySpec, trials: Sequence[Trial]) -> dict[str, Column]:
    rows: dict[str, dict[int, Score]] = {}
    for row, trial in enumerate(trials):
        for score in trial.scores:
            rows.setdefault(score.name, {})[row] = score
    asked = set(asked_scores(spec))
    return {name: _column(found, len(trials), name in asked) for name, found in rows.items()}


def _column(rows: Mapping[int, Score], length: int, is_asked: bool) -> Column:
    value: list[float | None] = [None] * length
    low: list[float | None] = [None] * length
    high: list[float | None] = [None] * length
    half_width: list[float | None] = [None] * length
    provisional = [False] * length
    for row, score in rows.items():
        value[row] = exact_short(score.value)
        half_width[row] = _half_width(score)
        provisional[row] = is_asked and score.provisional
        if score.low is not None and score.high is not None:
            low[row], high[row] = exact_short(score.low), exact_short(score.high)
    return {
        "value": value,
        "low": _known(low),
        "high": _known(high),
        "half_width": _known(half_width),
        "provisional": provisional if any(provisional) else None,
    }


def _known(entries: list[float | None]) -> list[float | None] | None:
    return entries if any(entry is not None for entry in entries) else None


def _half_width(score: Score) -> float | None:
    """Return half the width of the interval of a time's ratio; see `Column.half_width`."""
    if not is_timed(score.name):
        return None
    # Earlier releases stored the interval of the ratio as that of the time.
    bounds = score if score.measured is None else score.measured
    if bounds.low is None or bounds.high is None:
        return None
    return round(Interval(low=bounds.low, high=bounds.high).half_width, 5)


def _trained(spec: StudySpec, trial: Trial) -> float | None:
    if not trial.curve:
        return None
    return round(min(1.0, trial.curve[-1].tokens / spec.proxy.token_budget), 4)
