"""Tests of the model of long losses against refits without each candidate, and against formulas."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from search_space.architecture import Architecture
from search_space.space.layout_features import layout_features
from studies.analysis.pareto_front import non_dominated
from studies.confirmation.long_loss_model import FEWEST_LONG, long_loss_model
from studies.samplers.outcome_model import OutcomeModel
from tests.studies.analysis.layout_losses import layout_loss, random_layouts
from tests.studies.confirmation.confirmed_study import ConfirmedStudy

_COUNT = 40


def _written_layouts(
    written: ConfirmedStudy, count: int = _COUNT
) -> tuple[list[Architecture], np.ndarray]:
    """Write candidates whose short losses are noisier than what the layouts contribute to them."""
    layouts = list(random_layouts(count).values())
    layouts.sort(key=layout_loss)
    layouts = [layouts[7 * (n + 5) % count] for n in range(count)]  # the best one is late
    generator = np.random.default_rng(5)
    short = np.array([layout_loss(each) for each in layouts]) / 2
    short += 0.08 * generator.standard_normal(count)
    for n, (loss, architecture) in enumerate(zip(short, layouts, strict=True)):
        written.trial(float(loss), 1.0 + n % 5, architecture)
    return layouts, short


def _long_losses(layouts: list[Architecture], short: np.ndarray) -> np.ndarray:
    later = np.array([layout_loss(each) for each in layouts])
    return 0.1 * short + later + 0.002 * np.random.default_rng(6).standard_normal(len(layouts))


def test_predictions_are_compared_with_the_short_losses_and_lead_to_candidates(
    written: ConfirmedStudy,
) -> None:
    layouts, short = _written_layouts(written)
    long = _long_losses(layouts, short)
    trained = range(28)
    found = long_loss_model(
        written.front, {n: float(long[n]) for n in trained}, written.store.architecture
    )
    assert found is not None
    assert found.by_short_loss.value == pytest.approx(spearmanr(short[:28], long[:28]).statistic)
    assert found.by_short_loss.count == found.by_model.count == 28
    refitted = spearmanr(_refitted(layouts[:28], short[:28], long[:28]), long[:28]).statistic
    assert found.by_model.value == pytest.approx(refitted, abs=0.05)
    assert found.by_model.low < found.by_model.value < found.by_model.high
    assert found.is_better

    assert 1 <= len(found.to_confirm) <= 5
    decode = [1.0 + n % 5 for n in range(_COUNT)]
    best = non_dominated(list(zip(long, decode, strict=True)))
    named = [each.number for each in found.to_confirm]
    assert set(named) <= set(range(28, _COUNT))
    assert int(np.argmin(long)) in named
    assert len(set(named) & set(best)) >= len(named) / 2
    for each in found.to_confirm:
        assert each.loss == pytest.approx(long[each.number], abs=0.05)

    def gain(number: int) -> float:
        rivals = [long[n] for n in trained if decode[n] <= decode[number]]
        predicted = {each.number: each.loss for each in found.to_confirm}
        return min(rivals) - predicted[number]

    assert named == sorted(named, key=gain, reverse=True)


def _refitted(layouts: list[Architecture], short: np.ndarray, long: np.ndarray) -> list[float]:
    """Predict each long loss with a line and a model that are fitted to all others."""
    features = np.array([layout_features(each) for each in layouts])
    predicted = []
    for index in range(len(long)):
        others = np.arange(len(long)) != index
        line = np.polynomial.Polynomial.fit(short[others], long[others], 1)
        rest = long[others] - line(short[others])
        model = OutcomeModel(features[others], rest, np.zeros(len(rest)), np.random.default_rng(0))
        mean, _ = model.predict(features[[index]])
        predicted.append(float(line(short[index]) + mean[0]))
    return predicted


def test_a_model_that_does_not_rank_better_names_no_candidate(written: ConfirmedStudy) -> None:
    """No model ranks better than short losses in the perfect order."""
    _, short = _written_layouts(written)
    long = {n: float(np.exp(short[n])) for n in range(25)}
    found = long_loss_model(written.front, long, written.store.architecture)
    assert found is not None
    assert found.by_short_loss.value == 1.0
    assert not found.is_better
    assert found.to_confirm == ()


def test_few_and_equal_long_losses_are_not_compared(written: ConfirmedStudy) -> None:
    _, short = _written_layouts(written, FEWEST_LONG)
    long = {n: float(loss) for n, loss in enumerate(short)}
    read = written.store.architecture
    assert long_loss_model(written.front, long, read) is not None
    assert long_loss_model(written.front, dict.fromkeys(long, 1.0), read) is None
    # A candidate that is not complete any more does not count.
    del long[3]
    assert long_loss_model(written.front, long | {99: 1.0}, read) is None
