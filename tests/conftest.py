"""Settings for all tests."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# Models are tiny here, and there may be as many test processes as cores: more threads would only
# wait for each other. torch and numpy read this variable when they are imported, here and in the
# processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell may start background jobs with Ctrl-C disabled, and their child processes inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The time of an example depends on the load of the machine, so it must not fail a test.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time models in windows of 2 ms instead of 100 ms, which is less precise."""
    monkeypatch.setattr("hardware.turns._WINDOW_NS", 2e6)
