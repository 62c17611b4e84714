"""Fixtures: a simulated clock, and processes that share lock files."""

from collections.abc import Iterator

import pytest

from hardware import stability, turns
from tests.hardware.clocks import Clock
from tests.hardware.machines import Machine


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    for module in (stability, turns):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def machine(tmp_path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.stop()
