"""A short calibration, which takes most of the time of these tests otherwise."""

import pytest


@pytest.fixture(autouse=True)
def short_calibration(monkeypatch):
    monkeypatch.setattr("evaluators.speed.reference_calibration._CALIBRATION_SECONDS", 0.1)
