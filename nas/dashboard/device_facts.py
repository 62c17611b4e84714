"""The parts of a study's document about the device: reference times, calibrations, machines."""

from collections import Counter
from collections.abc import Iterator, Sequence

from evaluators.calibration import Calibration
from nas.dashboard.columns import exact_short, seconds_since_1970
from nas.dashboard.device_form import CalibrationDocument, Drift, EnvironmentSeen
from nas.findings.time_wording import workload_on
from studies.analysis.followed_study import FollowedStudy

_MAX_DRIFT_POINTS = 400


def drift(followed: FollowedStudy) -> Iterator[Drift]:
    """Yield the reference times, thinned to as many points as a chart can show separately."""
    times = followed.reference_times
    for key in dict.fromkeys((time.workload, time.device) for time in times):
        points = [time for time in times if (time.workload, time.device) == key]
        workload, device = key
        points = points[:: -(-len(points) // _MAX_DRIFT_POINTS)]
        yield {
            "workload": workload_on(workload, [] if device is None else [device]),
            "trial": [time.trial for time in points],
            "at": [seconds_since_1970(time.at) for time in points],
            "ms": [exact_short(time.median_ms) for time in points],
        }


def calibration_document(calibration: Calibration, devices: Sequence[str]) -> CalibrationDocument:
    """Return what is known about the reference model's time at one workload.

    Args:
        calibration: The estimate of the time.
        devices: The names of the devices that it applies to; none for the machine of the study.
    """
    return {
        "workload": workload_on(calibration.key.workload, devices),
        "ms": exact_short(calibration.milliseconds),
        "low": exact_short(calibration.interval.low),
        "high": exact_short(calibration.interval.high),
        "settled": calibration.is_settled,
        "timings": len(calibration.timings),
        "latest_at": round(calibration.timings[-1].at, 3),
    }


def environments(followed: FollowedStudy) -> Iterator[EnvironmentSeen]:
    """Yield the machines by their fixed properties; load, clock and temperature vary."""
    seen: Counter[tuple[str, str, str, int, int, str, str | None]] = Counter()
    for each in (
        environment
        for evidence in followed.evidence.values()
        for environment in (evidence.environment, *evidence.more_environments)
    ):
        machine = (each.host, each.system, each.cpu, each.cores, each.memory_bytes)
        seen[*machine, each.runtime_version, each.governor] += 1
    for (host, system, cpu, cores, memory, runtime, governor), count in seen.most_common():
        yield {
            "host": host,
            "system": system,
            "cpu": cpu,
            "cores": cores,
            "memory_bytes": memory,
            "runtime": runtime,
            "governor": governor,
            "trials": count,
        }
