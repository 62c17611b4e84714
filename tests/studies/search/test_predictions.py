"""What predictions decide in a study: which measurements are skipped and which are repeated."""

import contextlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evaluators.evaluator import Evaluation, EvaluationFailed
from evaluators.speed.latency import LatencyEvaluator
from evaluators.speed.latency_model import MIN_MEASUREMENTS
from evaluators.speed.latency_settings import LatencySettings
from hardware.fake import FakeRunner
from hardware.quiet import Reservation
from hardware.runner import LoadedModel
from search_space.architecture import Architecture, architecture_hash
from search_space.preset_models import preset
from studies.records import Trial
from studies.search.events import Event, TrialEnded, ignore
from studies.search.loop import run_study
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import Constraint, Objective
from studies.storage.store import Store
from tests.studies import fakes
from tests.studies.fakes import RefinableFake, busy_at_first, small_spec, static, training
from tests.studies.storage.timed_trials import replace_stored

pytestmark = pytest.mark.usefixtures("proposals_in_memory")

TRIALS = 50
_NOTHING = Evaluation(scores=(), seconds=0.0)
LIMIT_MS = 3.0


def limited(store_url: str, **changes: object) -> StudySpec:
    objectives = (Objective(name="loss"), Objective(name="decode", max=LIMIT_MS))
    return small_spec(store_url, **{"objectives": objectives, "trials": TRIALS} | changes)


def run(
    spec: StudySpec,
    store: Store,
    latency: RefinableFake,
    *,
    is_quiet: bool = False,
    listener: Callable[[Event], None] = ignore,
) -> tuple[Trial, ...]:
    """Run a study to its end, without repeats for reasons other than predictions."""
    run_study(
        spec,
        evaluators=(static(), latency, training()),
        store=store,
        listener=listener,
        is_quiet=lambda: is_quiet,
    )
    return store.trials(spec.name)


def reason(trial: Trial) -> str:
    return "" if trial.outcome is None else trial.outcome.reason or ""


def unmeasured(trials: tuple[Trial, ...]) -> list[Trial]:
    return [trial for trial in trials if "predicted" in reason(trial)]


def decode_ms(trial: Trial, store: Store) -> float:
    assert trial.model is not None
    return fakes.decode_ms(store.architecture(trial.model.hash))


def interval(trial: Trial) -> tuple[float, float]:
    """Return the predicted interval of a candidate that was not measured, in ms."""
    ((low, high),) = re.findall(r"^decode: predicted at ([\d.]+) to ([\d.]+) ms", reason(trial))
    return float(low), float(high)


@pytest.fixture(scope="module")
def limited_study(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Store, RefinableFake, tuple[Trial, ...]]]:
    """A study with a limit of the decode time: its database, its device and its trials."""
    url = f"sqlite:///{tmp_path_factory.mktemp('limited_study')}/study.db"
    latency = RefinableFake()
    with Store.open(url) as store:
        yield store, latency, run(limited(url), store, latency)


def test_a_candidate_predicted_above_a_limit_is_not_measured(
    limited_study: tuple[Store, RefinableFake, tuple[Trial, ...]],
) -> None:
    """Times of the fake device are sums of parts without noise, so predictions must be right."""
    store, latency, trials = limited_study
    predicted = unmeasured(trials)
    assert len(predicted) > 5
    for trial in predicted:
        assert trial.model is not None
        assert trial.outcome is not None
        assert (trial.outcome.state, trial.outcome.stage) == ("infeasible", "latency")
        assert (
            "above the limit of 3 ms, and therefore not measured (in cross-validation, "
            in reason(trial)
        )
        low, high = interval(trial)
        assert low < decode_ms(trial, store) < high
        assert trial.outcome.exceeded["decode"] == pytest.approx(low, rel=1e-3)
        assert "Kendall tau 1.00" in reason(trial)
        assert trial.model.hash not in latency.asked
        assert "decode" not in trial.values
        assert decode_ms(trial, store) > LIMIT_MS
    measured = [trial for trial in trials[: predicted[0].number] if trial.duplicate_of is None]
    assert len(measured) >= MIN_MEASUREMENTS
    assert max(Counter(latency.asked).values()) == 1


def test_a_candidate_within_the_limit_is_measured(
    limited_study: tuple[Store, RefinableFake, tuple[Trial, ...]],
) -> None:
    store, _, trials = limited_study
    within = [trial for trial in trials if decode_ms(trial, store) <= LIMIT_MS]
    assert any(trial.number > MIN_MEASUREMENTS for trial in within)
    assert all("decode" in trial.values for trial in within)


def test_nothing_is_predicted_on_a_device_that_is_not_a_sum_of_parts(
    sqlite_url: str, store: Store
) -> None:
    latency = RefinableFake(factor=_unpredictable)
    trials = run(limited(sqlite_url), store, latency)
    assert not unmeasured(trials)
    assert max(Counter(latency.asked).values()) == 1


def test_references_are_measured_whatever_is_predicted(sqlite_url: str, store: Store) -> None:
    """The device is lost during the reference model and returns when the candidates have ended."""
    spec = limited(sqlite_url, references=("lfm2-350m",))
    latency = RefinableFake()
    latency.failing = lambda architecture: architecture == preset("lfm2-350m")
    latency.failure = "device lost"
    trials = run(spec, store, latency)
    assert unmeasured(trials)
    run(spec, store, RefinableFake())
    (reference,) = store.trials(spec.name, "reference")
    assert reference.state == "complete"
    assert reference.values["decode"] > LIMIT_MS


def test_a_cached_measurement_needs_no_prediction(sqlite_url: str, store: Store) -> None:
    """Another study with the same seed draws the same candidates and has a higher limit."""
    generous = (Objective(name="loss"), Objective(name="decode", max=1e6))
    run(limited(sqlite_url, name="first", objectives=generous), store, RefinableFake())
    trials = run(limited(sqlite_url), store, latency := RefinableFake())
    assert not latency.asked
    assert not unmeasured(trials)


def test_memory_above_its_limit_is_predicted(sqlite_url: str, store: Store) -> None:
    """This uses the evaluator of real studies on a simulated device."""
    spec = small_spec(
        sqlite_url,
        trials=TRIALS,
        objectives=(Objective(name="loss"), Objective(name="decode")),
        constraints=(Constraint(name="memory", max=8.0),),
    )
    runner = _Counting()
    settings = LatencySettings(quantization="int4", prompt_length=512, context_depth=1024)
    with LatencyEvaluator(
        runner,
        settings,
        preset("hybrid-20m"),
        store,
        lambda *_: contextlib.nullcontext(Reservation(waited_s=0.0)),
    ) as latency:
        evaluators = (latency, training())
        run_study(spec, evaluators=evaluators, store=store, is_quiet=lambda: False)
    trials = store.trials(spec.name)
    predicted = unmeasured(trials)
    measurements = [
        measurement
        for trial in trials
        if trial.duplicate_of is None
        for measurement in store.evaluations(trial).get("latency", _NOTHING).measurements
        if measurement.workload.phase == "prefill"
    ]
    assert predicted
    assert all(reason(trial).startswith("memory: predicted at ") for trial in predicted)
    assert all("latency" not in store.evaluations(trial) for trial in predicted)
    assert runner.loaded == 1 + len(measurements)


class TestFarFromPrediction:
    def test_is_measured_twice_more_and_all_measurements_count(
        self, sqlite_url: str, store: Store
    ) -> None:
        """The device is wrong once, in the forty-first measurement."""
        latency = RefinableFake()
        latency.factor = outlier = _Outlier(latency, at=41)
        trials = run(small_spec(sqlite_url, trials=TRIALS), store, latency)
        assert Counter(latency.refined) == {outlier.architecture: 2}
        (odd,) = [each for each in trials if each.model and each.model.hash == outlier.architecture]
        assert odd.values["decode"] == pytest.approx(decode_ms(odd, store), rel=1e-5)
        measured = store.evaluations(odd)["latency"].measurements
        assert [each.samples_ns[0] / 1e6 for each in measured] == pytest.approx(
            [decode_ms(odd, store) * factor for factor in (1.5, 1, 1)], rel=1e-3
        )

    def test_is_kept_if_it_is_confirmed(self, sqlite_url: str, store: Store) -> None:
        """A prediction never changes a measurement: three that agree are accepted."""
        latency = RefinableFake()
        latency.factor = outlier = _Outlier(latency, at=41, is_permanent=True)
        trials = run(small_spec(sqlite_url, trials=TRIALS), store, latency)
        (odd,) = [each for each in trials if each.model and each.model.hash == outlier.architecture]
        assert odd.values["decode"] == pytest.approx(1.5 * decode_ms(odd, store), rel=1e-5)
        assert Counter(latency.refined)[outlier.architecture] == 2

    def test_a_failure_of_the_repeat_fails_the_candidate(
        self, sqlite_url: str, store: Store
    ) -> None:
        latency = RefinableFake()
        latency.factor = outlier = _Outlier(latency, at=41)
        latency.before_refining = _lost
        trials = run(small_spec(sqlite_url, trials=TRIALS), store, latency)
        (failed,) = [trial for trial in trials if trial.state == "failed"]
        assert failed.model is not None
        assert failed.model.hash == outlier.architecture
        assert "decode" not in failed.values


class TestCloseToALimit:
    def test_is_measured_up_to_twice_more(self, sqlite_url: str, store: Store) -> None:
        generous = (Objective(name="loss"), Objective(name="decode"))
        first = run(limited(sqlite_url, trials=12, objectives=generous), store, RefinableFake())
        middle = sorted(trial.values["decode"] for trial in first)[6]
        spec = limited(
            sqlite_url,
            name="second",
            trials=12,
            objectives=(Objective(name="loss"), Objective(name="decode", max=middle)),
        )
        latency = RefinableFake(fingerprint="second", error=0.02)
        trials = run(spec, store, latency)
        close = {
            trial.model.hash
            for trial in trials
            if trial.model and abs(math.log(decode_ms(trial, store) / middle)) < 0.02
        }
        assert Counter(latency.refined) == dict.fromkeys(close, 2)

    def test_is_measured_once_more_if_that_settles_it(self, sqlite_url: str, store: Store) -> None:
        """The first measurement is a little too long, the second one a little too short."""
        spec = limited(sqlite_url, trials=12)
        latency = RefinableFake(error=1e-6)
        latency.factor = lambda architecture, runs: (
            LIMIT_MS / fakes.decode_ms(architecture) if runs == 0 else 0.9
        )
        trials = run(spec, store, latency)
        assert Counter(latency.refined) == Counter(latency.asked)
        assert all("decode" in trial.values for trial in trials)

    def test_a_provisional_time_is_measured_again_later_instead(
        self, sqlite_url: str, store: Store
    ) -> None:
        def check(event: Event) -> None:
            if isinstance(event, TrialEnded):
                assert latency.refined == []

        latency = busy_at_first()
        run(limited(sqlite_url, trials=8), store, latency, listener=check)
        assert latency.refined


class TestProvisionalTimes:
    def test_they_train_no_model(self, sqlite_url: str, store: Store) -> None:
        latency = RefinableFake(is_busy=lambda architecture, runs: True)
        trials = run(limited(sqlite_url), store, latency)
        assert not unmeasured(trials)

    def test_they_do_when_they_are_settled(self, sqlite_url: str, store: Store) -> None:
        """The provisional times are not sums of parts, but the settled ones are."""
        latency = busy_at_first()
        latency.factor = lambda architecture, runs: (
            1.0 if runs else _unpredictable(architecture, runs)
        )
        trials = run(limited(sqlite_url), store, latency, is_quiet=True)
        assert unmeasured(trials)
        for trial in unmeasured(trials):
            low, high = interval(trial)
            assert low < decode_ms(trial, store) < high
            assert "Kendall tau 1.00" in reason(trial)

    def test_they_do_when_another_process_has_settled_them(
        self, sqlite_url: str, store: Store
    ) -> None:
        """It does so after 40 trials, all of which this process has seen before."""
        latency = RefinableFake(is_busy=lambda architecture, runs: runs == 0)

        def settle() -> None:
            for trial in store.trials("small"):
                assert trial.model is not None
                architecture = store.architecture(trial.model.hash)
                earlier = store.load_evaluation(latency.fingerprint, architecture)
                assert earlier is not None
                settled = latency.refine(architecture, earlier, lambda progress: None)
                replace_stored(store, latency.fingerprint, architecture, settled)

        trials = run(limited(sqlite_url), store, latency, listener=_after(39, settle))
        assert unmeasured(trials)
        assert min(trial.number for trial in unmeasured(trials)) >= 40


class TestReferenceModel:
    def test_predictions_are_in_the_milliseconds_of_the_present_calibration(
        self, sqlite_url: str, store: Store
    ) -> None:
        """After 25 trials, the reference model takes 0.4 times as long as it seemed to."""
        spec = limited(
            sqlite_url, objectives=(Objective(name="loss"), Objective(name="decode", max=1.2))
        )
        latency = RefinableFake(calibrations=store, reference_ms=fakes.REFERENCE_MS)
        trials = run(spec, store, latency, listener=_after(25, _faster(latency)))
        assert len(unmeasured(trials)) > 5
        for trial in trials:
            present = 0.4 * decode_ms(trial, store)
            if trial in unmeasured(trials):
                low, high = interval(trial)
                assert 1.2 < low < present < high
            else:
                assert trial.values["decode"] == pytest.approx(present, rel=1e-3)
            if not 1.2 < present < 1.2 * 1.1:
                assert (trial.state == "infeasible") == (present > 1.2)

    def test_a_change_of_its_time_is_no_reason_to_measure_a_candidate_again(
        self, sqlite_url: str, store: Store
    ) -> None:
        latency = RefinableFake(calibrations=store)
        spec = small_spec(sqlite_url, trials=TRIALS)
        run(spec, store, latency, listener=_after(45, _faster(latency)))
        assert latency.refined == []

    def test_a_candidate_that_is_resumed_trains_the_model_once(
        self, sqlite_url: str, store: Store
    ) -> None:
        """All candidates seem too slow until the reference model turns out to be faster."""
        spec = limited(sqlite_url)
        latency = RefinableFake(calibrations=store, reference_ms=2.5 * fakes.REFERENCE_MS)
        trials = run(spec, store, latency, listener=_after(25, _faster(latency)))
        for trial in unmeasured(trials):
            (count,) = re.findall(r"of (\d+) measured models", reason(trial))
            assert int(count) <= len([each for each in trials if "decode" in each.values])
            assert int(count) <= trial.number
        assert unmeasured(trials)

    def test_nothing_is_refused_while_its_time_is_uncertain(
        self, sqlite_url: str, store: Store
    ) -> None:
        latency = RefinableFake(calibrations=store)
        latency.factor = _Unsteady(latency)
        trials = run(limited(sqlite_url), store, latency)
        calibration = store.calibration(latency.key)
        assert calibration is not None
        assert not calibration.is_settled
        assert {trial.state for trial in trials} <= {"complete", "stopped"}


class _Counting(FakeRunner):
    loaded = 0

    @contextlib.contextmanager
    def load(self, model: Path, capacity: int) -> Iterator[LoadedModel]:
        self.loaded += 1
        with super().load(model, capacity) as loaded:
            yield loaded


class _Outlier:
    """The factor of a device that is 1.5 times too slow in the n-th measurement.

    If it is permanent, every later measurement of that architecture is too long as well.
    """

    def __init__(self, latency: RefinableFake, at: int, *, is_permanent: bool = False) -> None:
        self.architecture = ""
        self._latency = latency
        self._at = at
        self._is_permanent = is_permanent

    def __call__(self, architecture: Architecture, runs: int) -> float:
        digest = architecture_hash(architecture)
        if len(self._latency.asked) == self._at and runs == 0:
            self.architecture = digest
            return 1.5
        return 1.5 if self._is_permanent and digest == self.architecture else 1.0


class _Unsteady:
    """A device whose reference model takes very different times."""

    def __init__(self, latency: RefinableFake) -> None:
        self._latency = latency

    def __call__(self, architecture: Architecture, runs: int) -> float:
        count = len(self._latency.asked)
        self._latency.reference_ms = fakes.REFERENCE_MS * (10.0 if count % 2 else 0.1)
        return 1.0


def _unpredictable(architecture: Architecture, runs: int) -> float:
    return 1 + int(architecture_hash(architecture), 16) % 100 / 20


def _lost(architecture: Architecture) -> None:
    raise EvaluationFailed("device lost", "gone")


def _after(number: int, change: Callable[[], None]) -> Callable[[Event], None]:
    """Return a listener that makes a change when the trial of this number ends first."""
    ends = Counter[int]()

    def listen(event: Event) -> None:
        if isinstance(event, TrialEnded):
            ends[event.trial.number] += 1
            if event.trial.number == number and ends[number] == 1:
                change()

    return listen


def _faster(latency: RefinableFake) -> Callable[[], None]:
    """Return a function that makes the reference model 2.5 times faster.

    Its earlier times do not count any more, because the frequency governor is another one.
    """

    def change() -> None:
        latency.reference_ms, latency.governor = 0.4 * latency.reference_ms, "performance"

    return change
