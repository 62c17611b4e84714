"""What forecasts may decide in a study: what is not measured, and what is measured again."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from evaluators.evaluator import Evaluation, Report
from evaluators.speed.latency import LatencyEvaluator, LatencySettings
from evaluators.speed.latency_model import FEWEST
from hardware.fake import FakeRunner
from hardware.measurement import Measurement
from hardware.runner import LoadedModel
from search_space.architecture import Architecture, architecture_hash
from search_space.presets import preset
from studies.loop import run_study
from studies.records import Trial
from studies.spec import Constraint, Objective, StudySpec
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


def test_what_is_forecast_beyond_a_budget_is_not_measured(
    budgeted: tuple[Store, FakeEvaluator, tuple[Trial, ...]],
) -> None:
    """The fake device is a sum of parts without noise, so no forecast may be wrong."""
    store, latency, trials = budgeted
    unmeasured = [trial for trial in trials if "forecast" in reason(trial)]
    assert len(unmeasured) > 5
    for trial in unmeasured:
        assert trial.model is not None
        assert trial.outcome is not None
        assert (trial.outcome.state, trial.outcome.stage) == ("infeasible", "latency")
        assert "above the budget of 3 ms, and so not measured (of " in reason(trial)
        assert "Kendall tau 1.00" in reason(trial)
        assert trial.model.hash not in latency.asked
        assert "decode" not in trial.values
        assert decode_ms(trial, store) > BUDGET_MS
    measured = [trial for trial in trials[: unmeasured[0].number] if trial.duplicate_of is None]
    assert len(measured) >= FEWEST
    assert max(Counter(latency.asked).values()) == 1


def test_what_is_not_beyond_a_budget_is_measured(
    budgeted: tuple[Store, FakeEvaluator, tuple[Trial, ...]],
) -> None:
    store, _, trials = budgeted
    within = [trial for trial in trials if decode_ms(trial, store) <= BUDGET_MS]
    assert any(trial.number > FEWEST for trial in within)
    assert all("decode" in trial.values for trial in within)


def test_nothing_is_forecast_on_a_device_that_is_no_sum_of_parts(
    sqlite_url: str, store: Store
) -> None:
    latency = fakes.latency()
    latency.measure = _capricious
    trials = run(limited(sqlite_url), store, latency)
    assert not [trial for trial in trials if "forecast" in reason(trial)]
    assert max(Counter(latency.asked).values()) == 1


def test_references_are_measured_whatever_is_forecast(sqlite_url: str, store: Store) -> None:
    """The device is lost when it comes to it, and back when the candidates have ended."""
    spec = limited(sqlite_url, references=("lfm2-350m",))
    latency = fakes.latency()
    latency.failing = lambda architecture: architecture == preset("lfm2-350m")
    latency.failure = "device lost"
    trials = run(spec, store, latency)
    assert [trial for trial in trials if "forecast" in reason(trial)]
    run(spec, store, fakes.latency())
    (reference,) = store.trials(spec.name, "reference")
    assert reference.state == "complete"
    assert reference.values["decode"] > BUDGET_MS


def test_a_remembered_measurement_needs_no_forecast(sqlite_url: str, store: Store) -> None:
    """Another study of the same seed draws the same, and had a larger budget."""
    generous = (Objective(name="loss"), Objective(name="decode", max=1e6))
    run(limited(sqlite_url, name="first", objectives=generous), store, fakes.latency())
    trials = run(limited(sqlite_url), store, latency := fakes.latency())
    assert not latency.asked
    assert not [trial for trial in trials if "forecast" in reason(trial)]


def test_memory_too_large_for_its_budget_is_forecast(sqlite_url: str, store: Store) -> None:
    """With the evaluator of real studies, on a device of made-up times."""
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
    unmeasured = [trial for trial in trials if "forecast" in reason(trial)]
    distinct = [trial for trial in trials if trial.duplicate_of is None]
    assert unmeasured
    assert all(reason(trial).startswith("memory: forecast at ") for trial in unmeasured)
    assert runner.loaded == 1 + len(distinct) - len(unmeasured)


class TestFarFromForecast:
    def test_is_measured_twice_more_and_the_middle_one_counts(
        self, sqlite_url: str, store: Store
    ) -> None:
        """A device that lies once, in the forty-first measurement."""
        latency = fakes.latency()
        latency.measure = _Liar(lies_at=41)
        trials = run(small_spec(sqlite_url, trials=TRIALS), store, latency)
        ((digest, count),) = [item for item in Counter(latency.asked).items() if item[1] > 1]
        assert count == 3
        (doubted,) = [each for each in trials if each.model and each.model.hash == digest]
        assert doubted.values["decode"] == pytest.approx(decode_ms(doubted, store))
        measured = store.evaluations(doubted)["latency"].measurements
        assert [_ms(each) for each in measured] == pytest.approx(
            [decode_ms(doubted, store) * factor for factor in (1.5, 1, 1)], rel=1e-3
        )

    def test_stays_so_where_it_is_the_truth(self, sqlite_url: str, store: Store) -> None:
        """No forecast pulls a measurement its way: three that agree are believed."""
        latency = fakes.latency()
        latency.measure = liar = _Liar(lies_at=41, about_one_for_ever=True)
        trials = run(small_spec(sqlite_url, trials=TRIALS), store, latency)
        (odd,) = [each for each in trials if each.model and each.model.hash == liar.victim]
        assert odd.values["decode"] == pytest.approx(1.5 * decode_ms(odd, store))


class _Counting(FakeRunner):
    loaded = 0

    @contextlib.contextmanager
    def load(self, model: Path, capacity: int) -> Iterator[LoadedModel]:
        self.loaded += 1
        with super().load(model, capacity) as loaded:
            yield loaded


class _Liar:
    """Its n-th measurement is half too long."""

    def __init__(self, lies_at: int, *, about_one_for_ever: bool = False) -> None:
        self.victim = ""
        self._lies_at = lies_at
        self._for_ever = about_one_for_ever
        self._count = 0

    def __call__(self, architecture: Architecture, report: Report) -> Evaluation:
        self._count += 1
        digest = architecture_hash(architecture)
        if self._count == self._lies_at:
            self.victim = digest
        lies = self._count == self._lies_at or (self._for_ever and digest == self.victim)
        return _slower(fakes.latency().measure(architecture, report), 1.5 if lies else 1.0)


def _capricious(architecture: Architecture, report: Report) -> Evaluation:
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
