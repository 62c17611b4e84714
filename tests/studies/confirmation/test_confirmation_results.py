"""Tests of the results of a confirmation that are small enough to check by hand."""

from dataclasses import replace

import pytest

from studies.analysis.study_front import Axis
from studies.confirmation.confirmation_results import (
    evaluate_confirmation,
    read_confirmation,
    with_models,
)
from tests.studies.confirmation.confirmed_study import BUDGET, ConfirmedStudy


def test_without_runs_there_is_no_confirmation(written: ConfirmedStudy) -> None:
    written.trial(1.0, 9.0)
    assert read_confirmation(written.store, written.front) is None


def test_every_run_is_evaluated(written: ConfirmedStudy) -> None:
    losses, speeds = [1.00, 1.20, 1.10, 1.30], [9.0, 5.0, 9.5, 6.0]
    trials = [written.trial(*pair) for pair in zip(losses, speeds, strict=True)]
    for trial, loss in zip(trials, losses, strict=True):
        written.training(trial, 2, BUDGET, loss + 0.01)
        written.training(trial, 3, BUDGET, loss + 0.02 + 0.002 * (trial.number % 2))
        written.training(trial, 1, 4 * BUDGET, loss / 2)
        written.timing(trial, speeds[trial.number] + 1)
    found = read_confirmation(written.store, written.front)
    assert found is not None
    assert [each.trial.number for each in found.candidates] == [0, 2, 1, 3]
    assert [each.on_front for each in found.candidates] == [True, False, True, False]
    assert [each.long for each in found.candidates] == [0.5, 0.55, 0.6, 0.65]
    assert found.candidates[0].fresh == {2: 1.01, 3: 1.02}
    assert {name: score.value for name, score in found.candidates[0].remeasured.items()} == {
        "decode": 10.0
    }
    assert found.noise is not None
    assert found.noise.sd == pytest.approx(0.002 / 2 * (4 / 3) ** 0.5 / 2**0.5)
    assert found.by_short_loss is not None
    assert found.by_short_loss.value == 1
    assert found.by_parameters is not None
    # Models grow with their number; their losses after long training order them 0, 2, 1, 3.
    assert found.by_parameters.value == pytest.approx(-0.8)
    assert found.by_non_embedding == found.by_parameters
    shares = [each.probability for each in found.candidates]
    assert shares[0] == 1
    assert shares[2] == 1
    assert shares[3] == 0
    assert found.probability(trials[0]) == 1
    assert (found.short_tokens, found.long_tokens) == (BUDGET, 4 * BUDGET)


def test_a_candidate_without_a_long_loss_has_no_probability(written: ConfirmedStudy) -> None:
    trials = [written.trial(1.0 + n / 10, 9.0 - n) for n in range(4)]
    for trial in trials:
        written.training(trial, 2, BUDGET, 1.0)
        written.training(trial, 3, BUDGET, 1.0)
    for trial in trials[1:]:
        written.training(trial, 1, 4 * BUDGET, 1.0)
    written.failure(trials[0], 4 * BUDGET)
    found = read_confirmation(written.store, written.front)
    assert found is not None
    last = found.candidates[-1]
    assert (last.trial.number, last.long, last.probability) == (0, None, None)
    assert last.failures == ("training with seed 7 on 160,000 tokens: diverged, loss nan",)
    # All losses are equal and without noise: the fastest candidate is on the front, and there is no
    # rank correlation.
    assert found.by_short_loss is None
    assert found.noise is not None
    assert found.noise.sd == 0
    assert [each.probability for each in found.candidates[:3]] == [0, 0, 1]


def test_the_longer_budget_counts_once_its_ranks_can_be_compared(
    written: ConfirmedStudy,
) -> None:
    trials = [written.trial(1.0 + n / 10, 9.0 - n) for n in range(3)]
    for trial in trials:
        written.training(trial, 1, 4 * BUDGET, 1.0 + trial.number)
    for trial in trials[:2]:
        written.training(trial, 1, 8 * BUDGET, 0.5)
    found = read_confirmation(written.store, written.front)
    assert found is not None
    assert found.long_tokens == 4 * BUDGET
    written.training(trials[2], 1, 8 * BUDGET, 0.5)
    found = read_confirmation(written.store, written.front)
    assert found is not None
    assert found.long_tokens == 8 * BUDGET
    assert {each.long for each in found.candidates} == {0.5}


def test_losses_of_a_shared_network_are_marked_as_inherited(written: ConfirmedStudy) -> None:
    trials = [written.trial(1.0 + n / 10, 9.0 - n) for n in range(3)]
    for trial in trials:
        for seed in (2, 3):
            written.training(trial, seed, BUDGET, 1.0 + trial.number + seed * trial.number / 100)
        written.training(trial, 1, 4 * BUDGET, 1.0 + trial.number)
    front = written.front
    found = read_confirmation(written.store, front)
    assert found is not None
    assert found.ceiling is not None
    assert (found.inherited, found.not_retrained) == (False, ())
    proxy = front.spec.proxy.model_copy(update={"method": "shared"})
    shared = replace(front, spec=front.spec.model_copy(update={"proxy": proxy}))
    found = read_confirmation(written.store, shared)
    assert found is not None
    # The seed noise of training runs is not that of inherited losses.
    assert (found.inherited, found.ceiling) == (True, None)
    assert found.by_short_loss is not None


def test_a_single_timed_candidate_gives_no_statistics(written: ConfirmedStudy) -> None:
    trials = [written.trial(1.0 + n / 10, 9.0 - n) for n in range(3)]
    written.timing(trials[0], 9.0)
    found = read_confirmation(written.store, written.front)
    assert found is not None
    assert [each.trial.number for each in found.candidates] == [0]
    assert (found.noise, found.significant_gap, found.ceiling, found.by_parameters) == (None,) * 4
    assert found.candidates[0].probability is None
    assert evaluate_confirmation(written.front, (), (), {}).candidates == ()


@pytest.mark.parametrize("name", ["task", "lookup_loss", "late_loss"])
def test_further_losses_come_from_the_long_trainings_with_seed_noise(
    written: ConfirmedStudy, name: str
) -> None:
    """The last candidate is worst except in one loss, where its lead is within the seed noise."""
    trials = [written.trial(1.0 + n / 10, 9.0 + n) for n in range(3)]
    for trial in trials:
        for seed, sign in ((2, 1), (3, -1)):
            noise = 0.1 * sign * (-1) ** trial.number
            written.training(trial, seed, BUDGET, 1.0 + trial.number, **{name: 2.0 + noise})
        long = 1.0 - 0.01 * trial.number
        written.training(trial, 1, 4 * BUDGET, 1.0 + trial.number, **{name: long})
    front = written.front
    asked = replace(front, axes=(*front.axes, Axis(name=name, unit="bits/byte", max=None)))
    found = read_confirmation(written.store, asked)
    assert found is not None
    assert found.not_retrained == ()
    last = found.candidates[2]
    score = last.remeasured[name]
    assert score.value == 0.98
    # There are 6 scores of 1.9 or 2.1, from which 4 effects are removed.
    sd = (6 * 0.1**2 * (8 / 9) / 2) ** 0.5
    assert score.high == pytest.approx(0.98 + 1.96 * sd)
    assert last.probability is not None
    assert 0.2 < last.probability < 0.6


def test_models_are_added_to_the_results_of_a_confirmation(written: ConfirmedStudy) -> None:
    for n in range(20):
        trial = written.trial(1.0 + n, 40.0 - n)
        written.training(trial, 1, 4 * BUDGET, (1.0 + n) / 2)
    found = read_confirmation(written.store, written.front)
    assert found is not None
    assert found.long_model is None
    assert found.unexpected is None
    added = with_models(found, written.store, written.front, None)
    assert added.long_model is not None
    assert added.long_model.by_short_loss.value == 1.0
    assert added.long_model.by_short_loss.count == 20
    assert replace(added, long_model=None) == found
