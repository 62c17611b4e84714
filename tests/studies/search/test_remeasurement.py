"""Which times are measured again, when, and what follows from it."""

import itertools
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import TypeVar

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from evaluators.cache import refine_cached
from evaluators.evaluator import EvaluationFailed, Infeasible, Score
from hardware.measurement import Measurement
from search_space.architecture import Architecture, architecture_hash
from search_space.preset_models import preset
from studies.analysis import study_front
from studies.owner import this_process
from studies.records import Trial
from studies.samplers.earlier_trials import EarlierTrials
from studies.samplers.known_costs import KnownCostsSampler
from studies.samplers.search_problem import Parameters
from studies.search import remeasurement
from studies.search.events import (
    Event,
    Remark,
    StageProgress,
    TrialEnded,
    TrialRemeasured,
    TrialStarted,
    ignore,
)
from studies.search.loop import run_study
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import Objective, SamplerSettings
from studies.storage.store import Store
from tests.studies.fakes import (
    RefinableFake,
    busy_at_first,
    decode_ms,
    latency,
    small_spec,
    static,
    training,
    unlucky,
)

pytestmark = pytest.mark.usefixtures("proposals_in_memory")

EventType = TypeVar("EventType", bound=Event)


@pytest.fixture
def spec(sqlite_url: str) -> StudySpec:
    """A study that stops no candidate early."""
    return rungless(sqlite_url)


def rungless(url: str, most: float | None = None, **changes: object) -> StudySpec:
    objectives = (
        Objective(name="loss"),
        Objective(name="decode", max=most),
        Objective(name="memory"),
    )
    proxy = small_spec(url).proxy.model_copy(update={"rungs": ()})
    return small_spec(url, **{"objectives": objectives, "proxy": proxy} | changes)


def run(
    spec: StudySpec,
    store: Store,
    device: RefinableFake,
    *,
    is_quiet: bool = True,
    listener: Callable[[Event], None] = ignore,
    **options: object,
) -> list[Event]:
    """Run a study to its end and return its events."""
    events: list[Event] = []

    def listen(event: Event) -> None:
        events.append(event)
        listener(event)

    run_study(
        spec,
        evaluators=(static(), device, training()),
        store=store,
        listener=listen,
        is_quiet=lambda: is_quiet,
        **options,
    )
    return events


def of_type(events: list[Event], event_type: type[EventType]) -> list[EventType]:
    return [event for event in events if isinstance(event, event_type)]


def names(events: list[Event]) -> list[str]:
    """Return the events that concern whole trials, such as `TrialEnded 3`."""
    return [
        f"{type(event).__name__} {event.trial.name}"
        for event in events
        if isinstance(event, TrialStarted | TrialEnded | TrialRemeasured)
    ]


def true_ms(store: Store, trial: Trial) -> float:
    assert trial.model is not None
    return decode_ms(store.architecture(trial.model.hash))


def is_settled(store: Store, trial: Trial) -> bool:
    """Return whether a trial has its true time."""
    assert trial.values["decode"] == pytest.approx(true_ms(store, trial), rel=1e-5) or (
        trial.provisional(["decode"])
    )
    return not trial.provisional(["decode"])


def told(store: Store) -> list[FrozenTrial]:
    return optuna.load_study(study_name="small", storage=store.optuna_storage()).trials


def first_half(architecture: Architecture) -> bool:
    return unlucky(architecture, 0.5)


class Deeper(RefinableFake):
    """A device on which another workload is timed."""

    stage = "deeper"
    score_names = ("decode@4096",)

    def __init__(self) -> None:
        super().__init__(stage=self.stage, score_names=self.score_names)

    def _score(self, runs: Sequence[Measurement]) -> Score:
        return replace(super()._score(runs), name="decode@4096")


class Clock:
    """A clock that a test advances."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(remeasurement, "time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def no_time_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remeasurement, "_FINAL_SECONDS", 0.0)


class TestBetweenTrials:
    def test_a_provisional_time_is_measured_again_after_its_trial(
        self, spec: StudySpec, store: Store
    ) -> None:
        device = busy_at_first(first_half)
        events = run(spec, store, device)
        trials = store.trials("small")
        assert all(is_settled(store, trial) for trial in trials)
        chosen = {
            trial.number
            for trial in trials
            if trial.model and first_half(store.architecture(trial.model.hash))
        }
        assert 0 < len(chosen) < len(trials)
        again = of_type(events, TrialRemeasured)
        assert {event.trial.number for event in again} >= chosen
        for event in again:
            (earlier,) = (score for score in event.earlier if score.name == "decode")
            assert earlier.provisional == (event.trial.number in chosen)
            assert event.trial == trials[event.trial.number]
        order = names(events)
        for number in chosen:
            index = order.index(f"TrialEnded {number}")
            assert order[index + 1] == f"TrialRemeasured {number}"

    def test_nothing_is_measured_again_on_a_busy_machine(
        self, spec: StudySpec, store: Store, no_time_at_the_end: None
    ) -> None:
        device = busy_at_first()
        events = run(spec, store, device, is_quiet=False)
        assert device.refined == []
        assert of_type(events, TrialRemeasured) == []
        assert not any(is_settled(store, trial) for trial in store.trials("small"))

    def test_evaluators_that_cannot_measure_again_are_not_asked_to(
        self, spec: StudySpec, store: Store
    ) -> None:
        def unexpected() -> bool:
            raise AssertionError("nothing could be measured")

        evaluators = (static(), latency(), training())
        run_study(spec, evaluators=evaluators, store=store, is_quiet=unexpected)
        assert len(store.trials("small")) == spec.trials

    def test_reference_models_are_measured_again(self, spec: StudySpec, store: Store) -> None:
        spec = spec.model_copy(update={"references": ("lfm2-350m",)})
        lfm2 = architecture_hash(preset("lfm2-350m"))
        device = busy_at_first(lambda architecture: architecture_hash(architecture) == lfm2)
        events = run(spec, store, device)
        (reference,) = store.trials("small", "reference")
        assert is_settled(store, reference)
        assert names(events)[:3] == [
            "TrialStarted lfm2-350m",
            "TrialEnded lfm2-350m",
            "TrialRemeasured lfm2-350m",
        ]

    def test_the_progress_is_reported(self, spec: StudySpec, store: Store) -> None:
        events = run(spec, store, busy_at_first(), trials=1)
        texts = [event.progress.text for event in of_type(events, StageProgress)]
        assert texts.count("measuring again") == 1

    def test_remarks_are_passed_on(self, spec: StudySpec, store: Store) -> None:
        """The reference model turns out to take half as long when the machine is quiet."""
        device = busy_at_first()
        device.calibrations = store
        device.reference_ms = 14.0

        def calm(architecture: Architecture) -> None:
            device.reference_ms, device.governor = 7.0, "performance"

        device.before_refining = calm
        events = run(spec, store, device, trials=1)
        texts = [event.text for event in of_type(events, Remark)]
        assert len(texts) == 1
        assert texts[0].startswith("the reference model takes 7 ms (")


class TestControl:
    def test_settled_times_are_measured_again_after_4_8_and_16_candidates(
        self, spec: StudySpec, store: Store
    ) -> None:
        device = RefinableFake()
        events = run(spec.model_copy(update={"trials": 20}), store, device)
        order = [name for name in names(events) if not name.startswith("TrialStarted")]
        ended = [
            sum(name.startswith("TrialEnded") for name in order[:index])
            for index, name in enumerate(order)
            if name.startswith("TrialRemeasured")
        ]
        assert ended == [4, 8, 16]
        assert len(set(device.refined)) == 3
        texts = [event.text for event in of_type(events, Remark)]
        titles = [event.trial.title for event in of_type(events, TrialRemeasured)]
        assert texts == [
            f"{title} has settled times and is measured again as a control: its repeats show how "
            "far the runs of a model differ on this device"
            for title in titles
        ]
        assert all(is_settled(store, trial) for trial in store.trials("small"))

    def test_one_that_is_due_waits_for_a_quiet_machine(self, spec: StudySpec, store: Store) -> None:
        device, quiet_from = RefinableFake(), 6
        run_study(
            spec,
            evaluators=(static(), device, training()),
            store=store,
            is_quiet=lambda: len(device.asked) >= quiet_from,
        )
        assert len(device.refined) == 1

    def test_a_resumed_study_repeats_none_that_was_due_before(
        self, spec: StudySpec, store: Store
    ) -> None:
        run(spec, store, RefinableFake(), trials=4)
        for total in (5, 6, 7):
            run(spec, store, device := RefinableFake(), trials=total)
            assert device.refined == []
        run(spec, store, device, trials=8)
        assert len(device.refined) == 1


class TestBeforeTheFront:
    def test_provisional_times_are_measured_again_even_on_a_busy_machine(
        self, spec: StudySpec, store: Store
    ) -> None:
        events = run(spec, store, busy_at_first(), is_quiet=False)
        trials = store.trials("small")
        assert all(is_settled(store, trial) for trial in trials)
        order = names(events)
        last = order.index(f"TrialEnded {spec.trials - 1}")
        assert sorted(order[last + 1 :]) == [f"TrialRemeasured {n}" for n in range(spec.trials)]

    def test_the_best_come_first(self, spec: StudySpec, store: Store) -> None:
        """Those that no other provisional candidate dominates, as measured at that time."""
        device = busy_at_first()
        spec = spec.model_copy(update={"trials": 12})
        events = run(spec, store, device, is_quiet=False)
        before = {event.trial.number: event.trial.values for event in of_type(events, TrialEnded)}
        again = [event.trial.number for event in of_type(events, TrialRemeasured)]
        assert len(again) == 12
        objectives = ("loss", "decode", "memory")

        def dominates(one: int, other: int) -> bool:
            pairs = [(before[one][name], before[other][name]) for name in objectives]
            return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

        for index, number in enumerate(again):
            left = again[index:]
            best = [n for n in left if not any(dominates(other, n) for other in left)]
            assert number in best
        assert any(dominates(one, other) for one, other in itertools.permutations(again, 2))

    def test_the_least_measured_come_first(
        self, spec: StudySpec, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(remeasurement, "_VAIN_ATTEMPTS", 100)
        device = RefinableFake(is_busy=lambda architecture, runs: True)
        run(spec, store, device, is_quiet=False, trials=3)
        rounds = [set(device.refined[index : index + 3]) for index in (0, 3, 6)]
        assert [len(each) for each in rounds] == [3, 3, 3]

    def test_it_takes_limited_time(
        self, spec: StudySpec, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock, device = Clock(monkeypatch), busy_at_first()

        def wait(architecture: Architecture) -> None:
            clock.now += 40.0

        device.before_refining = wait
        run(spec, store, device, is_quiet=False)
        # The third one starts after 80 s, and the fourth one would start after 120 s.
        assert len(device.refined) == 3
        assert Counter(is_settled(store, trial) for trial in store.trials("small"))[True] == 3

    def test_it_ends_after_three_vain_attempts(self, spec: StudySpec, store: Store) -> None:
        device = RefinableFake(is_busy=lambda architecture, runs: True)
        run(spec, store, device, is_quiet=False)
        assert len(device.refined) == 3

    def test_a_successful_attempt_renews_the_hope(
        self, spec: StudySpec, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Only every third attempt succeeds."""
        monkeypatch.setattr(remeasurement, "_MOST_RUNS", 100)
        attempts = itertools.count(1)
        device = RefinableFake(
            is_busy=lambda architecture, runs: runs == 0 or next(attempts) % 3 != 0
        )
        run(spec, store, device, is_quiet=False)
        assert Counter(is_settled(store, trial) for trial in store.trials("small")) == {True: 6}

    def test_no_candidate_is_measured_more_than_four_times(
        self, spec: StudySpec, store: Store
    ) -> None:
        device = RefinableFake(is_busy=lambda architecture, runs: True)
        counts = []
        for _ in range(4):
            run(spec, store, device, is_quiet=False, trials=2)
            counts.append(len(device.refined))
        assert counts == [3, 6, 6, 6]
        assert set(Counter(device.refined).values()) == {3}
        for trial in store.trials("small"):
            assert len(store.evaluations(trial)["latency"].measurements) == 4


class TestConsequences:
    def test_a_candidate_that_then_exceeds_a_limit_is_infeasible(
        self, sqlite_url: str, store: Store
    ) -> None:
        """Provisional times are half the true ones, so that all candidates seem fast enough."""
        spec = rungless(sqlite_url, 2.5, trials=10)
        run(spec, store, busy_at_first(factor=0.5))
        trials = store.trials("small")
        above = {trial.number for trial in trials if true_ms(store, trial) > 2.5 * 1.03}
        below = {trial.number for trial in trials if true_ms(store, trial) < 2.5}
        assert above
        assert below
        states = {trial.number: trial.state for trial in trials}
        assert {states[number] for number in above} == {"infeasible"}
        assert {states[number] for number in below} == {"complete"}
        for number in above:
            assert "loss" in trials[number].values, "it was trained before"
            outcome = trials[number].outcome
            assert outcome is not None
            assert "is above the limit of 2.5 ms" in str(outcome.reason)

    def test_a_refused_candidate_that_fits_is_resumed_in_the_same_run(
        self, sqlite_url: str, store: Store
    ) -> None:
        """After some trials it turns out that the reference model takes half as long."""
        spec = rungless(sqlite_url, 2.5, trials=12)
        device = RefinableFake(calibrations=store, reference_ms=14.0)

        def calm(event: Event) -> None:
            if isinstance(event, TrialEnded) and event.trial.number == 7:
                device.reference_ms, device.governor = 7.0, "performance"

        events = run(spec, store, device, is_quiet=False, listener=calm)
        trials = store.trials("small")
        refused = {
            event.trial.number
            for event in of_type(events, TrialEnded)
            if event.trial.state == "infeasible"
        }
        fits = {trial.number for trial in trials if true_ms(store, trial) < 2.4}
        assert refused & fits & set(range(8))
        assert {trials[number].state for number in fits} == {"complete"}
        assert {
            trials[number].state
            for number in range(12)
            if true_ms(store, trials[number]) > 2.5 * 1.1
        } == {"infeasible"}
        texts = [event.text for event in of_type(events, Remark)]
        assert any("refused meet the limits now" in text for text in texts)
        assert max(Counter(device.asked).values()) == 1

    def test_a_candidate_is_refused_when_the_reference_model_turns_out_to_be_slower(
        self, sqlite_url: str, store: Store
    ) -> None:
        spec = rungless(sqlite_url, 2.5, trials=12)
        device = RefinableFake(calibrations=store, reference_ms=3.5)

        def slow_down(event: Event) -> None:
            if isinstance(event, TrialEnded) and event.trial.number == 7:
                device.reference_ms, device.governor = 7.0, "performance"

        run(spec, store, device, is_quiet=False, listener=slow_down)
        for trial in store.trials("small"):
            true = true_ms(store, trial)
            assert trial.values["decode"] == pytest.approx(true, rel=1e-3)
            if not 2.5 < true < 2.5 * 1.1:
                assert (trial.state == "infeasible") == (true > 2.5)

    def test_another_device_is_left_alone(
        self, spec: StudySpec, store: Store, no_time_at_the_end: None
    ) -> None:
        run(spec, store, busy_at_first(), is_quiet=False, trials=3)
        before = store.trials("small")
        other = RefinableFake(fingerprint="another device")
        run(spec, store, other, trials=5)
        assert store.trials("small")[:3] == before
        assert not {trial.model.hash for trial in before if trial.model} & set(other.refined)

    def test_the_same_device_continues_where_an_earlier_run_ended(
        self, spec: StudySpec, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(remeasurement, "_FINAL_SECONDS", 0.0)
            run(spec, store, busy_at_first(), is_quiet=False)
        run(spec, store, device := busy_at_first())
        assert len(device.refined) == spec.trials
        assert all(is_settled(store, trial) for trial in store.trials("small"))


class TestTwoProcesses:
    """Another process runs the same study on the same device."""

    def test_the_measurements_of_both_are_kept(
        self, spec: StudySpec, store: Store, sqlite_url: str
    ) -> None:
        """Both measure the same trial again. The first time was provisional, and does not count."""
        device = busy_at_first(factor=1.5)
        neighbour = RefinableFake(factor=lambda architecture, runs: 1.2)

        def measure_elsewhere(architecture: Architecture) -> None:
            with Store.open(sqlite_url) as other:
                earlier = other.load_evaluation(device.fingerprint, architecture)
                assert earlier is not None
                refine_cached(neighbour, architecture, earlier, other, lambda _: None)

        device.before_refining = measure_elsewhere
        events = run(spec, store, device, trials=1)
        (trial,) = store.trials("small")
        true = true_ms(store, trial)
        runs = store.evaluations(trial)["latency"].measurements
        times = [run.samples_ns[0] / 1e6 / true for run in runs]
        assert times == pytest.approx([1.5, 1.2, 1.0], rel=1e-5)
        # The median of the two settled times.
        assert trial.values["decode"] == pytest.approx(1.1 * true, rel=1e-5)
        (event,) = of_type(events, TrialRemeasured)
        assert event.trial == trial

    @pytest.mark.parametrize("is_alive", [True, False])
    def test_each_measures_its_own_trials_first(
        self, spec: StudySpec, store: Store, monkeypatch: pytest.MonkeyPatch, is_alive: bool
    ) -> None:
        """A process that has died measures none, so that its trials are like any other."""
        with monkeypatch.context() as patch:
            neighbour = replace(this_process(), token="another")
            patch.setattr("studies.storage.signs_of_life.this_process", lambda: neighbour)
            patch.setattr(remeasurement, "_FINAL_SECONDS", 0.0)
            run(spec, store, busy_at_first(), is_quiet=False, trials=3)
        monkeypatch.setattr(store, "judge", lambda owner: "alive" if is_alive else "lost")
        device = RefinableFake(is_busy=lambda architecture, runs: runs < 2)
        monkeypatch.setattr(remeasurement, "_VAIN_ATTEMPTS", 100)
        run(spec, store, device, is_quiet=False, trials=6)
        theirs = {trial.model.hash for trial in store.trials("small")[:3] if trial.model}
        assert len(device.refined) == 12
        if is_alive:
            assert not theirs & set(device.refined[:6])
            assert theirs == set(device.refined[6:])
        else:
            assert theirs < set(device.refined[:6])

    def test_a_control_is_one_of_its_own_trials(
        self, spec: StudySpec, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            neighbour = replace(this_process(), token="another")
            patch.setattr("studies.storage.signs_of_life.this_process", lambda: neighbour)
            run(spec, store, RefinableFake(), trials=3)
        run(spec, store, device := RefinableFake(), trials=4)
        own = store.trials("small")[3].model
        assert own is not None
        assert device.refined == [own.hash]


@pytest.mark.parametrize(
    "error", [EvaluationFailed("device lost", "gone"), Infeasible("it has no such layers")]
)
class TestFailures:
    def test_the_stored_evaluation_stays(
        self, spec: StudySpec, store: Store, error: Exception
    ) -> None:
        device = busy_at_first()

        def fail(architecture: Architecture) -> None:
            raise error

        device.before_refining = fail
        events = run(spec, store, device)
        trials = store.trials("small")
        assert {trial.state for trial in trials} == {"complete"}
        for trial in trials:
            (measurement,) = store.evaluations(trial)["latency"].measurements
            assert measurement.samples_ns[0] == pytest.approx(1.5e6 * true_ms(store, trial))
        assert of_type(events, TrialRemeasured) == []
        assert [event.text for event in of_type(events, Remark)] == [
            f"measuring trial {number} again failed ({error}); its earlier result is kept"
            for number in range(spec.trials)
        ]
        # Each is tried once per run, and the next run tries again.
        assert len(device.refined) == len(set(device.refined)) == spec.trials
        device.before_refining = lambda architecture: None
        run(spec, store, device)
        assert all(is_settled(store, trial) for trial in store.trials("small"))

    def test_what_another_evaluator_has_measured_before_counts(
        self, spec: StudySpec, store: Store, error: Exception
    ) -> None:
        device, deeper = busy_at_first(), Deeper()

        def fail(architecture: Architecture) -> None:
            raise error

        deeper.before_refining = fail
        events: list[Event] = []
        run_study(
            spec,
            evaluators=(static(), device, deeper, training()),
            store=store,
            listener=events.append,
            trials=1,
            is_quiet=lambda: True,
        )
        (trial,) = store.trials("small")
        assert is_settled(store, trial)
        (event,) = of_type(events, TrialRemeasured)
        assert event.trial == trial
        assert len(of_type(events, Remark)) == 1
        assert [len(each) for each in (device.refined, deeper.refined)] == [1, 1]

    def test_a_device_that_is_lost_ends_the_attempts(
        self, spec: StudySpec, store: Store, error: Exception
    ) -> None:
        device = busy_at_first()

        def fail(architecture: Architecture) -> None:
            raise error

        device.before_refining = fail
        run(spec, store, device, is_quiet=False)
        assert len(device.refined) == 3


class TestInterruptions:
    @pytest.fixture(autouse=True)
    def default_handler(self) -> Iterator[None]:
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
        signal.signal(signal.SIGINT, before)

    @pytest.mark.parametrize("is_quiet", [True, False])
    def test_ctrl_c_loses_nothing(self, spec: StudySpec, store: Store, is_quiet: bool) -> None:
        device = busy_at_first()

        def press(architecture: Architecture) -> None:
            if len(device.refined) == 2:
                signal.raise_signal(signal.SIGINT)

        device.before_refining = press
        with pytest.raises(KeyboardInterrupt):
            run(spec, store, device, is_quiet=is_quiet)
        trials = store.trials("small")
        assert len(trials) == (2 if is_quiet else spec.trials)
        assert {trial.state for trial in trials} == {"complete"}
        assert Counter(is_settled(store, trial) for trial in trials)[True] == 1
        run(spec, store, device, is_quiet=is_quiet)
        resumed = store.trials("small")
        assert {trial.state for trial in resumed} == {"complete"}
        assert all(is_settled(store, trial) for trial in resumed)
        assert max(Counter(device.asked).values()) == 1
        assert {frozen.state for frozen in told(store)} == {TrialState.COMPLETE}

    def test_one_during_a_report_is_raised_after_it(self, spec: StudySpec, store: Store) -> None:
        heard = []

        def press(event: Event) -> None:
            if isinstance(event, StageProgress) and event.progress.text == "measuring again":
                signal.raise_signal(signal.SIGINT)
                heard.append(event)

        with pytest.raises(KeyboardInterrupt):
            run(spec, store, device := busy_at_first(), listener=press)
        assert len(heard) == 1
        assert len(device.refined) == 1
        assert not any(is_settled(store, trial) for trial in store.trials("small"))

    def test_a_listener_that_raises_loses_nothing(self, spec: StudySpec, store: Store) -> None:
        def fail(event: Event) -> None:
            if isinstance(event, TrialRemeasured):
                raise RuntimeError("a bug")

        with pytest.raises(RuntimeError):
            run(spec, store, busy_at_first(), listener=fail)
        (trial,) = store.trials("small")
        assert is_settled(store, trial)
        run(spec, store, busy_at_first())
        assert len(store.trials("small")) == spec.trials


class TestSampler:
    def test_it_is_told_of_a_time_when_that_is_settled(self, spec: StudySpec, store: Store) -> None:
        known: list[dict[TrialState, int]] = []

        def look(event: Event) -> None:
            if isinstance(event, TrialEnded):
                known.append(Counter(frozen.state for frozen in told(store)))

        run(spec, store, busy_at_first(), listener=look)
        # When a trial has ended, it is measured again, and only then the sampler is told.
        assert known == [
            {TrialState.COMPLETE: number, TrialState.RUNNING: 1}
            if number
            else {TrialState.RUNNING: 1}
            for number in range(spec.trials)
        ]
        for frozen, trial in zip(told(store), store.trials("small"), strict=True):
            assert frozen.values == [trial.values[name] for name in ("loss", "decode", "memory")]
            assert frozen.values[1] == pytest.approx(true_ms(store, trial), rel=1e-5)

    def test_it_is_told_of_provisional_times_at_the_end(
        self, spec: StudySpec, store: Store, no_time_at_the_end: None
    ) -> None:
        known: list[set[TrialState]] = []

        def look(event: Event) -> None:
            if isinstance(event, TrialEnded):
                known.append({frozen.state for frozen in told(store)})

        run(spec, store, busy_at_first(), is_quiet=False, listener=look)
        assert known == [{TrialState.RUNNING}] * spec.trials
        for frozen, trial in zip(told(store), store.trials("small"), strict=True):
            assert frozen.state == TrialState.COMPLETE
            assert frozen.values == [trial.values[name] for name in ("loss", "decode", "memory")]
            assert frozen.values[1] == pytest.approx(1.5 * true_ms(store, trial), rel=1e-5)

    def test_it_is_told_no_provisional_time_of_a_duplicate_before_the_end(
        self, spec: StudySpec, store: Store, no_time_at_the_end: None
    ) -> None:
        space = replace(spec.space, depth=(1,), mixers=("c", "a"), vocab_size=(1_024,))
        spec = spec.model_copy(update={"space": space, "trials": 20})
        known: list[set[TrialState]] = []

        def look(event: Event) -> None:
            if isinstance(event, TrialEnded):
                known.append({frozen.state for frozen in told(store)})

        run(spec, store, busy_at_first(), is_quiet=False, listener=look)
        trials = store.trials("small")
        assert any(trial.duplicate_of is not None for trial in trials)
        assert known == [{TrialState.RUNNING}] * 20
        assert {frozen.state for frozen in told(store)} == {TrialState.COMPLETE}

    def test_it_is_told_the_outcome_that_follows_from_the_new_time(
        self, sqlite_url: str, store: Store
    ) -> None:
        run(rungless(sqlite_url, 2.5, trials=10), store, busy_at_first(factor=0.5))
        states = {"complete": TrialState.COMPLETE, "infeasible": TrialState.PRUNED}
        trials = store.trials("small")
        assert {trial.state for trial in trials} == set(states)
        for frozen, trial in zip(told(store), trials, strict=True):
            assert frozen.state == states[trial.state]
            true = true_ms(store, trial)
            assert frozen.constraints["decode.max"] == pytest.approx(true / 2.5 - 1, abs=1e-4)

    @pytest.mark.parametrize("kind", ["tpe", "nsga2"])
    def test_samplers_that_learn_draw_the_same_whether_or_not_times_were_provisional(
        self, sqlite_url: str, store: Store, kind: str
    ) -> None:
        drawn = []
        for name, device in (("settled", RefinableFake()), ("busy", busy_at_first())):
            sampler = SamplerSettings(kind=kind, startup_trials=4)
            spec = rungless(sqlite_url, name=name, sampler=sampler, trials=14)
            device.fingerprint = name
            run(spec, store, device)
            drawn.append([trial.model for trial in store.trials(name)])
        assert drawn[0] == drawn[1]

    def test_a_sampler_that_knows_costs_learns_from_provisional_times_meanwhile(
        self, sqlite_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known: list[list[list[float]]] = []
        propose = KnownCostsSampler.propose

        def record(
            sampler: KnownCostsSampler,
            study: optuna.Study,
            trial: optuna.trial.FrozenTrial,
            earlier: EarlierTrials,
        ) -> Parameters:
            known.append(earlier.values.tolist())
            return propose(sampler, study, trial, earlier)

        monkeypatch.setattr(KnownCostsSampler, "propose", record)
        sampler = SamplerSettings(kind="known-costs", startup_trials=4)
        spec = rungless(sqlite_url, sampler=sampler, trials=8)
        ended = of_type(run(spec, store, busy_at_first(), is_quiet=False), TrialEnded)
        assert all(event.trial.provisional(["decode"]) for event in ended)
        values = [
            [event.trial.values[name] for name in ("loss", "decode", "memory")] for event in ended
        ]
        assert known == [values[:count] for count in range(4, 8)]
        # At the end, the times are settled.
        for frozen, trial in zip(told(store), store.trials("small"), strict=True):
            assert frozen.values is not None
            assert frozen.values[1] == pytest.approx(true_ms(store, trial), rel=1e-5)


class TestRenewal:
    def test_the_front_is_measured_again_and_nothing_else(
        self, spec: StudySpec, store: Store
    ) -> None:
        device = RefinableFake(calibrations=store)
        run(spec, store, device, is_quiet=False)
        trials = store.trials("small")
        objectives = ("loss", "decode", "memory")
        points = {
            trial.model.hash: [trial.values[name] for name in objectives]
            for trial in trials
            if trial.model is not None
        }
        front = {
            digest
            for digest, point in points.items()
            if not any(
                all(a <= b for a, b in zip(other, point, strict=True)) and other != point
                for other in points.values()
            )
        }
        assert len(front) < spec.trials
        device.reference_ms = 14.0
        run(spec, store, device, is_quiet=False, remeasure=True)
        assert set(device.refined) == front
        assert len(device.refined) == len(front)
        # The earlier times of the reference model were forgotten, all but the latest.
        calibration = store.calibration(device.key)
        assert calibration is not None
        assert len(calibration.timings) == 1 + len(front)
        for trial in store.trials("small"):
            ratio = trial.values["decode"] / true_ms(store, trial)
            assert ratio == pytest.approx(calibration.milliseconds / 7.0, rel=1e-3)

    def test_whoever_comes_to_the_front_meanwhile_is_measured_again_too(
        self, spec: StudySpec, store: Store
    ) -> None:
        """The times of the front double, so that candidates that it dominated join it."""
        spec = spec.model_copy(update={"trials": 16})
        run(spec, store, RefinableFake(), is_quiet=False, trials=16)
        before = {trial.number for trial in study_front.front(store, "small").members}
        refined: list[str] = []

        def slower(architecture: Architecture, runs: int) -> float:
            is_first_round = runs and len(refined) < len(before)
            refined.extend([architecture_hash(architecture)] if runs else [])
            return 5.0 if is_first_round else 1.0

        device = RefinableFake(factor=slower)
        run(spec, store, device, is_quiet=False, remeasure=True)
        members = study_front.front(store, "small").members
        assert {trial.number for trial in members} - before
        assert {trial.model.hash for trial in members if trial.model} <= set(device.refined)
        assert max(Counter(device.refined).values()) == 1

    def test_it_is_announced(self, spec: StudySpec, store: Store) -> None:
        device = RefinableFake(calibrations=store)
        run(spec, store, device, is_quiet=False, trials=2)
        events = run(spec, store, device, is_quiet=False, trials=2, remeasure=True)
        (text,) = (event.text for event in of_type(events, Remark))
        assert text.endswith(
            " is estimated again, from new timings only, and the front is measured again; all "
            "times in ms follow the new estimate"
        )
        kinds = [type(event) for event in events]
        assert kinds.index(Remark) < kinds.index(TrialRemeasured)

    def test_provisional_times_keep_nothing_from_being_measured_again(
        self, spec: StudySpec, store: Store, no_time_at_the_end: None
    ) -> None:
        """They are too short, so that their candidates dominate most others."""
        spec = spec.model_copy(update={"trials": 16})
        run(spec, store, busy_at_first(first_half, factor=0.1), is_quiet=False)
        front = study_front.front(store, "small").members
        run(spec, store, device := busy_at_first(factor=0.1), is_quiet=False, remeasure=True)
        assert set(device.refined) == {trial.model.hash for trial in front if trial.model}
        assert any(is_settled(store, trial) for trial in front)
        assert not all(is_settled(store, trial) for trial in front)

    def test_candidates_of_another_device_are_left_alone(
        self, spec: StudySpec, store: Store
    ) -> None:
        run(spec, store, RefinableFake(), is_quiet=False)
        before = store.trials("small")
        other = RefinableFake(fingerprint="another device")
        events = run(spec, store, other, is_quiet=False, remeasure=True)
        assert (store.trials("small"), other.refined) == (before, [])
        assert of_type(events, TrialRemeasured) == []
