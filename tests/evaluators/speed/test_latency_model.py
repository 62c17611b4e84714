"""Predictions for a simulated device, whose times are sums of parts with noise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluators.speed.latency_model import MIN_MEASUREMENTS, LatencyModel, Prediction, accuracy
from evaluators.speed.workload_parts import Deployment, parts_of
from search_space.architecture import Architecture
from search_space.space.encoding import RandomSuggester, draw
from search_space.space.space_definition import Space
from studies.spec.study_file import read_spec
from tests.search_space.strategies import CORNERS

DEPLOYMENT = Deployment(quantization="int4", prompt_length=512, context_depth=1024)
EDGE = read_spec("edge-350m").space
WITHOUT_LINEAR = replace(EDGE, mixers=("c", "a", "s", "-"))
NOISE = 0.03


@cache
def drawn(space: Space, count: int, seed: int) -> tuple[Architecture, ...]:
    suggester = RandomSuggester(np.random.default_rng(seed))
    return tuple(draw(space, suggester) for _ in range(count))


@dataclass
class Device:
    """A device whose times are a sum of parts, each with a coefficient, and noise."""

    seed: int
    score: str = "decode"
    noise: float = NOISE
    coefficients: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self._generator = np.random.default_rng(self.seed)
        typical = np.max([self.row(model) for model in drawn(EDGE, 50, seed=99)], axis=0)
        # Each part has a generator of its own, so that the coefficients do not change when a mixer
        # is added.
        uniform = [
            np.random.default_rng([self.seed, *part.encode()]).uniform()
            for part in self.parts(CORNERS["one layer"])
        ]
        self.coefficients = np.array(uniform) / np.maximum(typical, 1)

    def row(self, model: Architecture) -> NDArray[np.float64]:
        return np.array(list(self.parts(model).values()))

    def parts(self, model: Architecture):
        return parts_of(self.score, model, DEPLOYMENT)

    def true(self, model: Architecture) -> float:
        return float(self.row(model) @ self.coefficients)

    def measure(self, model: Architecture) -> float:
        return self.true(model) * float(np.exp(self.noise * self._generator.standard_normal()))

    def learned(self, models: Sequence[Architecture]) -> LatencyModel:
        parts = [self.parts(model) for model in models]
        return LatencyModel(parts, [self.measure(model) for model in models])


@pytest.mark.parametrize("score", ["decode", "prefill", "memory"])
def test_forty_measurements_suffice_for_accurate_predictions(score: str) -> None:
    device = Device(seed=1, score=score)
    model = device.learned(drawn(EDGE, 40, seed=2))
    assert model.accuracy.r2 > 0.95
    assert model.accuracy.kendall_tau > 0.85
    assert model.accuracy.within_tenth > 0.95
    unseen = drawn(EDGE, 100, seed=3)
    errors = [model.predict(device.parts(one)).value / device.true(one) - 1 for one in unseen]
    assert np.median(np.abs(errors)) < NOISE


@pytest.mark.parametrize("count", [MIN_MEASUREMENTS, 60, 200])
def test_intervals_have_their_nominal_coverage(count: int) -> None:
    covered = []
    models = drawn(EDGE, 300, seed=100)
    for seed in range(8):
        device = Device(seed=seed)
        order = np.random.default_rng(seed).permutation(300)
        model = device.learned([models[index] for index in order[100 : 100 + count]])
        for one in (models[index] for index in order[:100]):
            prediction = model.predict(device.parts(one))
            covered.append(prediction.low <= device.measure(one) <= prediction.high)
    assert 0.90 <= np.mean(covered) <= 0.99


def test_cross_validation_distinguishes_a_noisy_device_from_a_steady_one() -> None:
    models = drawn(EDGE, 60, seed=4)
    steady, noisy = (Device(seed=5, noise=noise).learned(models) for noise in (0.01, 0.2))
    assert steady.accuracy.r2 > noisy.accuracy.r2
    assert steady.accuracy.within_tenth > 0.95 > noisy.accuracy.within_tenth


def test_a_device_that_is_no_sum_of_parts_is_not_predictable() -> None:
    device = Device(seed=6)
    models = drawn(EDGE, 60, seed=7)
    times = np.random.default_rng(8).uniform(1, 3, len(models))
    model = LatencyModel([device.parts(one) for one in models], times)
    assert model.accuracy.r2 < 0.2
    assert model.accuracy.kendall_tau < 0.3


def test_a_device_with_constant_times_explains_no_variance() -> None:
    parts = [Device(seed=6).parts(one) for one in drawn(EDGE, 40, seed=7)]
    model = LatencyModel(parts, [5.0] * 40)
    assert model.accuracy.r2 == 0
    assert model.predict(parts[0]).value == pytest.approx(5.0)


def test_no_prediction_is_zero() -> None:
    """Time depends on the layers alone, and the predicted model has none."""
    known = [{"layers": float(count), "once": 1.0} for count in range(1, 41)]
    model = LatencyModel(known, [float(count) for count in range(1, 41)])
    prediction = model.predict({"layers": 0.0, "once": 1.0})
    assert 0 < prediction.value < 0.01
    assert prediction.low == 0


class TestExtrapolation:
    """Intervals are wider for models that differ from the measured ones."""

    def test_a_mixer_that_was_never_measured(self) -> None:
        device, learned = _without_linear()
        prediction = learned.predict(device.parts(CORNERS["every mixer"]))
        assert (prediction.low, prediction.high) == (0.0, math.inf)

    @pytest.mark.parametrize("name", CORNERS)
    def test_models_a_thousandth_of_the_size(self, name: str) -> None:
        device, learned = _without_linear()
        similar = drawn(WITHOUT_LINEAR, 60, seed=3)
        typical = np.median(
            [_relative_margin(learned.predict(device.parts(one))) for one in similar]
        )
        prediction = learned.predict(device.parts(CORNERS[name]))
        assert prediction.low <= device.true(CORNERS[name]) <= prediction.high
        assert _relative_margin(prediction) > 2 * typical


def _relative_margin(prediction: Prediction) -> float:
    return prediction.margin / prediction.value


@cache
def _without_linear() -> tuple[Device, LatencyModel]:
    device = Device(seed=9)
    return device, device.learned(drawn(WITHOUT_LINEAR, 60, seed=10))


def test_accuracy_equals_its_definition() -> None:
    """One of six pairs is in the wrong order, and one of four values is off by more than 10 %."""
    measured, predicted = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.05, 2.0, 4.0, 3.9])
    found = accuracy(measured, predicted)
    assert found.r2 == pytest.approx(1 - (0.05**2 + 1 + 0.1**2) / 5)
    assert found.kendall_tau == pytest.approx((5 - 1) / 6)
    assert (found.count, found.within_tenth) == (4, 0.75)
