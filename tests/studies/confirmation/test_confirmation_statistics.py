"""Tests of confirmation statistics against scipy, closed forms and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from evaluators.calibration import CalibrationKey
from evaluators.evaluator import CalibratedRatio, Score
from studies.confirmation.confirmation_statistics import (
    CandidateScores,
    Noise,
    front_probabilities,
    noise_ceiling,
    rank_correlation,
    seed_noise,
    significant_gap,
)

_NOISE = Noise(sd=0.01, low=0.008, high=0.013, degrees=10_000)


def _candidate(loss: float, ms: float, margin: float | None = None) -> CandidateScores:
    low, high = (None, None) if margin is None else (ms - margin, ms + margin)
    return CandidateScores(
        loss=loss, others=(Score(name="decode", value=ms, unit="ms", low=low, high=high),)
    )


def _timed(loss: float, ms: float, ratio_error: float, reference_error: float) -> CandidateScores:
    """Return a candidate whose time is 2 ms times its ratio, with errors on a log scale."""
    error = math.hypot(ratio_error, reference_error)
    ratio = ms / 2
    measured = CalibratedRatio(
        calibration=CalibrationKey(device="board", reference="ab", workload="tg64"),
        ratio=ratio,
        low=ratio * math.exp(-1.96 * ratio_error),
        high=ratio * math.exp(1.96 * ratio_error),
    )
    low, high = ms * math.exp(-1.96 * error), ms * math.exp(1.96 * error)
    score = Score(name="decode", value=ms, unit="ms", low=low, high=high, measured=measured)
    return CandidateScores(loss=loss, others=(score,))


class TestSeedNoise:
    def test_for_two_seeds_it_follows_from_the_differences(self) -> None:
        one, other = np.random.default_rng(0).normal(size=(2, 6))
        noise = seed_noise([{3: a, 9: b} for a, b in zip(one, other, strict=True)])
        assert noise is not None
        assert noise.sd == pytest.approx(np.std(one - other, ddof=1) / math.sqrt(2))
        assert noise.degrees == 5
        assert noise.low == pytest.approx(noise.sd * math.sqrt(5 / stats.chi2(5).ppf(0.975)))
        assert noise.high == pytest.approx(noise.sd * math.sqrt(5 / stats.chi2(5).ppf(0.025)))

    def test_the_common_effect_of_a_seed_is_not_noise(self) -> None:
        losses = [{1: 1.0, 2: 1.5, 3: 0.5}, {1: 2.0, 2: 2.5, 3: 1.5}]
        noise = seed_noise(losses)
        assert noise is not None
        assert noise.sd == pytest.approx(0, abs=1e-12)
        assert noise.degrees == 2

    def test_missing_trainings_are_allowed(self) -> None:
        generator = np.random.default_rng(1)
        losses = [dict(enumerate(row)) for row in generator.normal(0, 0.1, (60, 3))]
        for each in losses[::2]:
            del each[1]
        noise = seed_noise(losses)
        assert noise is not None
        assert noise.degrees == 150 - 60 - 2
        assert noise.low < 0.1 < noise.high

    @pytest.mark.parametrize("losses", [[], [{}], [{1: 1.0, 2: 2.0}], [{1: 1.0}, {1: 2.0}]])
    def test_too_few_trainings_give_none(self, losses: list[dict[int, float]]) -> None:
        assert seed_noise(losses) is None

    def test_its_interval_covers(self) -> None:
        generator = np.random.default_rng(2)
        hits = 0
        for rows in generator.normal(0, 0.1, (200, 5, 2)):
            noise = seed_noise([dict(enumerate(row)) for row in rows])
            assert noise is not None
            hits += noise.low < 0.1 < noise.high
        assert hits / 200 == pytest.approx(0.95, abs=0.04)


class TestRankCorrelation:
    @pytest.mark.parametrize("levels", [3, 1_000])
    def test_it_equals_spearman_with_and_without_ties(self, levels: int) -> None:
        one, other = np.random.default_rng(0).integers(0, levels, (2, 12)).astype(float)
        found = rank_correlation(list(one), list(other))
        assert found is not None
        assert found.value == pytest.approx(stats.spearmanr(one, other).statistic)
        assert found.low < found.value < found.high

    def test_a_perfect_order_of_few_candidates_has_a_wide_interval(self) -> None:
        lows = []
        for count in (3, 5, 8, 20):
            found = rank_correlation(range(count), range(count))
            assert found is not None
            assert (found.value, round(found.high, 3)) == (1, 1)
            lows.append(found.low)
        assert lows == sorted(lows)
        assert lows[0] < 0 < lows[1] < 0.85 < lows[2] < lows[3] < 1

    def test_reversing_one_order_negates_it(self) -> None:
        one, other = [1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 3.0, 2.0, 5.0, 4.0]
        up, down = rank_correlation(one, other), rank_correlation(one, [-each for each in other])
        assert up is not None
        assert down is not None
        assert down.value == pytest.approx(-up.value)
        assert (down.low, down.high) == (
            pytest.approx(-up.high, abs=0.03),
            pytest.approx(-up.low, abs=0.03),
        )

    @pytest.mark.parametrize(
        ("one", "other"),
        [([], []), ([1.0], [2.0]), ([1.0, 2.0], [1.0, 2.0]), ([1.0] * 4, [1.0, 2.0, 3.0, 4.0])],
    )
    def test_few_or_equal_values_have_none(self, one: list[float], other: list[float]) -> None:
        assert rank_correlation(one, other) is None
        assert rank_correlation(other, one) is None

    def test_its_interval_covers(self) -> None:
        generator, correlation = np.random.default_rng(3), 0.8
        truth = 6 / math.pi * math.asin(correlation / 2)
        hits = 0
        for one, other in generator.normal(size=(40, 2, 8)):
            related = correlation * one + math.sqrt(1 - correlation**2) * other
            found = rank_correlation(list(one), list(related))
            assert found is not None
            hits += found.low <= truth <= found.high
        assert hits >= 35


class TestNoiseCeiling:
    @pytest.mark.parametrize("crowd", [0, 13])
    def test_it_is_the_mean_correlation_of_two_noisy_measurements_of_one_order(
        self, crowd: int
    ) -> None:
        generator = np.random.default_rng(4)
        truth = generator.normal(0, 0.03, (200, 20))
        truth[:, :crowd] = 0.4 * truth[:, :crowd] - 0.08
        short, long = truth + generator.normal(0, 0.006, (2, 200, 20))
        found = [stats.spearmanr(*pair).statistic for pair in zip(short, long, strict=True)]
        ceilings = [
            noise_ceiling(*map(list, pair), 0.006, 0.006) for pair in zip(short, long, strict=True)
        ]
        assert np.mean([each for each in ceilings if each is not None]) == pytest.approx(
            np.mean(found), abs=0.02
        )

    def test_the_noise_of_the_long_losses_lowers_it(self) -> None:
        losses = list(np.linspace(1.0, 1.2, 10))
        quiet, loud = (noise_ceiling(losses, losses, 1e-6, sd) for sd in (1e-6, 0.05))
        assert quiet == pytest.approx(1.0)
        assert loud is not None
        assert loud < 0.95

    def test_two_candidates_or_pure_noise_have_none(self) -> None:
        assert noise_ceiling([1.0, 1.001, 1.002], [1.0, 2.0, 3.0], 0.01, 0.01) is None
        assert noise_ceiling([1.0, 2.0], [1.0, 2.0], 0.01, 0.01) is None


def test_equal_candidates_appear_to_differ_once_in_twenty() -> None:
    generator = np.random.default_rng(5)
    different = 0
    for _ in range(2_000):
        noise = seed_noise([dict(enumerate(row)) for row in generator.normal(0, 0.1, (4, 2))])
        assert noise is not None
        one, other = generator.normal(0, 0.1, 2)
        different += abs(one - other) > significant_gap(noise)
    assert different / 2_000 == pytest.approx(0.05, abs=0.015)


class TestFrontProbabilities:
    def test_two_equal_candidates_have_a_probability_of_one_half(self) -> None:
        probabilities = front_probabilities(
            [_candidate(1.0, 5.0), _candidate(1.0, 5.0)], _NOISE, {}
        )
        assert probabilities == (pytest.approx(0.5, abs=0.015), pytest.approx(0.5, abs=0.015))

    def test_a_difference_in_loss_is_relative_to_the_noise(self) -> None:
        probabilities = front_probabilities(
            [_candidate(1.0, 5.0), _candidate(1.01, 5.0)], _NOISE, {}
        )
        expected = stats.norm.cdf(1 / math.sqrt(2))
        assert probabilities == (
            pytest.approx(expected, abs=0.015),
            pytest.approx(1 - expected, abs=0.015),
        )

    def test_uncertain_noise_gives_heavy_tails(self) -> None:
        noise = Noise(sd=0.01, low=0.001, high=1.0, degrees=2)
        _, second = front_probabilities([_candidate(1.0, 5.0), _candidate(1.06, 5.0)], noise, {})
        assert second == pytest.approx(stats.t(2).sf(6 / math.sqrt(2)), abs=0.01)

    def test_a_speed_is_drawn_within_its_interval(self) -> None:
        """The second is dominated, unless it is in fact the faster one."""
        candidates = [_candidate(1.0, 5.0, margin=0.5), _candidate(2.0, 5.2, margin=0.5)]
        first, second = front_probabilities(candidates, _NOISE, {})
        assert first == 1
        sd = 0.5 / 1.96 * math.sqrt(2)
        assert second == pytest.approx(stats.norm.sf(0.2 / sd), abs=0.015)

    def test_the_error_of_the_reference_does_not_change_the_order_of_times(self) -> None:
        """The second is dominated, although the intervals of both times overlap widely."""
        candidates = [_timed(1.0, 10.0, 0.005, 0.1), _timed(2.0, 10.3, 0.005, 0.1)]
        first, second = front_probabilities(candidates, _NOISE, {})
        assert first == 1
        sd = 0.005 * math.sqrt(10.0**2 + 10.3**2)
        assert second == pytest.approx(stats.norm.sf(0.3 / sd), abs=0.002)

    def test_the_error_of_the_reference_counts_for_a_limit(self) -> None:
        """Both times exceed the limit in the same draws, in which neither is on the front."""
        candidates = [_timed(1.0, 10.0, 0.0001, 0.1), _timed(0.5, 10.0, 0.0001, 0.1)]
        _, second = front_probabilities(candidates, _NOISE, {"decode": 11.0})
        assert second == pytest.approx(stats.norm.cdf(math.log(1.1) / 0.1), abs=0.015)

    @pytest.mark.parametrize(("provisional", "is_exact"), [(True, False), (False, True)])
    def test_a_provisional_score_without_an_interval_is_not_exact(
        self, provisional: bool, is_exact: bool
    ) -> None:
        score = Score(name="decode", value=5.5, unit="ms", provisional=provisional)
        unsure = CandidateScores(loss=2.0, others=(score,))
        _, second = front_probabilities([_candidate(1.0, 5.0), unsure], _NOISE, {})
        assert (second == 0) == is_exact
        if not is_exact:
            assert second == pytest.approx(stats.norm.cdf(-0.5 / (0.5 * 5.5)), abs=0.015)

    def test_a_candidate_above_a_limit_is_not_on_the_front_and_dominates_no_other(self) -> None:
        candidates = [_candidate(1.0, 9.0), _candidate(2.0, 9.5), _candidate(2.0, 4.0)]
        assert front_probabilities(candidates, _NOISE, {"decode": 9.2}) == (1, 0, 1)

    def test_without_noise_the_front_is_certain(self) -> None:
        none = Noise(sd=0.0, low=0.0, high=0.0, degrees=3)
        candidates = [_candidate(1.0, 5.0), _candidate(1.0, 5.0), _candidate(1.1, 5.0)]
        assert front_probabilities(candidates, none, {}) == (1, 1, 0)
        assert front_probabilities(candidates[:1], _NOISE, {}) == (1,)
