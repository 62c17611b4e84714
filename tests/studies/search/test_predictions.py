"""What predictions decide in a study: which measurements are skipped and which are repeated."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from evaluators.evaluator import Evaluation, Report
from evaluators.speed.latency import LatencyEvaluator, LatencySettings
from evaluators.speed.latency_model import MIN_MEASUREMENTS
from hardware.fake import FakeRunner
from hardware.measurement import Measurement
from hardware.runner import LoadedModel
from search_space.architecture import Architecture, architecture_hash
from search_space.preset_models import preset
from studies.records import Trial
from studies.search.loop import run_study
from studies.spec.study_spec import Constraint, Objective, StudySpec
from studies.storage.store import Store
from tests.studies import fakes
from tests.studies.fakes import FakeEvaluator, small_spec, static, training

TRIALS = 60
BUDGET_MS = 3.0


def limited(store_url: str, **changes: object) -> StudySpec:
    objectives = (Objective(name="loss"), Objective(name="decode", max=BUDGET_MS))
    return small_spec(store_url, **{"objectives": objectives, "trials": TRIALS} | changes)


def run(spec: StudySpec, store: Store, latency: FakeEvaluator) -> tuple[Trial, ...]:
    run_study(spec, evaluators=(static(), latency, training()), store=store)
    return store.trials(spec.name)


def reason(trial: Trial) -> str:
    return "" if trial.outcome is None else trial.outcome.reason or ""


def decode_ms(trial: Trial, store: Store) -> float:
    assert trial.model is not None
    return fakes.decode_ms(store.architecture(trial.model.hash))


@pytest.fixture(scope="module")
def budgeted(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Store, FakeEvaluator, tuple[Trial, ...]]]:
    """A study with a decode budget: its database, its device and its trials."""
    url = f"sqlite:///{tmp_path_factory.mktemp('budgeted')}/study.db"
    latency = fakes.latency()
    with Store.open(url) as store:
        yield store, latency, run(limited(url), store, latency)


def test_a_candidate_predicted_above_a_budget_is_not_measured(
    budgeted: tuple[Store, FakeEvaluator, tuple[Trial, ...]],
) -> None:
    """Times of the fake device are sums of parts without noise, so predictions must be right."""
    store, latency, trials = budgeted
    unmeasured = [trial for trial in trials if "predicted" in reason(trial)]
    assert len(unmeasured) > 5
    for trial in unmeasured:
        assert trial.model is not None
        assert trial.outcome is not None
        assert (trial.outcome.state, trial.outcome.stage) == ("infeasible", "latency")
        assert (
            "above the budget of 3 ms, and therefore not measured (in cross-validation, "
            in reason(trial)
        )
        assert "Kendall tau 1.00" in reason(trial)
        assert trial.model.hash not in latency.asked
        assert "decode" not in trial.values
        assert decode_ms(trial, store) > BUDGET_MS
    measured = [trial for trial in trials[: unmeasured[0].number] if trial.duplicate_of is None]
    assert len(measured) >= MIN_MEASUREMENTS
    assert max(Counter(latency.asked).values()) == 1


def test_a_candidate_within_the_budget_is_measured(
    budgeted: tuple[Store, FakeEvaluator, tuple[Trial, ...]],
) -> None:
    store, _, trials = budgeted
    within = [trial for trial in trials if decode_ms(trial, store) <= BUDGET_MS]
    assert any(trial.number > MIN_MEASUREMENTS for trial in within)
    assert all("decode" in trial.values for trial in within)


def test_nothing_is_predicted_on_a_device_that_is_not_a_sum_of_parts(
    sqlite_url: str, store: Store
) -> None:
    latency = fakes.latency()
    latency.measure = _unpredictable
    trials = run(limited(sqlite_url), store, latency)
    assert not [trial for trial in trials if "predicted" in reason(trial)]
    assert max(Counter(latency.asked).values()) == 1


def test_references_are_measured_whatever_is_predicted(sqlite_url: str, store: Store) -> None:
    """The device is lost during the reference model and returns when the candidates have ended."""
    spec = limited(sqlite_url, references=("lfm2-350m",))
    latency = fakes.latency()
    latency.failing = lambda architecture: architecture == preset("lfm2-350m")
    latency.failure = "device lost"
    trials = run(spec, store, latency)
    assert [trial for trial in trials if "predicted" in reason(trial)]
    run(spec, store, fakes.latency())
    (reference,) = store.trials(spec.name, "reference")
    assert reference.state == "complete"
    assert reference.values["decode"] > BUDGET_MS


def test_a_cached_measurement_needs_no_prediction(sqlite_url: str, store: Store) -> None:
    """Another study with the same seed draws the same candidates and has a larger budget."""
    generous = (Objective(name="loss"), Objective(name="decode", max=1e6))
    run(limited(sqlite_url, name="first", objectives=generous), store, fakes.latency())
    trials = run(limited(sqlite_url), store, latency := fakes.latency())
    assert not latency.asked
    assert not [trial for trial in trials if "predicted" in reason(trial)]


def test_memory_above_its_budget_is_predicted(sqlite_url: str, store: Store) -> None:
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
        runner, settings, preset("hybrid-20m"), store, lambda *_: contextlib.nullcontext(0.0)
    ) as latency:
        run_study(spec, evaluators=(latency, training()), store=store)
    trials = store.trials(spec.name)
    unmeasured = [trial for trial in trials if "predicted" in reason(trial)]
    distinct = [trial for trial in trials if trial.duplicate_of is None]
    assert unmeasured
    assert all(reason(trial).startswith("memory: predicted at ") for trial in unmeasured)
    assert runner.loaded == 1 + len(distinct) - len(unmeasured)


class TestFarFromPrediction:
    def test_is_measured_twice_more_and_the_median_counts(
        self, sqlite_url: str, store: Store
    ) -> None:
        """The device is wrong once, in the forty-first measurement."""
        latency = fakes.latency()
        latency.measure = _Outlier(at=41)
        trials = run(small_spec(sqlite_url, trials=TRIALS), store, latency)
        ((digest, count),) = [item for item in Counter(latency.asked).items() if item[1] > 1]
        assert count == 3
        (doubted,) = [each for each in trials if each.model and each.model.hash == digest]
        assert doubted.values["decode"] == pytest.approx(decode_ms(doubted, store))
        measured = store.evaluations(doubted)["latency"].measurements
        assert [_ms(each) for each in measured] == pytest.approx(
            [decode_ms(doubted, store) * factor for factor in (1.5, 1, 1)], rel=1e-3
        )

    def test_is_kept_if_it_is_confirmed(self, sqlite_url: str, store: Store) -> None:
        """A prediction never changes a measurement: three that agree are accepted."""
        latency = fakes.latency()
        latency.measure = outlier = _Outlier(at=41, is_permanent=True)
        trials = run(small_spec(sqlite_url, trials=TRIALS), store, latency)
        (odd,) = [each for each in trials if each.model and each.model.hash == outlier.architecture]
        assert odd.values["decode"] == pytest.approx(1.5 * decode_ms(odd, store))


class _Counting(FakeRunner):
    loaded = 0

    @contextlib.contextmanager
    def load(self, model: Path, capacity: int) -> Iterator[LoadedModel]:
        self.loaded += 1
        with super().load(model, capacity) as loaded:
            yield loaded


class _Outlier:
    """A latency that is 1.5 times too long in the n-th measurement.

    If it is permanent, every later measurement of that architecture is too long as well.
    """

    def __init__(self, at: int, *, is_permanent: bool = False) -> None:
        self.architecture = ""
        self._at = at
        self._is_permanent = is_permanent
        self._count = 0

    def __call__(self, architecture: Architecture, report: Report) -> Evaluation:
        self._count += 1
        digest = architecture_hash(architecture)
        if self._count == self._at:
            self.architecture = digest
        is_late = self._count == self._at or (self._is_permanent and digest == self.architecture)
        return _slower(fakes.latency().measure(architecture, report), 1.5 if is_late else 1.0)


def _unpredictable(architecture: Architecture, report: Report) -> Evaluation:
    factor = 1 + int(architecture_hash(architecture), 16) % 100 / 20
    return _slower(fakes.latency().measure(architecture, report), factor)


def _slower(evaluation: Evaluation, factor: float) -> Evaluation:
    (score,), (measurement,) = evaluation.scores, evaluation.measurements
    samples = tuple(round(factor * sample) for sample in measurement.samples_ns)
    slower = replace(score, value=factor * score.value, low=None, high=None)
    return replace(
        evaluation, scores=(slower,), measurements=(replace(measurement, samples_ns=samples),)
    )


def _ms(measurement: Measurement) -> float:
    return measurement.samples_ns[0] / 1e6
