"""The front of a study as a table with a scatter plot, and as a JSON document."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.text import Text

from evaluators.evaluator import Score
from evaluators.scores import LOSS
from nas.findings.confirmation_findings import confirmation_line, probability_text
from nas.findings.time_wording import (
    UNSURE,
    marks_legend,
    named_score,
    provisional_among,
    provisional_members_text,
    score_text,
    seed_noise_legend,
    times_legend,
    unsure_legend,
    unsure_limits,
)
from nas.findings.wording import counted, joined, marked, number
from nas.views.candidates import CandidateTable, Row
from nas.views.scatter import Mark, scatter
from nas.views.terminal import interval_legend, output
from studies.analysis.study_front import Axis, Front, is_provisional, left_out
from studies.confirmation.confirmation_results import Confirmation
from studies.records import ScoredPoint, Trial, scored_point
from studies.spec.study_spec import StudySpec

# Each row of the table has a sign, which marks the same candidate in the scatter plot.
_SIGNS = "123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DOMINATED, _INFEASIBLE, _REFERENCE, _UNSIGNED = "·", "x", "@", "*"
_MOST_NAMED = 3  # candidates that a sentence lists
# The stage of `evaluators.speed.latency`, which is slow to import.
_LATENCY_STAGE = "latency"


def front_document(
    front: Front, best: Trial | None, confirmation: Confirmation | None = None
) -> dict[str, Any]:
    """Return the document that `nas pareto --json` prints.

    Args:
        front: The front.
        best: The best candidate within the requested limits; None without limits or candidate.
        confirmation: The results of the confirmation so far; None if it has not started.
    """
    return {
        "study": front.study,
        "objectives": [{"name": axis.name, "unit": axis.unit} for axis in front.axes],
        "front": [_member(front, trial) for trial in front.members],
        "reference_models": [_member(front, trial) for trial in front.references],
        "hypervolume": front.hypervolume,
        "hypervolume_reference": list(front.reference_point),
        "knee": None if front.knee is None else front.knee.number,
        "best": None if best is None else _member(front, best),
        "front_probabilities": None
        if confirmation is None
        else {str(trial.number): confirmation.probability(trial) for trial in front.members},
    }


def print_front(front: Front, study_argument: str, confirmation: Confirmation | None) -> None:
    """Print the front, and the commands that the user may want to run next.

    Args:
        front: The front.
        study_argument: The argument that identifies the study on the command line.
        confirmation: The results of the confirmation so far; None if it has not started.
    """
    show_front(front, study_argument, confirmation)
    if front.members:
        first = front.knee or front.members[0]
        output().print(
            f"next: nas show {study_argument} {first.number}\n"
            f"      nas export {study_argument} {first.number} --format json\n"
            f"      nas pareto {study_argument} --max {front.axes[-1].name}=VALUE",
            soft_wrap=True,
        )


def show_front(front: Front, study_argument: str, confirmation: Confirmation | None = None) -> None:
    """Print the table, the scatter plot and the caption of a front.

    Args:
        front: The front. Without members, the reason is printed instead.
        study_argument: The argument that identifies the study on the command line.
        confirmation: The results of the confirmation so far; None if it has not started.
    """
    console = output()
    if not front.members:
        console.print(_no_front(front, study_argument))
        return
    console.print(_table(front, confirmation))
    console.print(_picture(front), soft_wrap=True)
    console.print(_caption(front, study_argument, confirmation))


def show_best(
    front: Front, best: Trial | None, limits: Mapping[str, float], study_argument: str
) -> None:
    """Print the best candidate within limits, or the lowest scores if there is none.

    Args:
        front: The front.
        best: The candidate, or None.
        limits: The upper limits of scores, by name.
        study_argument: The argument that identifies the study on the command line.
    """
    asked = " and ".join(f"{name} at most {limit:g}" for name, limit in limits.items())
    if best is None:
        lowest = ", ".join(_lowest(front, limits)) or "no candidate is complete"
        output().print(f"no complete candidate has {asked}; {lowest}", soft_wrap=True)
        return
    explained = list(marks_legend(front.spec, _shown_scores(front)))
    names = [*(axis.name for axis in front.axes), *limits]
    scores = sorted(
        (score for score in best.scores if score.name in names),
        key=lambda score: names.index(score.name),
    )
    lines = [
        f"lowest {front.axes[0].name} with {asked}: trial {best.number}",
        ", ".join(named_score(front.spec, score) for score in scores),
        *(line for line in marks_legend(front.spec, scores) if line not in explained),
    ]
    lines += _provisional_choice(front, best, limits, asked)
    unsure = [each.name for each in best.scores if _may_exceed(each, limits)]
    if unsure:
        lines.append(f"trial {best.number} may exceed the limit of {joined(unsure)}")
    lines.append(f"next: nas export {study_argument} {best.number} --format json")
    output().print("\n".join(lines), soft_wrap=True)


def _provisional_choice(
    front: Front, best: Trial, limits: Mapping[str, float], asked: str
) -> Iterator[str]:
    """State how provisional scores affected the choice of the best candidate, if they did."""
    score = front.axes[0].name
    provisional = best.provisional({score, *limits})
    if provisional:
        verb = "is" if len(provisional) == 1 else "are"
        yield (
            f"the choice is provisional: {joined(provisional)} of trial {best.number} {verb} "
            f"provisional, and no candidate with settled scores has {asked}"
        )
    others = left_out(front, best, score, limits)
    named = [f"trial {each.number} ({score} {_point_value(each, score)})" for each in others]
    if named[_MOST_NAMED:]:
        named = [*named[:_MOST_NAMED], f"{len(named) - _MOST_NAMED} more"]
    if named:
        yield f"left out because of provisional scores: {joined(named)}"


def _may_exceed(score: Score, limits: Mapping[str, float]) -> bool:
    """Return whether the upper bound of a score's interval is above its limit."""
    return score.high is not None and score.high > limits.get(score.name, math.inf)


def _lowest(front: Front, names: Iterable[str]) -> Iterator[str]:
    points = [*map(scored_point, front.members), *front.dominated]
    for name in names if points else ():
        point = min(points, key=lambda each: each.values[name])
        members = [trial for trial in front.members if trial.number == point.number]
        known = [score for trial in members for score in trial.scores if score.name == name]
        # Only the scores of members have been read with their intervals.
        text = score_text(front.spec, known[0]) if known else _point_value(point, name)
        yield f"the lowest {name} is {text} (trial {point.number})"


def _point_value(point: ScoredPoint, name: str) -> str:
    return marked(number(point.values[name]), is_provisional=name in point.provisional)


def _no_front(front: Front, study_argument: str) -> Text:
    text = f"{front.study}: no candidate is complete, so there is no front"
    if front.infeasible:
        last = front.infeasible[-1]
        infeasible = counted(len(front.infeasible), "candidate is", "candidates are")
        text += f"; {infeasible} infeasible, such as trial {last.number}: {last.reason}"
    return Text(f"{text}\nnext: nas status {study_argument}")


def _member(front: Front, trial: Trial) -> dict[str, Any]:
    assert trial.model is not None
    return {
        "trial": trial.name,
        "hash": trial.model.hash,
        "layout": trial.model.layout,
        "parameters": trial.model.parameters,
        "values": trial.values,
        "low": {score.name: score.low for score in trial.scores},
        "high": {score.name: score.high for score in trial.scores},
        "provisional": [each.name for each in trial.scores if is_provisional(front.spec, each)],
        "unsure_limits": list(unsure_limits(front.spec, trial)),
    }


def _table(front: Front, confirmation: Confirmation | None) -> CandidateTable:
    headings = [_title(axis).replace(" ", "\n", 1) for axis in front.axes]
    headings += [] if confirmation is None else ["on the\nfront"]
    signed = [(_sign(index), trial) for index, trial in enumerate(front.members)]
    signed += [(_REFERENCE, trial) for trial in front.references]
    rows = tuple(_row(front, confirmation, sign, trial) for sign, trial in signed)
    return CandidateTable(names=("", "trial"), figures=tuple(headings), rows=rows)


def _row(front: Front, confirmation: Confirmation | None, sign: str, trial: Trial) -> Row:
    assert trial.model is not None
    unsure = UNSURE if unsure_limits(front.spec, trial) else ""
    knee = " (knee)" if trial is front.knee else ""
    figures = [_value(front.spec, trial, axis) for axis in front.axes]
    figures += [] if confirmation is None else [_probability(confirmation, trial)]
    return Row(
        names=(sign, trial.reference or f"{trial.number}{unsure}{knee}"),
        model=trial.model,
        figures=tuple(figures),
    )


def _probability(confirmation: Confirmation, trial: Trial) -> str:
    return "" if trial.reference else probability_text(confirmation.probability(trial))


def _value(spec: StudySpec, trial: Trial, axis: Axis) -> str:
    return score_text(spec, next(score for score in trial.scores if score.name == axis.name))


def _picture(front: Front) -> Text:
    """Plot the first objective against the second."""
    y_axis, x_axis = front.axes[0], front.axes[1]
    marks = [_mark(point, x_axis, y_axis, _INFEASIBLE) for point in _drawn_infeasible(front)]
    marks += [_mark(point, x_axis, y_axis, _DOMINATED) for point in front.dominated]
    marks += [
        _mark(trial, x_axis, y_axis, _REFERENCE, trial.reference or "")
        for trial in front.references
    ]
    marks += [
        _mark(trial, x_axis, y_axis, _sign(index)) for index, trial in enumerate(front.members)
    ]
    return Text(scatter(marks, x_title=_title(x_axis), y_title=_title(y_axis)))


def _drawn_infeasible(front: Front) -> list[ScoredPoint]:
    """Return the infeasible candidates that were evaluated far enough to have both scores."""
    names = {axis.name for axis in front.axes[:2]}
    return [point for point in front.infeasible if names <= set(point.values)]


def _caption(front: Front, study_argument: str, confirmation: Confirmation | None) -> Text:
    signs = [
        "1 2 3 front",
        *([f"{_DOMINATED} dominated"] if front.dominated else []),
        *([f"{_INFEASIBLE} infeasible"] if _drawn_infeasible(front) else []),
        *([f"{_REFERENCE} reference model"] if front.references else []),
    ]
    corner = ", ".join(
        f"{axis.name} {number(worst)}"
        for axis, worst in zip(front.axes, front.reference_point, strict=True)
    )
    volume = f"hypervolume {front.hypervolume:.4g} (reference point: {corner})"
    hidden = ", ".join(axis.name for axis in front.axes[2:])
    plotted = [f"not plotted, only in the table: {hidden}"] if hidden else []
    lines = ["   ".join(signs), *plotted, volume, *_interval_notes(front)]
    if confirmation is not None:
        lines.append("on the front: probability among the confirmed candidates")
    if LOSS in [axis.name for axis in front.axes]:
        is_measured = confirmation is not None and confirmation.noise is not None
        lines += seed_noise_legend(is_confirmed=is_measured)
        complete = len(front.members) + len(front.dominated)
        lines.append(confirmation_line(confirmation, study_argument, complete=complete))
    return Text("\n".join(lines), style="dim")


def _interval_notes(front: Front) -> list[str]:
    """Explain the intervals and marks in the table, if there are any."""
    shown = _shown_scores(front)
    lines = [
        *interval_legend(score_text(front.spec, score) for score in shown),
        *times_legend(front.spec, shown),
        *marks_legend(front.spec, shown),
    ]
    provisional = provisional_among(front.members, front.axes)
    if provisional:
        lines.append(provisional_members_text(len(provisional), len(front.members)))
    lines += unsure_legend(front.spec, front.members)
    if any(len(found) > 1 for found in _latency_fingerprints(front).values()):
        lines.append(
            "latencies were measured on different devices or releases and are not comparable"
        )
    return lines


def _shown_scores(front: Front) -> list[Score]:
    names = {axis.name for axis in front.axes}
    trials = (*front.members, *front.references)
    return [score for trial in trials for score in trial.scores if score.name in names]


def _latency_fingerprints(front: Front) -> dict[str, set[str]]:
    """Return the fingerprints of the latencies by stage: the device, the runtime and the release.

    Every named device has a stage of its own.
    """
    found: dict[str, set[str]] = {}
    for run in (run for trial in (*front.members, *front.references) for run in trial.stages):
        if run.stage.partition("@")[0] == _LATENCY_STAGE:
            found.setdefault(run.stage, set()).add(run.fingerprint)
    return found


def _mark(
    point: Trial | ScoredPoint, x_axis: Axis, y_axis: Axis, symbol: str, label: str = ""
) -> Mark:
    values = point.values
    return Mark(x=values[x_axis.name], y=values[y_axis.name], symbol=symbol, label=label)


def _sign(index: int) -> str:
    return _SIGNS[index] if index < len(_SIGNS) else _UNSIGNED


def _title(axis: Axis) -> str:
    return axis.name if axis.unit == axis.name else f"{axis.name} {axis.unit}"
