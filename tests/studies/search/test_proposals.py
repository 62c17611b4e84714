"""What the sampler is told about each outcome."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from search_space.costs import parameter_counts
from search_space.preset_models import preset
from search_space.space.encoding import FixedSuggester, draw
from search_space.space.matching import Matched
from search_space.space.rules import Rules
from search_space.space.space_definition import Space
from studies.owner import Verdict, this_process
from studies.records import Trial
from studies.search.events import Event, TrialStarted
from studies.search.loop import run_study
from studies.search.proposals import Proposals
from studies.spec.study_spec import StudySpec, to_json
from studies.spec.study_tables import Constraint, Objective
from studies.storage.store import Store
from tests.studies.fakes import all_stages, small_spec, unlucky


@dataclass(frozen=True)
class Ran:
    """A study with rules, limits, failures and rungs that has every kind of outcome.

    trials: The candidates by the number of the Optuna trial.
    """

    store: Store
    spec: StudySpec
    trials: dict[int | None, Trial]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    url = f"sqlite:///{tmp_path_factory.mktemp('ran')}/study.db"
    spec = small_spec(
        url,
        trials=25,
        space=replace(small_spec(url).space, rules=Rules(parameters=(1_500_000, 9_000_000))),
        objectives=(Objective(name="loss"), Objective(name="decode", max=3.2)),
        constraints=(Constraint(name="memory", max=4.0),),
    )
    stages = all_stages()
    stages[1].failing = lambda architecture: unlucky(architecture, 0.2)
    with Store.open(url) as store:
        run_study(spec, evaluators=stages, store=store)
        trials = {trial.optuna_number: trial for trial in store.trials(spec.name)}
        yield Ran(store=store, spec=spec, trials=trials)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as store:
        yield store


def _told(store: Store, spec: StudySpec) -> list[FrozenTrial]:
    return optuna.load_study(study_name=spec.name, storage=store.optuna_storage()).trials


def test_the_sampler_is_told_about_every_outcome(ran: Ran) -> None:
    told = _told(ran.store, ran.spec)
    ends = {trial.state for trial in ran.trials.values()}
    assert ends == {"complete", "stopped", "infeasible", "failed"}
    assert set(ran.trials) < {frozen.number for frozen in told}
    for frozen in told:
        trial = ran.trials.get(frozen.number)
        if trial is None:
            assert frozen.state == TrialState.PRUNED
            assert frozen.constraints["parameters"] > 0
            continue
        assert trial.outcome is not None
        assert trial.model is not None
        drawn = draw(ran.spec.space, FixedSuggester(frozen.params))
        assert drawn == ran.store.architecture(trial.model.hash)
        assert frozen.constraints["parameters"] <= 0
        match trial.state:
            case "complete":
                assert frozen.values == [trial.values["loss"], trial.values["decode"]]
                # A candidate whose interval contains the limit is complete.
                assert max(frozen.constraints.values()) <= 0.021
            case "stopped":
                assert frozen.values == [trial.outcome.estimated_loss, trial.values["decode"]]
            case "infeasible":
                assert frozen.state == TrialState.PRUNED
                over = "memory.max" if trial.outcome.stage == "costs" else "decode.max"
                assert frozen.constraints[over] > 0
            case "failed":
                assert frozen.state == TrialState.FAIL


def test_every_complete_trial_has_every_constraint(ran: Ran) -> None:
    """Optuna's Gaussian process sampler requires this."""
    for frozen in _told(ran.store, ran.spec):
        if frozen.state == TrialState.COMPLETE:
            assert set(frozen.constraints) == {"parameters", "decode.max", "memory.max"}


def test_optunas_own_front_has_only_complete_candidates(ran: Ran) -> None:
    """Optuna gets an estimated loss for a stopped candidate, which a complete one dominates."""
    study = optuna.load_study(study_name=ran.spec.name, storage=ran.store.optuna_storage())
    assert study.best_trials
    assert {ran.trials[frozen.number].state for frozen in study.best_trials} == {"complete"}


def test_telling_a_trial_twice_changes_nothing(ran: Ran) -> None:
    before = _told(ran.store, ran.spec)
    proposals = Proposals(ran.spec, ran.store)
    for trial in ran.trials.values():
        assert trial.model is not None
        proposals.tell(trial, ran.store.architecture(trial.model.hash))
    assert _told(ran.store, ran.spec) == before


class TestChangedOutcomes:
    """Optuna does not change finished trials, so it gets another one with the same parameters."""

    @pytest.fixture
    def spec(self, url: str) -> StudySpec:
        proxy = small_spec(url).proxy.model_copy(update={"rungs": ()})
        return small_spec(url, trials=16, proxy=proxy)

    def _run(self, spec: StudySpec, store: Store, most: float) -> tuple[Trial, ...]:
        objectives = (Objective(name="loss"), Objective(name="decode", max=most))
        limited = spec.model_copy(update={"objectives": objectives})
        run_study(limited, evaluators=all_stages(), store=store)
        return store.trials(spec.name)

    def test_a_resumed_candidate(self, spec: StudySpec, store: Store) -> None:
        before = self._run(spec, store, 2.5)
        after = self._run(spec, store, 3.2)
        told = _told(store, spec)
        resumed = {
            str(trial.optuna_number)
            for trial, earlier in zip(after, before, strict=True)
            if trial.state != earlier.state
        }
        assert len(told) == len(after) + len(resumed)
        assert resumed
        for frozen in told[len(after) :]:
            (first,) = (each for each in told[: len(after)] if each.params == frozen.params)
            assert first.state == TrialState.PRUNED
            (trial,) = (each for each in after if each.optuna_number == first.number)
            assert frozen.state == TrialState.COMPLETE
            assert frozen.values == [trial.values["loss"], trial.values["decode"]]
            excess = trial.values["decode"] / 3.2 - 1
            assert frozen.constraints["decode.max"] == pytest.approx(excess)
            assert frozen.user_attrs["nas"]["state"] == trial.state

    def test_a_refused_candidate(self, spec: StudySpec, store: Store) -> None:
        before = self._run(spec, store, 3.2)
        after = self._run(spec, store, 2.5)
        told = _told(store, spec)
        refused = [
            trial
            for trial, earlier in zip(after, before, strict=True)
            if trial.state != earlier.state
        ]
        assert refused
        assert len(told) == len(after) + len(refused)
        for frozen, trial in zip(told[len(after) :], refused, strict=True):
            assert trial.optuna_number is not None
            assert frozen.params == told[trial.optuna_number].params
            assert told[trial.optuna_number].state == TrialState.COMPLETE
            assert frozen.state == TrialState.PRUNED
            assert frozen.constraints["decode.max"] > 0
            assert frozen.user_attrs["nas"]["state"] == "infeasible"

    def test_no_change_is_told_twice(self, spec: StudySpec, store: Store) -> None:
        for most in (2.5, 3.2, 3.2, 2.5):
            self._run(spec, store, most)
        counts = [len(_told(store, spec))]
        for most in (3.2, 2.5, 2.5):
            self._run(spec, store, most)
            counts.append(len(_told(store, spec)))
        assert counts == counts[:1] * 4


def test_a_run_tells_what_an_earlier_one_did_not_before_it_proposes(
    url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small_spec(url, trials=3)
    with monkeypatch.context() as patch:
        patch.setattr(Proposals, "tell", lambda self, trial, architecture: None)
        run_study(spec, evaluators=all_stages(), store=store)
    states: list[set[TrialState]] = []

    def look(event: Event) -> None:
        if isinstance(event, TrialStarted):
            states.append({frozen.state for frozen in _told(store, spec)[:3]})

    run_study(spec, evaluators=all_stages(), store=store, listener=look, trials=4)
    assert states == [{TrialState.COMPLETE}]


def test_only_references_in_the_space_are_told(url: str, store: Store) -> None:
    spec = small_spec(url, trials=1, references=("lfm2-350m", "gemma-3-270m"))
    lfm2 = preset("lfm2-350m")
    space = replace(
        spec.space,
        depth=(16,),
        width=(1_024,),
        feed_forward=(4.5,),
        vocab_size=(65_536,),
        kernel=(3, 5),
    )
    spec = spec.model_copy(update={"space": space, "trials": 2})
    for _ in range(2):  # a second run must not tell them again
        run_study(spec, evaluators=all_stages(), store=store)
    first, *others = _told(store, spec)
    assert len(others) == 2
    assert first.user_attrs["nas"]["trial"] == "lfm2-350m"
    assert draw(space, FixedSuggester(first.params)) == lfm2
    (reference, _) = sorted(
        store.trials(spec.name, "reference"), key=lambda trial: trial.reference != "lfm2-350m"
    )
    assert first.values == [reference.values[name] for name in ("loss", "decode", "memory")]


def test_the_next_process_tells_what_a_dead_one_did_not(
    url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small_spec(url, trials=3)
    with monkeypatch.context() as patch:
        patch.setattr(Proposals, "tell", lambda self, trial, architecture: None)
        run_study(spec, evaluators=all_stages(), store=store)
    assert {frozen.state for frozen in _told(store, spec)} == {TrialState.RUNNING}
    run_study(spec, evaluators=all_stages(), store=store)
    trials = store.trials(spec.name)
    for frozen, trial in zip(_told(store, spec), trials, strict=True):
        assert frozen.state == TrialState.COMPLETE
        if trial.state == "complete":
            assert frozen.values == [trial.values[name] for name in ("loss", "decode", "memory")]


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        ("alive", TrialState.RUNNING),
        ("unknown", TrialState.RUNNING),
        ("lost", TrialState.FAIL),
    ],
)
def test_a_draw_that_became_no_trial_has_failed_once_its_process_is_lost(
    url: str, store: Store, monkeypatch: pytest.MonkeyPatch, verdict: Verdict, state: TrialState
) -> None:
    spec = small_spec(url, trials=3)
    store.add_study(spec.name, to_json(spec))
    proposals = Proposals(spec, store)
    begun = store.claim(spec.name, total=3)
    assert begun is not None
    used = proposals.propose()
    store.begin(begun, used.architecture, optuna_number=used.optuna_number)
    with monkeypatch.context() as patch:
        neighbour = replace(this_process(), token="another")
        patch.setattr("studies.storage.signs_of_life.this_process", lambda: neighbour)
        assert store.claim(spec.name, total=3) is not None
        proposals.propose()
    monkeypatch.setattr(store, "judge", lambda owner: verdict)
    for _ in range(2):
        proposals.catch_up()
        assert [frozen.state for frozen in _told(store, spec)] == [TrialState.RUNNING, state]


def test_a_draw_that_another_process_discards_meanwhile_is_replaced(
    url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small_spec(url, trials=3)
    proposals, other = Proposals(spec, store), Proposals(spec, store)
    study = proposals._study
    ask = study.ask

    def ask_as_if_dead() -> optuna.Trial:
        asked = ask()
        if asked.number == 0:
            other.catch_up()
        return asked

    store.add_study(spec.name, to_json(spec))
    monkeypatch.setattr(study, "ask", ask_as_if_dead)
    assert proposals.propose().optuna_number == 1
    states = [frozen.state for frozen in _told(store, spec)]
    assert states == [TrialState.FAIL, TrialState.RUNNING]


def test_candidates_of_a_matched_space_have_one_size(url: str, store: Store) -> None:
    matched = Matched(parameters=4_000_000)
    space = replace(small_spec(url).space, feed_forward=(1.0, 6.0), matched=matched)
    spec = small_spec(url, trials=8, space=space)
    run_study(spec, evaluators=all_stages(), store=store)
    candidates = {trial.optuna_number: trial for trial in store.trials(spec.name)}
    assert len(candidates) == 8
    for frozen in _told(store, spec):
        assert "feed_forward" not in frozen.params
        drawn = draw(space, FixedSuggester(frozen.params))
        within = abs(parameter_counts(drawn).total - 4_000_000) <= 40_000
        assert within == (frozen.number in candidates) == (frozen.constraints["matched"] <= 0)


def test_a_size_that_no_draw_has_is_reported(
    url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.search.proposals._MOST_REJECTIONS", 30)
    # This size is halfway between those of two feed-forward widths.
    space = Space(
        depth=(1,),
        width=(1_024,),
        mixers=("-",),
        feed_forward=(0.1, 1.0),
        vocab_size=(256,),
        matched=Matched(parameters=1_099_776),
    )
    proposals = Proposals(small_spec(url, space=space), store)
    with pytest.raises(
        ValueError, match=r"^space\.matched: 1,[\d,]+ parameters \(with feed_forward"
    ):
        proposals.propose()


def test_an_interrupted_trial_keeps_its_place_in_optunas_study(url: str, store: Store) -> None:
    spec = small_spec(url, trials=3)

    def interrupt(event: Event) -> None:
        if isinstance(event, TrialStarted) and event.trial.number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(spec, evaluators=all_stages(), store=store, listener=interrupt)
    run_study(spec, evaluators=all_stages(), store=store)
    numbers = [trial.optuna_number for trial in store.trials(spec.name)]
    assert numbers == [frozen.number for frozen in _told(store, spec)] == [0, 1, 2]
