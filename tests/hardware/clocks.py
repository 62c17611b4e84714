"""A clock that advances only while a model is timed, and the loading data of a test model."""

from dataclasses import dataclass

from hardware.environment import read_environment
from hardware.measurement import parse_workload
from hardware.runner import Loading

DECODE, PREFILL = parse_workload("tg64@1024"), parse_workload("pp512")
ENVIRONMENT = read_environment("test")
STARTED_AT = 1_700_000_000.0  # seconds since 1970
LOADING = Loading(
    runtime="test",
    threads=1,
    cores=(1,),
    load_ns=7,
    model_bytes=6,
    empty_memory_bytes=5,
    loaded_memory_bytes=4,
)


@dataclass
class Clock:
    """A clock that advances only while a model is timed."""

    now_ns: float = 0.0

    def perf_counter_ns(self) -> int:
        return round(self.now_ns)

    def monotonic(self) -> float:
        return self.now_ns / 1e9

    def time(self) -> float:
        return STARTED_AT + self.now_ns / 1e9


class SleepingClock(Clock):
    """A clock that also advances while the program sleeps."""

    def sleep(self, seconds: float) -> None:
        self.now_ns += 1e9 * seconds
