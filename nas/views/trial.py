"""One trial with its scores, its measurements and its outcome, as text and as a JSON document."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from evaluators.evaluator import CurvePoint, Score
from evaluators.scores import is_timed
from hardware.measurement import Measurement, quantile_ms
from nas.findings.wording import counted, duration, number, percent
from nas.views.terminal import UNSETTLED, bar, table, unsettled_legend
from studies.analysis.summaries import TrialDetail, is_unsettled
from studies.spec.reference_models import paired_reference
from studies.spec.study_spec import StudySpec


def trial_document(detail: TrialDetail) -> dict[str, Any]:
    """Return what `nas show STUDY TRIAL --json` adds to the document of the model."""
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
        "unsettled": [each.name for each in trial.scores if is_unsettled(detail.spec, each)],
        "measurements": [_measurement_document(each) for each in _measurements(detail)],
    }


def trial_view(detail: TrialDetail) -> RenderableType:
    """Return the state, the scores, the measurements and the learning curve of a trial."""
    trial = detail.trial
    state = Text.assemble(("state  ", "bold"), trial.state)
    if trial.outcome is not None and trial.outcome.reason is not None:
        state.append(f": {trial.outcome.reason}")
    if trial.duplicate_of is not None:
        state.append(f" (duplicate of trial {trial.duplicate_of})")
    parts: list[RenderableType] = [Text(), state, _scores(detail)]
    parts += [Text(line, style="dim") for line in _legend(detail)]
    parts += [_timings(measurement, detail.spec) for measurement in _measurements(detail)]
    if len(trial.curve) > 1:
        parts += [Text("\nlearning curve, bits/byte", style="bold"), *_curve(trial.curve)]
    spent = ", ".join(f"{run.stage} {duration(run.seconds)}" for run in trial.stages)
    if spent:
        parts.append(Text(f"\ntime spent: {spent}", style="dim"))
    return Group(*parts)


def _measurements(detail: TrialDetail) -> list[Measurement]:
    return [each for found in detail.evaluations.values() for each in found.measurements]


def _measurement_document(measurement: Measurement) -> dict[str, Any]:
    """Return the fields of a measurement and of the reference model's measurement."""
    reference = measurement.reference
    return asdict(replace(measurement, reference=None)) | {
        "workload": str(measurement.workload),
        "reference": None if reference is None else _measurement_document(reference),
    }


def _scores(detail: TrialDetail) -> Table:
    scores = table("score", "value", "unit", "95 % confidence interval", left=("score", "unit"))
    for score in detail.trial.scores:
        mark = UNSETTLED if is_unsettled(detail.spec, score) else ""
        scores.add_row(score.name, mark + number(score.value), score.unit, _interval(score))
    return scores


def _legend(detail: TrialDetail) -> Iterator[str]:
    scores = detail.trial.scores
    paired = any(each.reference is not None for each in _measurements(detail))
    if paired and any(is_timed(score.name) and score.low is not None for score in scores):
        yield (
            "confidence intervals of times are those of the measured ratio to "
            f"{paired_reference(detail.spec)}; an error in the time of that model would scale all "
            "times alike"
        )
    if any(is_unsettled(detail.spec, score) for score in scores):
        yield unsettled_legend(detail.spec.device.precision)
    times = max(Counter(each.workload for each in _measurements(detail)).values(), default=1)
    if times > 1:
        yield (
            f"measured {times} times, because the first measurement was far from its prediction; "
            "the median of each score is used"
        )


def _interval(score: Score) -> str:
    if score.low is None or score.high is None:
        return "unknown" if is_timed(score.name) else ""
    return f"{number(score.low)} to {number(score.high)}"


def _timings(measurement: Measurement, spec: StudySpec) -> Text:
    """Describe the samples themselves; the scores are relative to the reference model's samples."""
    unit = "ms/prompt" if measurement.workload.phase == "prefill" else "ms/token"
    samples = counted(len(measurement.samples_ns), "sample", "samples")
    lines = [
        f"{quantile_ms(measurement, 0.5):,.2f} {unit}, p95 {quantile_ms(measurement, 0.95):,.2f}, "
        f"{samples}, {measurement.runtime}, {counted(measurement.threads, 'thread', 'threads')}"
    ]
    if measurement.reference is not None:
        reference_ms = quantile_ms(measurement.reference, 0.5)
        lines.append(
            f"interleaved with {paired_reference(spec)}, which took {reference_ms:,.2f} {unit}"
        )
    if measurement.disturbance is not None:
        lost = percent(measurement.disturbance.steal + measurement.disturbance.beside)
        lines.append(f"other processes and the hypervisor took {lost} of the cores' time")
        if measurement.disturbance.waited_s >= 1:
            waited = duration(measurement.disturbance.waited_s)
            lines.append(f"waited {waited} for a quiet machine")
    return Text(f"{measurement.workload!s:12} " + f"\n{'':13}".join(lines))


def _curve(curve: tuple[CurvePoint, ...]) -> list[Text]:
    worst = max(point.loss for point in curve)
    return [
        Text(f"{point.tokens:>12,} tokens  {point.loss:.3f}  {bar(point.loss / worst)}")
        for point in curve
    ]
