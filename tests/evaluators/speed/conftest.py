"""Shortens the calibration, which would otherwise take most of the time of these tests."""

import pytest


@pytest.fixture(autouse=True)
def short_calibration(monkeypatch):
    monkeypatch.setattr("evaluators.speed.reference_calibration._CALIBRATION_SECONDS", 0.1)
