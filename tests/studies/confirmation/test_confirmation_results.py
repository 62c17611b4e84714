"""Tests of the selection of candidates, and of results that are small enough to check by hand."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from evaluators.evaluator import Evaluation, Score
from search_space.architecture import Architecture, Layer, ShortConv
from studies.analysis import study_front
from studies.analysis.study_front import Axis
from studies.confirmation.confirmation_results import (
    candidates_to_confirm,
    evaluate_confirmation,
    read_confirmation,
)
from studies.records import ConfirmationKey, Outcome, StageRun, Trial
from studies.spec.study_spec import to_json
from studies.spec.study_tables import Objective
from studies.storage.store import Store
from tests.studies.fakes import small_spec

_BUDGET = 40_000


@dataclass
class Written:
    """A study of complete trials, with confirmation runs that a test chooses."""

    store: Store
    count: int = 0

    def trial(self, loss: float, decode: float) -> Trial:
        trial = self.store.claim("small", total=1_000)
        assert trial is not None
        self.count += 1
        begun = self.store.begin(trial, _architecture(self.count))
        self._keep("all", self.count, loss=loss, decode=decode)
        self.store.leave(
            begun, StageRun(stage="all", fingerprint="all", seconds=1.0), finished=True
        )
        return self.store.end(begun, Outcome(state="complete"))

    def training(self, trial: Trial, seed: int, tokens: int, loss: float, **others: float) -> None:
        fingerprint = f"training {seed} {tokens} {loss}"
        self._confirm(trial, fingerprint, "training", seed, tokens, loss=loss, **others)

    def timing(self, trial: Trial, decode: float) -> None:
        self._confirm(trial, "again", "latency", None, None, decode=decode, prefill=1.0)

    def failure(self, trial: Trial, tokens: int) -> None:
        job = ConfirmationKey(
            trial=trial.id, stage="training", fingerprint="f", seed=7, token_budget=tokens
        )
        assert self.store.claim_confirmation(job)
        self.store.end_confirmation(job, seconds=1.0, failure="diverged", reason="loss nan")

    @property
    def front(self) -> study_front.Front:
        return study_front.front(self.store, "small")

    def _confirm(
        self,
        trial: Trial,
        fingerprint: str,
        stage: str,
        seed: int | None,
        tokens: int | None,
        **scores: float,
    ) -> None:
        job = ConfirmationKey(
            trial=trial.id, stage=stage, fingerprint=fingerprint, seed=seed, token_budget=tokens
        )
        assert self.store.claim_confirmation(job)
        self._keep(fingerprint, trial.number + 1, **scores)
        self.store.end_confirmation(job, seconds=1.0)

    def _keep(self, fingerprint: str, number: int, **values: float) -> None:
        scores = tuple(
            Score(name=name, value=value, unit="", low=value - 0.1, high=value + 0.1)
            if name == "decode"
            else Score(name=name, value=value, unit="")
            for name, value in values.items()
        )
        evaluation = Evaluation(scores=scores, seconds=1.0)
        self.store.save_evaluation(fingerprint, _architecture(number), evaluation)


def _architecture(number: int) -> Architecture:
    """Return an architecture whose number of parameters grows with the number."""
    layer = Layer(mixer=ShortConv(kernel=1), feed_forward_width=32 * number)
    return Architecture(vocab_size=256, width=64, embedding_width=64, layers=(layer,))


@pytest.fixture
def written(sqlite_url: str) -> Iterator[Written]:
    objectives = (Objective(name="loss"), Objective(name="decode"))
    spec = small_spec(sqlite_url, objectives=objectives)
    with Store.open(sqlite_url) as store:
        store.add_study(spec.name, to_json(spec))
        yield Written(store)


class TestContenders:
    def test_runners_up_are_those_whose_loss_is_nearest_to_the_front(
        self, written: Written
    ) -> None:
        for loss, decode in [(1.0, 9.0), (2.0, 5.0), (3.0, 1.0)]:
            written.trial(loss, decode)
        written.trial(2.5, 9.5)  # loss 1.5 above the first
        written.trial(2.2, 8.0)  # loss 0.2 above the second
        written.trial(3.3, 1.0)  # loss 0.3 above the third
        written.trial(3.25, 2.0)  # loss 0.25 above the third
        assert candidates_to_confirm(written.front, 6) == (0, 1, 2, 4, 6, 5)
        assert candidates_to_confirm(written.front) == (0, 1, 2, 4, 6, 5, 3)
        assert candidates_to_confirm(written.front, 100) == (0, 1, 2, 4, 6, 5, 3)

    def test_a_long_front_is_sampled_evenly(self, written: Written) -> None:
        for step in range(11):
            written.trial(1.0 + step, 20.0 - step)
        written.trial(30.0, 30.0)
        assert candidates_to_confirm(written.front, 3) == (0, 5, 10)
        assert candidates_to_confirm(written.front) == tuple(range(11))
        assert (
            len(candidates_to_confirm(written.front, 7))
            == len(set(candidates_to_confirm(written.front, 7)))
            == 7
        )

    def test_too_few_candidates_are_an_error(self, written: Written) -> None:
        written.trial(1.0, 9.0)
        written.trial(2.0, 5.0)
        with pytest.raises(ValueError, match="'small' has 2 complete candidates"):
            candidates_to_confirm(written.front)


def test_without_runs_there_is_no_confirmation(written: Written) -> None:
    written.trial(1.0, 9.0)
    assert read_confirmation(written.store, written.front) is None


def test_every_run_is_evaluated(written: Written) -> None:
    losses, speeds = [1.00, 1.20, 1.10, 1.30], [9.0, 5.0, 9.5, 6.0]
    trials = [written.trial(*pair) for pair in zip(losses, speeds, strict=True)]
    for trial, loss in zip(trials, losses, strict=True):
        written.training(trial, 2, _BUDGET, loss + 0.01)
        written.training(trial, 3, _BUDGET, loss + 0.02 + 0.002 * (trial.number % 2))
        written.training(trial, 1, 4 * _BUDGET, loss / 2)
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
    assert (found.short_tokens, found.long_tokens) == (_BUDGET, 4 * _BUDGET)


def test_a_candidate_without_a_long_loss_has_no_probability(written: Written) -> None:
    trials = [written.trial(1.0 + n / 10, 9.0 - n) for n in range(4)]
    for trial in trials:
        written.training(trial, 2, _BUDGET, 1.0)
        written.training(trial, 3, _BUDGET, 1.0)
    for trial in trials[1:]:
        written.training(trial, 1, 4 * _BUDGET, 1.0)
    written.failure(trials[0], 4 * _BUDGET)
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
    written: Written,
) -> None:
    trials = [written.trial(1.0 + n / 10, 9.0 - n) for n in range(3)]
    for trial in trials:
        written.training(trial, 1, 4 * _BUDGET, 1.0 + trial.number)
    for trial in trials[:2]:
        written.training(trial, 1, 8 * _BUDGET, 0.5)
    found = read_confirmation(written.store, written.front)
    assert found is not None
    assert found.long_tokens == 4 * _BUDGET
    written.training(trials[2], 1, 8 * _BUDGET, 0.5)
    found = read_confirmation(written.store, written.front)
    assert found is not None
    assert found.long_tokens == 8 * _BUDGET
    assert {each.long for each in found.candidates} == {0.5}


def test_losses_of_a_shared_network_are_marked_as_inherited(written: Written) -> None:
    trials = [written.trial(1.0 + n / 10, 9.0 - n) for n in range(3)]
    for trial in trials:
        for seed in (2, 3):
            written.training(trial, seed, _BUDGET, 1.0 + trial.number + seed * trial.number / 100)
        written.training(trial, 1, 4 * _BUDGET, 1.0 + trial.number)
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


def test_a_single_timed_candidate_gives_no_statistics(written: Written) -> None:
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
    written: Written, name: str
) -> None:
    """The last candidate is worst except in one loss, where its lead is within the seed noise."""
    trials = [written.trial(1.0 + n / 10, 9.0 + n) for n in range(3)]
    for trial in trials:
        for seed, sign in ((2, 1), (3, -1)):
            noise = 0.1 * sign * (-1) ** trial.number
            written.training(trial, seed, _BUDGET, 1.0 + trial.number, **{name: 2.0 + noise})
        long = 1.0 - 0.01 * trial.number
        written.training(trial, 1, 4 * _BUDGET, 1.0 + trial.number, **{name: long})
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
