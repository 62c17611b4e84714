"""Measurements with given samples, as the tests of estimates need them."""

from collections.abc import Sequence
from typing import Any

from hardware.measurement import Measurement
from tests.hardware.clocks import DECODE, ENVIRONMENT


def measured(
    windows: Sequence[Sequence[float]], reference: Measurement | None = None, **fields: Any
) -> Measurement:
    """Return a measurement with these windows of samples, in ns."""
    return Measurement(
        **{
            "workload": DECODE,
            "runtime": "test",
            "threads": 1,
            "cores": (),
            "samples_ns": tuple(round(sample) for window in windows for sample in window),
            "warmup_ns": (),
            "load_ns": 1,
            "peak_memory_bytes": 1,
            "environment": ENVIRONMENT,
            "window": len(windows[0]),
            "reference": reference,
        }
        | fields
    )
