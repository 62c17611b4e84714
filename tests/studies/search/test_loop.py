"""A study from its first trial to its last: resumption, duplicates, references and errors."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from evaluators.evaluator import Evaluation, Report
from search_space.architecture import Architecture, architecture_hash
from search_space.preset_models import preset
from search_space.space.rules import Rules
from studies.analysis import summaries
from studies.records import Trial
from studies.search.events import (
    Event,
    StageEnded,
    StageProgress,
    StageStarted,
    StudyStarted,
    TrialEnded,
    TrialStarted,
)
from studies.search.loop import run_study
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import Constraint, SamplerSettings
from studies.storage.store import Store
from tests.studies import fakes
from tests.studies.fakes import Stages, all_stages, run_with_fakes, small_spec, unlucky


def _uninterrupted(spec: StudySpec, folder: Path) -> list[str]:
    with Store.open(f"sqlite:///{folder}/uninterrupted.db") as store:
        return _draws(run_with_fakes(spec, store))


def _draws(trials: tuple[Trial, ...]) -> list[str]:
    return [trial.model.hash for trial in trials if trial.model is not None]


class Interrupter:
    """A listener that raises an exception at the n-th event of a type."""

    def __init__(self, event_type: type, count: int, error: BaseException) -> None:
        self._event_type = event_type
        self._left = count
        self._error = error

    def __call__(self, event: Event) -> None:
        if isinstance(event, self._event_type):
            self._left -= 1
            if self._left == 0:
                raise self._error


@pytest.mark.parametrize("kind", ["random", "tpe", "nsga2"])
def test_all_requested_trials_end_with_every_score(url: str, kind: str) -> None:
    spec = small_spec(url, sampler=SamplerSettings(kind=kind, startup_trials=4))
    with Store.open(url) as store:
        trials = run_with_fakes(spec, store)
        assert [trial.number for trial in trials] == list(range(6))
        for trial in trials:
            assert trial.state in ("complete", "stopped")
            assert trial.model is not None
            architecture = store.architecture(trial.model.hash)
            assert trial.values["decode"] == fakes.decode_ms(architecture)
            if trial.state == "complete":
                assert trial.values["loss"] == fakes.final_loss(architecture)


def test_a_study_can_be_extended_and_evaluates_nothing_twice(spec: StudySpec, store: Store) -> None:
    first = run_with_fakes(spec, store)
    stages = all_stages()
    assert run_with_fakes(spec, store, stages) == first
    assert [stage.asked for stage in stages] == [[], [], []]
    more = run_with_fakes(spec.model_copy(update={"trials": 8}), store)
    assert more[:6] == first
    assert len(more) == 8
    run_study(spec, evaluators=all_stages(), store=store, trials=9)
    assert len(store.trials(spec.name)) == summaries.status(store, spec.name).total == 9


def test_the_same_seed_draws_the_same_and_another_seed_does_not(
    spec: StudySpec, tmp_path: Path
) -> None:
    drawn = []
    for index, seed in enumerate((1, 1, 2)):
        with Store.open(f"sqlite:///{tmp_path}/{index}.db") as store:
            drawn.append(_draws(run_with_fakes(spec.model_copy(update={"seed": seed}), store)))
    assert drawn[0] == drawn[1]
    assert set(drawn[0]).isdisjoint(drawn[2])


def test_a_study_run_in_parts_equals_one_run_at_once(tmp_path: Path, spec: StudySpec) -> None:
    spec = spec.model_copy(
        update={"sampler": SamplerSettings(kind="tpe", startup_trials=4), "trials": 8}
    )
    with Store.open(f"sqlite:///{tmp_path}/one.db") as store:
        whole = run_with_fakes(spec, store)
    for total in (1, 5, 8):
        with Store.open(f"sqlite:///{tmp_path}/pieces.db") as store:
            run_study(spec, evaluators=all_stages(), store=store, trials=total)
            pieces = store.trials(spec.name)
    assert _draws(pieces) == _draws(whole)
    assert [trial.outcome for trial in pieces] == [trial.outcome for trial in whole]


class TestDuplicates:
    @pytest.fixture
    def spec(self, sqlite_url: str) -> StudySpec:
        """A study of eight architectures, some of which fail and some of which exceed a limit."""
        space = replace(
            small_spec(sqlite_url).space,
            depth=(1,),
            mixers=("c", "a"),
            vocab_size=(1_024,),
            feed_forward=(1.0, 2.0),
        )
        return small_spec(
            sqlite_url,
            space=space,
            trials=30,
            constraints=(Constraint(name="parameters", max=2e6),),
        )

    def test_an_architecture_is_evaluated_once_and_ends_the_same_way(
        self, spec: StudySpec, store: Store
    ) -> None:
        stages = all_stages()
        stages[1].failing = lambda architecture: unlucky(architecture, 0.4)
        trials = run_with_fakes(spec, store, stages)
        assert len(trials) == 30
        for stage in stages:
            assert len(stage.asked) == len(set(stage.asked)) <= 8
        firsts = {trial.number: trial for trial in trials if trial.duplicate_of is None}
        assert len(firsts) == len(set(_draws(trials)))
        assert len({trial.state for trial in trials}) >= 3
        for trial in trials:
            if trial.duplicate_of is not None:
                first = firsts[trial.duplicate_of]
                assert first.number < trial.number
                assert (trial.model, trial.outcome) == (first.model, first.outcome)
                assert trial.scores == first.scores

    def test_a_failure_of_the_device_is_tried_again(self, spec: StudySpec, store: Store) -> None:
        stages = all_stages()
        stages[1].failing = lambda architecture: True
        stages[1].failure = "device lost"
        trials = run_with_fakes(spec, store, stages)
        feasible = [trial for trial in trials if trial.state == "failed"]
        assert len(stages[1].asked) == len(feasible) > len(set(_draws(tuple(feasible))))


def test_architectures_that_this_process_proposed_are_not_read_from_the_store(
    spec: StudySpec, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(Store, "architecture", lambda self, digest: read.append(digest))
    trials = run_with_fakes(spec, store)
    assert len(trials) == spec.trials
    assert read == []


class TestReferences:
    def test_they_come_first_and_run_every_stage_whatever_the_limits(
        self, spec: StudySpec, store: Store
    ) -> None:
        names = ("lfm2-350m", "lfm2-350m-all-conv")
        spec = spec.model_copy(
            update={"references": names, "constraints": (Constraint(name="parameters", max=9e6),)}
        )
        started: list[str | int] = []

        def listen(event: Event) -> None:
            if isinstance(event, TrialStarted):
                started.append(event.trial.reference or event.trial.number)

        run_study(spec, evaluators=all_stages(), store=store, listener=listen)
        assert started[:3] == [*names, 0]
        references = store.trials(spec.name, "reference")
        assert [trial.reference for trial in references] == list(names)
        for trial in references:
            assert trial.state == "complete"
            assert set(trial.values) == {"parameters", "memory", "decode", "loss"}
        assert len(store.trials(spec.name)) == spec.trials

    def test_one_that_fails_stops_nothing(self, spec: StudySpec, store: Store) -> None:
        spec = spec.model_copy(update={"references": ("lfm2-350m",)})
        stages = all_stages()
        reference = architecture_hash(preset("lfm2-350m"))
        stages[1].failing = lambda architecture: architecture_hash(architecture) == reference
        assert len(run_with_fakes(spec, store, stages)) == spec.trials
        (trial,) = store.trials(spec.name, "reference")
        assert trial.state == "failed"


class TestInterruptions:
    @pytest.mark.parametrize(
        ("event_type", "count", "error"),
        [
            (TrialStarted, 3, KeyboardInterrupt()),
            (StageStarted, 8, KeyboardInterrupt()),
            (StageProgress, 30, RuntimeError("a bug")),
            (StageEnded, 9, RuntimeError("a bug")),
        ],
    )
    def test_an_interrupted_trial_is_resumed(
        self,
        spec: StudySpec,
        store: Store,
        tmp_path: Path,
        event_type: type,
        count: int,
        error: BaseException,
    ) -> None:
        with pytest.raises(type(error)):
            run_study(
                spec,
                evaluators=all_stages(),
                store=store,
                listener=Interrupter(event_type, count, error),
            )
        states = Counter(trial.state for trial in store.trials(spec.name))
        assert states["interrupted"] == 1
        assert states["running"] == 0
        resumed = run_with_fakes(spec, store)
        assert _draws(resumed) == _uninterrupted(spec, tmp_path)
        assert {trial.state for trial in resumed} <= {"complete", "stopped"}

    def test_finished_stages_are_not_evaluated_again(self, spec: StudySpec, store: Store) -> None:
        costs, latency, training = all_stages()
        last = Interrupter(StageStarted, 3, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            run_study(spec, evaluators=(costs, latency, training), store=store, listener=last)
        assert (len(costs.asked), len(latency.asked), len(training.asked)) == (1, 1, 0)
        run_with_fakes(spec, store, (costs, latency, training))
        assert len(set(latency.asked)) == len(latency.asked) == spec.trials

    def test_a_stage_is_evaluated_again_if_its_evaluator_has_changed(
        self, spec: StudySpec, store: Store
    ) -> None:
        stages = all_stages()
        with pytest.raises(KeyboardInterrupt):
            run_study(
                spec,
                evaluators=stages,
                store=store,
                listener=Interrupter(StageStarted, 3, KeyboardInterrupt()),
            )
        stages[1].fingerprint = "another device"
        first, *_ = run_with_fakes(spec, store, stages)
        assert len(stages[1].asked) == 1 + spec.trials
        assert [run.fingerprint for run in first.stages][1] == "another device"
        assert set(first.values) == {"parameters", "memory", "decode", "loss"}

    def test_ctrl_c_while_an_evaluator_works(self, spec: StudySpec, store: Store) -> None:
        stages = all_stages()

        def interrupted(architecture: Architecture, report: Report) -> Evaluation:
            raise KeyboardInterrupt

        train, stages[2].measure = stages[2].measure, interrupted
        with pytest.raises(KeyboardInterrupt):
            run_with_fakes(spec, store, stages)
        (trial,) = store.trials(spec.name)
        assert (trial.state, trial.outcome) == ("interrupted", None)
        assert [run.stage for run in trial.stages] == ["costs", "latency", "training"]
        stages[2].measure = train
        assert len(run_with_fakes(spec, store, stages)) == spec.trials

    def test_a_listener_that_raises_at_an_end_loses_nothing(
        self, spec: StudySpec, store: Store
    ) -> None:
        with pytest.raises(RuntimeError):
            run_study(
                spec,
                evaluators=all_stages(),
                store=store,
                listener=Interrupter(TrialEnded, 3, RuntimeError()),
            )
        before = store.trials(spec.name)
        assert len(before) == 3
        assert run_with_fakes(spec, store)[:3] == before


class TestRefusals:
    def test_another_paired_reference(
        self, spec: StudySpec, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """This also applies if the file names none and a later release has a nearer preset."""
        run_with_fakes(spec, store)
        run_with_fakes(spec, store)
        later = {"hybrid-20m": preset("lfm2-2.6b"), "lfm2-700m": preset("lfm2-700m")}
        monkeypatch.setattr("studies.spec.reference_models.PRESETS", later)
        with pytest.raises(ValueError, match="'hybrid-20m' in the study, 'lfm2-700m' in the file"):
            run_with_fakes(spec, store)

    def test_another_spec_under_the_same_name(self, spec: StudySpec, store: Store) -> None:
        before = run_with_fakes(spec, store)
        changed = spec.model_copy(
            update={"seed": 9, "proxy": spec.proxy.model_copy(update={"token_budget": 50_000})}
        )
        with pytest.raises(ValueError, match="started with other settings") as caught:
            run_with_fakes(changed, store)
        assert "seed: 0 in the study, 9 in the file" in str(caught.value)
        assert "proxy.token_budget: 40000 in the study, 50000 in the file" in str(caught.value)
        assert store.trials(spec.name) == before

    def test_a_study_of_the_same_name_by_another_program(
        self, spec: StudySpec, store: Store
    ) -> None:
        storage = store.optuna_storage()
        theirs = optuna.create_study(storage=storage, study_name=spec.name)
        theirs.add_trial(optuna.trial.create_trial(value=1.0))
        with pytest.raises(ValueError, match="name: 'small' is a study of another program"):
            run_with_fakes(spec, store)
        assert len(theirs.trials) == 1

    def test_an_objective_that_no_evaluator_produces(self, spec: StudySpec, store: Store) -> None:
        with pytest.raises(
            ValueError, match=r"objectives\[0\].name: 'loss' is not one of parameters, "
        ):
            run_study(spec, evaluators=all_stages()[:2], store=store)
        assert store.studies() == ()

    def test_a_space_whose_rules_reject_every_draw(
        self, spec: StudySpec, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        narrow = replace(spec.space, rules=Rules(weight_mb=(1.0, 1.001)))
        monkeypatch.setattr("studies.search.proposals._MOST_REJECTIONS", 30)
        with pytest.raises(
            ValueError, match=r"^space.rules.weight_mb: .* is not between 1 and 1.001; "
        ):
            run_with_fakes(spec.model_copy(update={"space": narrow}), store)
        assert store.trials(spec.name) == ()

    def test_no_password_is_stored(self, spec: StudySpec, store: Store) -> None:
        secret = "postgresql://me:secret@host/study"
        run_study(
            spec.model_copy(update={"storage": secret, "trials": 1}),
            evaluators=all_stages(),
            store=store,
        )
        assert "secret" not in store.study(spec.name).spec


def test_draws_that_rules_reject_are_not_trials(spec: StudySpec, store: Store) -> None:
    spec = spec.model_copy(
        update={"space": replace(spec.space, rules=Rules(parameters=(2_000_000, 5_000_000)))}
    )
    trials = run_with_fakes(spec, store)
    assert [trial.number for trial in trials] == list(range(6))
    assert all(2e6 <= trial.values["parameters"] <= 5e6 for trial in trials)
    assert store.rejections(spec.name)["parameters"] > 0


def test_the_listener_receives_the_events_in_order(spec: StudySpec, store: Store) -> None:
    events: list[Event] = []
    run_study(spec, evaluators=all_stages(), store=store, listener=events.append, trials=1)
    assert events[0] == StudyStarted(study="small", total=1, ended=0)
    names = [type(event).__name__ for event in events if not isinstance(event, StageProgress)]
    steps = ["StageStarted", "StageEnded"] * 3
    assert names == ["StudyStarted", "TrialStarted", *steps, "TrialEnded"]
    ended = events[-1]
    assert isinstance(ended, TrialEnded)
    assert (ended.trial,) == store.trials("small")
    points = [e.progress.point for e in events if isinstance(e, StageProgress) and e.progress.point]
    assert tuple(points) == ended.trial.curve


def test_several_processes_share_a_study(url: str) -> None:
    spec = small_spec(url, trials=24)
    stages = [all_stages() for _ in range(3)]
    with Store.open(url) as store:
        store.optuna_storage()

    def work(stages: Stages) -> None:
        with Store.open(url) as store:
            run_study(spec, evaluators=stages, store=store)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, stages))
    with Store.open(url) as store:
        trials = store.trials(spec.name)
        assert [trial.number for trial in trials] == list(range(24))
        assert {trial.state for trial in trials} <= {"complete", "stopped"}
        # The seed depends on the number of the trial, so the processes draw different candidates.
        assert len(set(_draws(trials))) > 20
