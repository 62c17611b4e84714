"""One trial with its scores, its measurements and its outcome, as text and as a JSON document."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from evaluators.calibration import Calibration
from evaluators.evaluator import CurvePoint, Score
from evaluators.scores import device_of, device_of_stage, is_timed
from hardware.measurement import Measurement, quantile_ms
from nas.findings.expected_loss_findings import (
    UNEXPECTED_MEANING,
    expected_loss_document,
    expected_loss_explanation,
    expected_loss_finding,
)
from nas.findings.time_wording import (
    marks_legend,
    precision_legend,
    times_legend,
    unsure_limits,
    workload_legend,
    workload_on,
)
from nas.findings.wording import (
    PROVISIONAL,
    counted,
    duration,
    joined,
    marked,
    number,
    percent,
    value_text,
)
from nas.views.terminal import bar, table
from studies.analysis.study_front import is_provisional
from studies.analysis.trial_detail import TrialDetail
from studies.spec.reference_models import paired_reference
from studies.spec.study_spec import StudySpec

if TYPE_CHECKING:
    from studies.analysis.expected_losses import ExpectedLoss, ExpectedLosses


def trial_document(detail: TrialDetail, expected: "ExpectedLosses | None" = None) -> dict[str, Any]:
    """Return what `nas show STUDY TRIAL --json` adds to the document of the model.

    Args:
        detail: The trial.
        expected: The expected losses of its study, if they are known.
    """
    trial = detail.trial
    return {
        "study": trial.study,
        "trial": trial.name,
        "state": trial.state,
        "reason": None if trial.outcome is None else trial.outcome.reason,
        "duplicate_of": trial.duplicate_of,
        "scores": [_score_document(detail.spec, score) for score in trial.scores],
        "expected_loss": expected_loss_document(_expected_loss(detail, expected)),
        "curve": [asdict(point) for point in trial.curve],
        "stages": {run.stage: run.seconds for run in trial.stages},
        "provisional": [each.name for each in trial.scores if is_provisional(detail.spec, each)],
        "unsure_limits": list(unsure_limits(detail.spec, trial)),
        "measurements": [
            {"device": device} | _measurement_document(each)
            for device, found in _by_device(detail)
            for each in found
        ],
    }


def trial_view(detail: TrialDetail, expected: "ExpectedLosses | None" = None) -> RenderableType:
    """Return the state, the scores and how they came about, and the learning curve of a trial.

    Args:
        detail: The trial.
        expected: The expected losses of its study, if they are known.
    """
    trial = detail.trial
    state = Text.assemble(("state  ", "bold"), trial.state)
    if trial.outcome is not None and trial.outcome.reason is not None:
        state.append(f": {trial.outcome.reason}")
    if trial.duplicate_of is not None:
        state.append(f" (duplicate of trial {trial.duplicate_of})")
    unsure = unsure_limits(detail.spec, trial)
    if unsure:
        state.append(
            f"; may exceed the limit of {joined(unsure)}, but was kept because that is not certain"
        )
    parts: list[RenderableType] = [Text(), state, _scores(detail)]
    if any(_calibration(detail, score) is not None for score in trial.scores):
        parts.append(_ratios(detail))
    parts += [Text(line, style="dim") for line in _legend(detail)]
    parts += _expectation(detail, expected)
    parts += _all_timings(detail)
    if len(trial.curve) > 1:
        parts += [Text("\nlearning curve, bits/byte", style="bold"), *_curve(trial.curve)]
    spent = ", ".join(f"{run.stage} {duration(run.seconds)}" for run in trial.stages)
    if spent:
        parts.append(Text(f"\ntime spent: {spent}", style="dim"))
    return Group(*parts)


def _expected_loss(detail: TrialDetail, expected: "ExpectedLosses | None") -> "ExpectedLoss | None":
    """Return the expected loss of a complete candidate; None for all others."""
    trial = detail.trial
    if expected is None or trial.model is None:
        return None
    is_candidate = trial.kind == "candidate" and trial.state == "complete"
    return expected.losses.get(trial.model.hash) if is_candidate else None


def _expectation(detail: TrialDetail, expected: "ExpectedLosses | None") -> Iterator[Text]:
    found = _expected_loss(detail, expected)
    if expected is None or found is None:
        return
    yield Text(expected_loss_finding(found))
    yield Text(expected_loss_explanation(expected), style="dim")
    if found.is_unexpected:
        yield Text(UNEXPECTED_MEANING, style="dim")


def _by_device(detail: TrialDetail) -> Iterator[tuple[str | None, Sequence[Measurement]]]:
    """Yield the measurements of each stage and the name of its device; None is this machine."""
    for stage, found in detail.evaluations.items():
        yield device_of_stage(stage), found.measurements


def _measurements(detail: TrialDetail) -> list[Measurement]:
    return [each for _, found in _by_device(detail) for each in found]


def _score_document(spec: StudySpec, score: Score) -> dict[str, Any]:
    return asdict(score) | {"provisional": score.provisional or is_provisional(spec, score)}


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
        is_doubtful = is_provisional(detail.spec, score) or _lacks_interval(score)
        value = marked(number(score.value), is_provisional=is_doubtful)
        scores.add_row(score.name, value, score.unit, _interval(score))
    return scores


def _ratios(detail: TrialDetail) -> Table:
    """Show the two factors of each time in milliseconds."""
    factors = table(
        *("time", "ratio", "x reference ms", "timings", "workload"), left=("time", "workload")
    )
    for score in detail.trial.scores:
        measured, calibration = score.measured, _calibration(detail, score)
        if measured is None or calibration is None:
            continue
        interval = calibration.interval
        factors.add_row(
            score.name,
            value_text(measured.ratio, measured.low, measured.high),
            value_text(calibration.milliseconds, interval.low, interval.high),
            f"{len(calibration.timings):,}",
            calibration.key.workload,
        )
    return factors


def _calibration(detail: TrialDetail, score: Score) -> Calibration | None:
    """Return the reference model's time behind a score in milliseconds, if it is known."""
    if score.measured is None or not score.unit.startswith("ms"):
        return None
    return detail.calibrations.get(score.measured.calibration)


def _legend(detail: TrialDetail) -> Iterator[str]:
    scores = detail.trial.scores
    if any(_calibration(detail, score) is not None for score in scores):
        reference = paired_reference(detail.spec)
        yield f"reference ms: the time of {reference} according to all its timings on the device"
    if any(each.reference is not None for each in _measurements(detail)):
        yield from times_legend(detail.spec, scores)
    if detail.trial.state in ("infeasible", "stopped", "failed"):  # not measured again
        if any(is_provisional(detail.spec, score) for score in scores):
            yield precision_legend(detail.spec.device.precision)
    else:
        yield from marks_legend(detail.spec, scores)
    if any(_lacks_interval(each) and not is_provisional(detail.spec, each) for each in scores):
        yield f"{PROVISIONAL} without an interval: too few samples to know how precise it is"
    yield from workload_legend(str(each.workload) for each in _measurements(detail))
    runs = Counter((device, each.workload) for device, of in _by_device(detail) for each in of)
    times = max(runs.values(), default=1)
    if times > 1 and any(score.measured is not None for score in scores):
        yield (
            f"measured {times} times; each time combines all runs by their ratios to the reference "
            "model, and disturbed runs count less; the runs' own times below vary with the machine"
        )
    elif times > 1:
        yield (
            f"measured {times} times, because the first measurement was far from its prediction; "
            "the median of each score is used"
        )


def _lacks_interval(score: Score) -> bool:
    return is_timed(score.name) and (score.low is None or score.high is None)


def _interval(score: Score) -> str:
    if score.low is None or score.high is None:
        return "unknown" if is_timed(score.name) else ""
    return f"{number(score.low)} to {number(score.high)}"


def _all_timings(detail: TrialDetail) -> Iterator[Text]:
    """Describe the samples of every run, workload by workload."""
    runs: dict[tuple[str | None, str], list[Measurement]] = {}
    for device, measurements in _by_device(detail):
        for measurement in measurements:
            runs.setdefault((device, str(measurement.workload)), []).append(measurement)
    imprecise = {
        (device_of(score.name), score.measured.calibration.workload)
        for score in detail.trial.scores
        if score.measured is not None and _lacks_interval(score)
    }
    for (device, workload), found in runs.items():
        name = workload_on(workload, [] if device is None else [device])
        for place, measurement in enumerate(found, 1):
            run = f", run {place} of {len(found)}" if len(found) > 1 else ""
            is_tail_doubtful = (device, workload) in imprecise
            yield _timings(
                name, measurement, detail.spec, is_tail_doubtful=is_tail_doubtful, run=run
            )


def _timings(
    name: str, measurement: Measurement, spec: StudySpec, *, is_tail_doubtful: bool, run: str
) -> Text:
    """Describe the samples themselves; the scores are relative to the reference model's samples."""
    unit = "ms/prompt" if measurement.workload.phase == "prefill" else "ms/token"
    samples = counted(len(measurement.samples_ns), "sample", "samples")
    p95_ms = marked(number(quantile_ms(measurement, 0.95)), is_provisional=is_tail_doubtful)
    lines = [
        f"{number(quantile_ms(measurement, 0.5))} {unit}, p95 {p95_ms}, {samples}, "
        f"{measurement.runtime}, "
        f"{counted(measurement.threads, 'thread', 'threads')}{run}",
        _waiting(measurement),
    ]
    if measurement.reference is not None:
        reference_ms = number(quantile_ms(measurement.reference, 0.5))
        lines.append(f"interleaved with {paired_reference(spec)}, which took {reference_ms} {unit}")
    if measurement.disturbance is not None:
        lost = percent(measurement.disturbance.steal + measurement.disturbance.beside)
        lines.append(f"other processes and the hypervisor took {lost} of the cores' time")
        if measurement.disturbance.waited_s >= 1:
            waited = duration(measurement.disturbance.waited_s)
            cooled_s = measurement.disturbance.cooled_s
            cooled = f", {duration(cooled_s)} of it to cool down" if cooled_s >= 1 else ""
            lines.append(f"waited {waited} for a quiet machine{cooled}")
        if measurement.disturbance.throttled:
            throttled = percent(measurement.disturbance.throttled)
            lines.append(
                f"{throttled} of the windows were left out, because the clock of the cores had "
                "fallen"
            )
        if not measurement.disturbance.reserved:
            lines.append("another measurement or training did not release the machine")
    return Text(f"{name:12} " + f"\n{'':13}".join(lines))


def _waiting(measurement: Measurement) -> str:
    share = measurement.disturbed_share
    if share is None:
        return "these times include waiting for a core, which was not recorded"
    if share == 0:
        return "no sample waited for a core"
    return f"{percent(share)} of the samples waited for a core; these times exclude the waiting"


def _curve(curve: tuple[CurvePoint, ...]) -> list[Text]:
    worst = max(point.loss for point in curve)
    return [
        Text(f"{point.tokens:>12,} tokens  {point.loss:.3f}  {bar(point.loss / worst)}")
        for point in curve
    ]
