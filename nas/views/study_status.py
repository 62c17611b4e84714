"""The status of a study: as lines of text for people, and as a document for scripts."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from evaluators.calibration import Calibration
from nas.findings.time_wording import workload_legend, workload_on
from nas.findings.wording import counted, duration, run_times_text, trials_of, value_text
from nas.views.terminal import bar
from studies.analysis.followed_study import active_runs
from studies.analysis.run_times import RunTimes
from studies.analysis.summaries import Counts, Status
from studies.records import ConfirmationRun, Trial


def status_document(
    status: Status, runs: Sequence[ConfirmationRun], times: RunTimes | None = None
) -> dict[str, Any]:
    """Return what `nas status --json` prints.

    Args:
        status: The status of the study.
        runs: The remeasurements and retrainings of its confirmation.
        times: The times of the processes that are running the study; None if there are none.
    """
    return {
        "study": status.study,
        "requested": status.total,
        "trials": _by_state(status.counts) | {"duplicates": status.counts.duplicates},
        "running": [_running_document(trial) for trial in status.running],
        "seconds_so_far": None if times is None else times.so_far_s,
        "seconds_left": None if times is None else times.left_s,
        "rejected_draws": dict(status.rejections),
        "stage_seconds": dict(status.stage_seconds),
        "provisional": status.provisional,
        "calibrations": [
            _calibration_document(each, _devices(status, each)) for each in status.calibrations
        ],
        "failures": [
            {"trial": trial.name, "reason": trial.outcome.reason}
            for trial in status.failures
            if trial.outcome is not None
        ],
        "repeats": {
            "ended": sum(run.ended_at is not None for run in runs),
            "running": [_run_document(run) for run in active_runs(runs)],
        },
    }


def status_view(status: Status, times: RunTimes | None = None) -> Text:
    """Return what `nas status` prints about the search.

    Args:
        status: The status of the study.
        times: The times of the processes that are running the study; None if there are none.
    """
    return Text("\n").join(_lines(status, times))


def confirmation_status_line(runs: Sequence[ConfirmationRun]) -> str:
    """Return what `nas status` prints about the confirmation of a study.

    Args:
        runs: The remeasurements and retrainings; at least one.
    """
    ended = sum(run.ended_at is not None for run in runs)
    failed = sum(run.failure is not None for run in runs)
    count = counted(ended, "timing or training run has", "timings and training runs have")
    line = f"confirmation: {count} ended" + (f", of which {failed} failed" if failed else "")
    for run in active_runs(runs):
        line += f"; {run.key.stage} of trial {run.number} is running in {run.owner}"
    return line


def _running_document(trial: Trial) -> dict[str, Any]:
    assert trial.owner is not None
    progress = trial.progress
    return {
        "trial": trial.name,
        "stage": trial.stage,
        "done": None if progress is None else progress.done,
        "text": None if progress is None else progress.text,
        "host": trial.owner.host,
        "pid": trial.owner.pid,
    }


def _run_document(run: ConfirmationRun) -> dict[str, Any]:
    return {
        "trial": run.number,
        "stage": run.key.stage,
        "seed": run.key.seed,
        "token_budget": run.key.token_budget,
        "host": run.owner.host,
        "pid": run.owner.pid,
    }


def _lines(status: Status, times: RunTimes | None) -> Iterator[Text]:
    counts = status.counts
    share = min(1.0, counts.ended / status.total)
    yield Text.assemble((status.study, "bold"), f"  {trials_of(counts.ended, status.total)}  ")
    yield Text(f"{bar(share):░<32} {100 * share:.0f} %")
    yield Text(_counted(counts))
    if times is not None and (line := run_times_text(times.so_far_s, times.left_s)):
        yield Text(line)
    for trial in status.running:
        yield Text(_running(trial))
    for trial in status.failures:
        assert trial.outcome is not None
        yield Text(f"{trial.title} failed, {trial.outcome.failure}: {trial.outcome.reason}")
    for rule, draws in status.rejections.items():
        yield Text(f"rule {rule} rejected {draws} draws before anything was measured")
    if status.provisional:
        have = counted(status.provisional, "candidate has", "candidates have")
        yield Text(f"{have} a provisional time; `nas run` measures it again")
    for calibration in status.calibrations:
        line = _calibration_line(calibration, _devices(status, calibration))
        yield Text(line, style="dim")
    for legend in workload_legend(each.key.workload for each in status.calibrations):
        yield Text(legend, style="dim")
    spent = ", ".join(f"{stage} {duration(each)}" for stage, each in status.stage_seconds.items())
    if spent:
        yield Text(f"time spent by all trials together: {spent}", style="dim")


def _devices(status: Status, calibration: Calibration) -> Sequence[str]:
    return status.calibrated_devices.get(calibration.key, ())


def _calibration_document(calibration: Calibration, devices: Sequence[str]) -> dict[str, Any]:
    return {
        "device": calibration.key.device,
        "devices": list(devices),
        "reference": calibration.key.reference,
        "workload": calibration.key.workload,
        "milliseconds": calibration.milliseconds,
        "low_ms": calibration.interval.low,
        "high_ms": calibration.interval.high,
        "settled": calibration.is_settled,
        "provisional": not calibration.is_settled,
        "timings": len(calibration.timings),
        "latest_at": calibration.timings[-1].at,
    }


def _calibration_line(calibration: Calibration, devices: Sequence[str]) -> str:
    interval = calibration.interval
    known = value_text(calibration.milliseconds, interval.low, interval.high)
    times = counted(len(calibration.timings), "timing", "timings")
    age = duration(max(0.0, time.time() - calibration.timings[-1].at))
    doubt = "" if calibration.is_settled else "; not certain enough to enforce limits in ms"
    place = workload_on(calibration.key.workload, devices)
    return f"reference model at {place}: {known} ms, from {times}, the latest {age} ago{doubt}"


def _counted(counts: Counts) -> str:
    named = _by_state(counts)
    text = ", ".join(f"{count} {state}" for state, count in named.items() if count)
    duplicates = f"; {counts.duplicates} of them duplicates" if counts.duplicates else ""
    return f"{text or 'no candidate yet'}{duplicates}"


def _by_state(counts: Counts) -> dict[str, int]:
    return {
        "complete": counts.complete,
        "infeasible": counts.infeasible,
        "stopped": counts.stopped,
        "failed": counts.failed,
        "running": counts.running,
        "interrupted": counts.interrupted,
    }


def _running(trial: Trial) -> str:
    assert trial.owner is not None
    where = f"{trial.title} on {trial.owner}"
    if trial.progress is None:
        return where
    done = f"{100 * trial.progress.done:.0f} %"
    activity = f", {trial.progress.text}" if trial.progress.text else ""
    return f"{where}: {trial.stage}, {done}{activity}"
