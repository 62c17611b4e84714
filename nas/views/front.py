"""A study's front for people and for scripts: a table, a scatter, one document."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from evaluators.scores import is_timed
from nas.findings.confirmation_findings import confirmation_line, probability_text
from nas.findings.wording import number
from nas.views.candidates import CandidateTable, Row
from nas.views.scatter import Mark, scatter
from nas.views.terminal import UNSETTLED, output, unsettled_legend
from studies.analysis.summaries import Axis, Front, is_unsettled
from studies.confirmation.confirmation_results import Confirmation
from studies.records import ScoredPoint, Trial, scored_point
from studies.spec.reference_models import paired_reference
from studies.spec.study_spec import StudySpec

# One sign a row of the table, so that the scatter can say which is which.
_SIGNS = "123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DOMINATED, _INFEASIBLE, _REFERENCE, _UNSIGNED = "·", "x", "@", "*"
# The stage of `evaluators.speed.latency`, which takes a while to import.
_TIMING = "latency"


def front_document(
    front: Front, best: Trial | None, confirmation: Confirmation | None = None
) -> dict[str, Any]:
    """What `nas pareto --json` prints."""
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
        study_argument: The arguments with which these commands find the study.
        confirmation: What is known about the front from its confirmation, if anything is.
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
    """`typed` is what the user calls the study by."""
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
    """`typed` is what the user calls the study by."""
    asked = ", ".join(f"{name} at most {limit:g}" for name, limit in limits.items())
    if best is None:
        least = ", ".join(_least(front, name) for name in limits)
        output().print(f"no complete candidate has {asked}; {least}", soft_wrap=True)
        return
    assert best.model is not None
    values = ", ".join(
        f"{number(each.value)} {each.unit}"
        if each.unit == each.name
        else f"{each.name} {number(each.value)} {each.unit}"
        for each in best.scores
    )
    output().print(
        f"lowest {front.axes[0].name} with {asked}: trial {best.number}\n{values}\n"
        f"next: nas export {study_argument} {best.number} --format json",
        soft_wrap=True,
    )


def _least(front: Front, name: str) -> str:
    points = [*map(scored_point, front.members), *front.dominated]
    if not points:
        return "none is complete"
    point = min(points, key=lambda each: each.values[name])
    return f"the least {name} is {number(point.values[name])}, of trial {point.number}"


def parse_limits(texts: Sequence[str]) -> dict[str, float]:
    """`decode=20` as a name and a number; ValueError for what is neither, or below 0."""
    limits: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            limit = float(value)
        except ValueError:
            limit = math.nan
        if not name or not math.isfinite(limit):
            raise ValueError(f"max: '{text}' is not NAME=VALUE, such as decode=20")
        if limit < 0:
            raise ValueError(f"max: '{text}' is below 0, as no score is")
        limits[name] = limit
    return limits


def _no_front(front: Front, study_argument: str) -> Text:
    said = f"{front.study}: no candidate is complete, so there is no front"
    if front.infeasible:
        last = front.infeasible[-1]
        over = f"{len(front.infeasible)} over budget, such as trial {last.number}"
        said += f"; {over}: {last.reason}"
    return Text(f"{said}\nnext: nas status {study_argument}")


def _member(front: Front, trial: Trial) -> dict[str, Any]:
    assert trial.model is not None
    return {
        "trial": trial.name,
        "hash": trial.model.hash,
        "layout": trial.model.layout,
        "parameters": trial.model.parameters,
        "values": trial.values,
        "unsettled": [each.name for each in trial.scores if is_unsettled(front.spec, each)],
    }


def _table(front: Front, confirmation: Confirmation | None) -> CandidateTable:
    headings = [_title(axis).replace(" ", "\n", 1) for axis in front.axes]
    # What longer trainings say is there once they are.
    headings += [] if confirmation is None else ["on the\nfront"]
    signed = [(_sign(index), trial) for index, trial in enumerate(front.members)]
    signed += [(_REFERENCE, trial) for trial in front.references]
    rows = tuple(_row(front, confirmation, sign, trial) for sign, trial in signed)
    return CandidateTable(names=("", "trial"), figures=tuple(headings), rows=rows)


def _row(front: Front, confirmation: Confirmation | None, sign: str, trial: Trial) -> Row:
    assert trial.model is not None
    knee = " (knee)" if trial is front.knee else ""
    figures = [_value(front.spec, trial, axis) for axis in front.axes]
    figures += [] if confirmation is None else [_probability(confirmation, trial)]
    return Row(
        names=(sign, trial.reference or f"{trial.number}{knee}"),
        model=trial.model,
        figures=tuple(figures),
    )


def _probability(confirmation: Confirmation, trial: Trial) -> str:
    return "" if trial.reference else probability_text(confirmation.probability(trial))


def _value(spec: StudySpec, trial: Trial, axis: Axis) -> str:
    """With half its 95 % interval, where there is one."""
    score = next(score for score in trial.scores if score.name == axis.name)
    mark = UNSETTLED if is_unsettled(spec, score) else ""
    if score.low is None or score.high is None:
        return f"{mark}{number(score.value)}"
    return f"{mark}{number(score.value)} ±{(score.high - score.low) / 2:.2g}"


def _picture(front: Front) -> Text:
    """The first objective against the second."""
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
    """Those that were refused late enough to have a value on both axes."""
    names = {axis.name for axis in front.axes[:2]}
    return [point for point in front.infeasible if names <= set(point.values)]


def _caption(front: Front, study_argument: str, confirmation: Confirmation | None) -> Text:
    signs = [
        "1 2 3 front",
        *([f"{_DOMINATED} dominated"] if front.dominated else []),
        *([f"{_INFEASIBLE} over budget"] if _drawn_infeasible(front) else []),
        *([f"{_REFERENCE} reference model"] if front.references else []),
    ]
    corner = ", ".join(
        f"{axis.name} {number(worst)}"
        for axis, worst in zip(front.axes, front.reference_point, strict=True)
    )
    volume = f"hypervolume {front.hypervolume:.4g} below {corner}"
    hidden = ", ".join(axis.name for axis in front.axes[2:])
    drawn = [f"in the table alone, not drawn: {hidden}"] if hidden else []
    lines = ["   ".join(signs), *drawn, volume, *_noise(front)]
    if "loss" in [axis.name for axis in front.axes]:
        lines.append(confirmation_line(confirmation, study_argument))
    return Text("\n".join(lines), style="dim")


def _noise(front: Front) -> list[str]:
    """What the intervals mean, where the table has any."""
    shown = [
        score
        for trial in (*front.members, *front.references)
        for score in trial.scores
        if score.name in {axis.name for axis in front.axes}
    ]
    if not any(is_timed(axis.name) for axis in front.axes):
        has_intervals = any(score.low is not None for score in shown)
        return ["±: half the 95 % interval"] if has_intervals else []
    lines = [f"±: half the 95 % interval, timed in turn with {paired_reference(front.spec)}"]
    if any(is_unsettled(front.spec, score) for score in shown):
        lines.append(unsettled_legend(front.spec.device.precision))
    if len(_ways_of_timing(front)) > 1:
        lines.append("not all were timed on one device by one release: their times do not compare")
    return lines


def _ways_of_timing(front: Front) -> set[str]:
    """By the fingerprints of those who timed: device, runtime and release are in them."""
    return {
        run.fingerprint
        for trial in (*front.members, *front.references)
        for run in trial.stages
        if run.stage == _TIMING
    }


def _mark(
    point: Trial | ScoredPoint, x_axis: Axis, y_axis: Axis, symbol: str, label: str = ""
) -> Mark:
    values = point.values
    return Mark(x=values[x_axis.name], y=values[y_axis.name], symbol=symbol, label=label)


def _sign(index: int) -> str:
    return _SIGNS[index] if index < len(_SIGNS) else _UNSIGNED


def _title(axis: Axis) -> str:
    return axis.name if axis.unit == axis.name else f"{axis.name} {axis.unit}"
