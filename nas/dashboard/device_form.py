"""The schema of the parts of a study's document about the device; see `nas.dashboard.form`."""

from typing import TypedDict


class Drift(TypedDict):
    """The individual times of the reference model that is timed interleaved with the trials.

    For a long study, entries are thinned out evenly.

    Attributes:
        workload: The workload that was timed, such as "pp512", or "pp512 on phone" on a device.
        trial: The ids of the trials that the reference model was interleaved with.
        at: When each timing was made, in seconds since 1970 (UTC).
        ms: The median time of the reference model, in milliseconds: for a whole prompt in a prefill
            workload, for one token in a decode workload.
    """

    workload: str
    trial: list[int]
    at: list[float]
    ms: list[float]


class CalibrationDocument(TypedDict):
    """The time of the reference model at one workload, which times in milliseconds are based on.

    Attributes:
        workload: The workload, such as "pp512", or "pp512 on phone" on a device.
        ms: The time per prompt or per token, in milliseconds, estimated from all its timings.
        low: The lower bound of the 95 % confidence interval, in milliseconds.
        high: The upper bound.
        settled: Whether it is certain enough for limits in milliseconds to be enforced.
        timings: The number of timings behind it.
        latest_at: When the latest of them was made, in seconds since 1970 (UTC).
    """

    workload: str
    ms: float
    low: float
    high: float
    settled: bool
    timings: int
    latest_at: float


class EnvironmentSeen(TypedDict):
    """A machine on which trials were timed.

    Attributes:
        host: The host name.
        system: The operating system.
        cpu: The model of the processor.
        cores: The number of cores.
        memory_bytes: The size of the memory, in bytes.
        runtime: The version of the runtime that executed the models.
        governor: The frequency governor of the processor; null if unknown.
        trials: The number of times that a trial was timed on this machine; once per device.
    """

    host: str
    system: str
    cpu: str
    cores: int
    memory_bytes: int
    runtime: str
    governor: str | None
    trials: int
