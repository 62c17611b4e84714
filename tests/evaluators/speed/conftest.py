"""What spares the tests of speed most of their time."""

import pytest


@pytest.fixture(autouse=True)
def short_calibration(monkeypatch):
    monkeypatch.setattr("evaluators.speed.reference_calibration._CALIBRATION_SECONDS", 0.1)
