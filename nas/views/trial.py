"""One trial for people and for scripts: its scores with their evidence, and how it ended."""

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from evaluators.evaluator import CurvePoint, Score
from hardware.measurement import Measurement, quantile_ms
from nas.views.terminal import bar, duration, number, table
from studies.analysis import TrialDetail


def trial_document(detail: TrialDetail) -> dict[str, Any]:
    """What `nas show STUDY TRIAL --json` adds to the model's own document."""
    trial = detail.trial
    return {
        "study": trial.study,
        "trial": trial.name,
        "state": trial.state,
        "reason": None if trial.outcome is None else trial.outcome.reason,
        "duplicate_of": trial.duplicate_of,
        "scores": [asdict(score) for score in trial.scores],
        "curve": [asdict(point) for point in trial.curve],
        "stages": {run.stage: run.seconds for run in trial.stages},
        "measurements": [
            {
                "workload": str(measurement.workload),
                "runtime": measurement.runtime,
                "threads": measurement.threads,
                "samples_ns": measurement.samples_ns,
                "peak_memory_bytes": measurement.peak_memory_bytes,
                "environment": asdict(measurement.environment),
            }
            for measurement in _measurements(detail)
        ],
    }


def trial_view(detail: TrialDetail) -> RenderableType:
    trial = detail.trial
    state = Text.assemble(("state  ", "bold"), trial.state)
    if trial.outcome is not None and trial.outcome.reason is not None:
        state.append(f": {trial.outcome.reason}")
    if trial.duplicate_of is not None:
        state.append(f" (the same as trial {trial.duplicate_of})")
    scores = table("score", "value", "unit", "95 % interval", left=("score", "unit"))
    for score in trial.scores:
        scores.add_row(score.name, number(score.value), score.unit, _interval(score))
    parts: list[RenderableType] = [state, scores]
    parts += [_timings(measurement) for measurement in _measurements(detail)]
    if trial.curve:
        parts += [Text("\nlearning curve, bits/byte", style="bold"), *_curve(trial.curve)]
    spent = ", ".join(f"{run.stage} {duration(run.seconds)}" for run in trial.stages)
    if spent:
        parts.append(Text(f"\ntime spent: {spent}", style="dim"))
    return Group(*parts)


def _measurements(detail: TrialDetail) -> list[Measurement]:
    return [each for found in detail.evaluations.values() for each in found.measurements]


def _interval(score: Score) -> str:
    if score.low is None or score.high is None:
        return ""
    return f"{number(score.low)} to {number(score.high)}"


def _timings(measurement: Measurement) -> Text:
    unit = "prompt" if measurement.workload.phase == "prefill" else "token"
    return Text(
        f"{measurement.workload!s:12} {quantile_ms(measurement, 0.5):,.2f} ms a {unit}, "
        f"p95 {quantile_ms(measurement, 0.95):,.2f}, {len(measurement.samples_ns)} samples, "
        f"{measurement.runtime} with threads {measurement.threads}"
    )


def _curve(curve: tuple[CurvePoint, ...]) -> list[Text]:
    worst = max(point.loss for point in curve)
    return [
        Text(f"{point.tokens:>12,} tokens  {point.loss:.3f}  {bar(point.loss / worst)}")
        for point in curve
    ]
