"""The contract of a Store, tested with every kind of database."""

import itertools
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from evaluators.evaluator import CurvePoint, Evaluation, Progress, Score
from hardware.measurement import Disturbance, Measurement, parse_workload
from hardware.memory_kills import KillCounts
from search_space.architecture import Architecture, Layer, architecture_hash
from search_space.preset_models import PRESETS, preset
from studies import owner as owners
from studies.records import Outcome, StageRun, Trial
from studies.storage import signs_of_life
from studies.storage.claims import TrialTaken
from studies.storage.schema import PROCESSES
from studies.storage.store import Store
from tests.studies.fakes import ENVIRONMENT

_COMPLETE = Outcome(state="complete")
_NO_ATTENTION = preset("lfm2-350m-all-conv")
_ONLY_ATTENTION = preset("lfm2-350m-all-attention")
_ONE_LAYER = Architecture(
    vocab_size=256,
    width=64,
    embedding_width=32,
    layers=(Layer(mixer=None, feed_forward_width=64),),
)

_MEASUREMENT = Measurement(
    workload=parse_workload("tg128@1024"),
    runtime="onnxruntime",
    threads=2,
    cores=(),
    samples_ns=tuple(range(20_000_000, 20_000_128)),
    warmup_ns=(2**40,),
    load_ns=2**41,
    peak_memory_bytes=2**42,
    environment=ENVIRONMENT,
)
# Measurements as evaluators make them now, interleaved with references of different sizes;
# `_MEASUREMENT` is one that an earlier release stored.
_REFERENCE = replace(
    _MEASUREMENT,
    samples_ns=(2**50, 1),
    window=1,
    empty_memory_bytes=2**33,
    loaded_memory_bytes=2**34,
    model_bytes=2**35,
    environment_after=replace(ENVIRONMENT, load_1min=1.75),
    disturbance=Disturbance(steal=0.1 + 0.2, beside=1e-300, elsewhere=1.5, waited_s=60.0),
    waited_ns=(2**49, 0),
    measured_at=2e9 + 1 / 3,
)
_PAIRED = replace(_REFERENCE, window=2, model_bytes=7, disturbance=None, reference=_REFERENCE)
_EVALUATION = Evaluation(
    scores=(
        Score(name="decode", value=0.1 + 0.2, unit="ms", low=1e-300, high=1e300),
        Score(name="memory", value=4.0, unit="MB", provisional=True),
    ),
    seconds=1 / 3,
    measurements=(
        _PAIRED,
        replace(_MEASUREMENT, workload=parse_workload("pp512")),
        replace(_PAIRED, workload=parse_workload("tg1"), reference=replace(_REFERENCE, window=3)),
        replace(_PAIRED, reference=replace(_REFERENCE, reference=_MEASUREMENT)),
    ),
    curve=(CurvePoint(tokens=1, loss=float("inf")), CurvePoint(tokens=2**40, loss=2.0)),
)


@pytest.fixture
def ghost(monkeypatch: pytest.MonkeyPatch) -> "Ghost":
    return Ghost(monkeypatch)


class Ghost:
    """Claims trials on behalf of a process that is dead when another one checks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def claim(self, store: Store, *, host: str | None = None, total: int = 10) -> Trial:
        with self.in_person(host=host):
            trial = _claim(store, total)
            return store.begin(trial, _NO_ATTENTION, optuna_number=0)

    @contextmanager
    def in_person(self, *, host: str | None = None) -> Iterator[None]:
        here = owners.this_process()
        token = secrets.token_hex(8)
        ghost = (
            replace(here, token=token, pid=2**22 + 1)
            if host is None
            else replace(here, token=token, host=host, boot="another")
        )
        with self._monkeypatch.context() as patch:
            patch.setattr("studies.storage.signs_of_life.this_process", lambda: ghost)
            yield


def _claim(store: Store, total: int = 10) -> Trial:
    trial = store.claim("ours", total=total)
    assert trial is not None
    return trial


class TestEvaluations:
    """A store is an EvaluationCache."""

    @pytest.mark.parametrize(
        "architecture", [*PRESETS.values(), _ONE_LAYER], ids=[*PRESETS, "one layer"]
    )
    def test_a_loaded_evaluation_equals_the_saved_one(
        self, store: Store, architecture: Architecture
    ) -> None:
        store.save_evaluation("device 1", architecture, _EVALUATION)
        assert store.load_evaluation("device 1", architecture) == _EVALUATION
        assert store.architecture(architecture_hash(architecture)) == architecture

    def test_other_evaluators_and_other_architectures_have_no_entry(self, store: Store) -> None:
        store.save_evaluation("device 1", _NO_ATTENTION, _EVALUATION)
        assert store.load_evaluation("device 2", _NO_ATTENTION) is None
        assert store.load_evaluation("device 1", _ONLY_ATTENTION) is None

    def test_the_first_of_two_evaluations_is_kept(self, store: Store) -> None:
        store.save_evaluation("device 1", _NO_ATTENTION, _EVALUATION)
        store.save_evaluation("device 1", _NO_ATTENTION, replace(_EVALUATION, seconds=9.0))
        assert store.load_evaluation("device 1", _NO_ATTENTION) == _EVALUATION

    def test_an_evaluation_without_evidence(self, store: Store) -> None:
        bare = Evaluation(scores=(), seconds=0.0)
        store.save_evaluation("costs", _NO_ATTENTION, bare)
        assert store.load_evaluation("costs", _NO_ATTENTION) == bare

    def test_another_process_reads_it(self, store: Store, url: str) -> None:
        store.save_evaluation("device 1", _NO_ATTENTION, _EVALUATION)
        with Store.open(url) as other:
            assert other.load_evaluation("device 1", _NO_ATTENTION) == _EVALUATION


class TestStudies:
    def test_the_first_specification_of_a_name_stays(self, store: Store) -> None:
        assert store.add_study("theirs", "{1}").spec == "{1}"
        assert store.add_study("theirs", "{2}").spec == "{1}"
        assert [study.name for study in store.studies()] == ["ours", "theirs"]

    def test_an_unknown_study_is_an_error(self, store: Store) -> None:
        with pytest.raises(ValueError, match=r"study: 'thiers' is not .* holds ours"):
            store.study("thiers")
        with pytest.raises(ValueError, match="thiers"):
            store.trials("thiers")

    def test_deleting_a_study_keeps_its_evaluations(self, store: Store) -> None:
        store.optuna_storage().create_new_study([], "ours")
        trial = store.begin(_claim(store), _NO_ATTENTION, rejections={"parameters": 2})
        store.save_evaluation("device 1", _NO_ATTENTION, _EVALUATION)
        run = StageRun(stage="latency", fingerprint="device 1", seconds=1.0)
        store.leave(trial, run, finished=True)
        store.end(trial, _COMPLETE)
        store.delete_study("ours")
        assert store.studies() == ()
        assert store.optuna_storage().get_all_studies() == []
        assert store.load_evaluation("device 1", _NO_ATTENTION) == _EVALUATION

    def test_the_settled_values_of_one_evaluator_are_found(self, store: Store) -> None:
        settled = Score(name="decode", value=2.0, unit="ms")
        waiting = replace(settled, provisional=True)
        other = replace(settled, name="prefill", value=9.0)
        for fingerprint, architecture, scores in (
            ("device 1", _NO_ATTENTION, (other, settled)),
            ("device 1", _ONE_LAYER, (waiting, other)),
            ("device 2", _ONE_LAYER, (settled,)),
        ):
            evaluation = Evaluation(scores=scores, seconds=1.0)
            store.save_evaluation(fingerprint, architecture, evaluation)
        first, second = map(architecture_hash, (_NO_ATTENTION, _ONE_LAYER))
        assert store.settled_values("device 1", "decode") == {first: 2.0}
        assert store.settled_values("device 1", "prefill") == {first: 9.0, second: 9.0}
        assert store.settled_values("device 2", "decode") == {second: 2.0}
        assert store.settled_values("device 3", "decode") == {}


class TestTrials:
    def test_a_trial_is_stored_with_its_stages_and_scores(self, store: Store) -> None:
        claimed = _claim(store)
        assert (claimed.number, claimed.state, claimed.model) == (0, "running", None)
        trial = store.begin(claimed, _NO_ATTENTION, optuna_number=3, predicted_latency=2.5)
        store.enter(trial, "latency")
        store.report(trial, Progress(done=0.5, text="half"))
        (watched,) = store.trials("ours")
        assert (watched.stage, watched.progress) == ("latency", Progress(done=0.5, text="half"))

        store.save_evaluation("device 1", _NO_ATTENTION, _EVALUATION)
        run = StageRun(stage="latency", fingerprint="device 1", seconds=2.5)
        store.leave(trial, run, finished=True)
        ended = store.end(trial, _COMPLETE)
        assert (ended.state, ended.outcome, ended.progress) == ("complete", _COMPLETE, None)
        assert (ended.optuna_number, ended.predicted_latency) == (3, 2.5)
        assert ended.model is not None
        assert (ended.model.hash, ended.model.layout, ended.model.parameters) == (
            architecture_hash(_NO_ATTENTION),
            "c" * 16,
            360_793_088,
        )
        assert (ended.stages, ended.scores, ended.curve) == (
            (run,),
            _EVALUATION.scores,
            _EVALUATION.curve,
        )
        assert store.evaluations(ended) == {"latency": _EVALUATION}
        assert ended.ended_at is not None
        assert datetime.now(UTC) - ended.ended_at < timedelta(minutes=1)
        assert store.trials("ours") == (ended,)

    @pytest.mark.parametrize(
        "outcome",
        [
            Outcome(state="infeasible", stage="costs", reason="memory: 9 MB is above 8 MB"),
            Outcome(
                state="stopped",
                stage="training",
                reason="behind",
                curve=(CurvePoint(tokens=8, loss=3.0),),
                estimated_loss=2.5,
            ),
            Outcome(
                state="failed",
                stage="training",
                reason="loss is nan",
                failure="diverged",
                curve=(CurvePoint(tokens=8, loss=float("inf")),),
            ),
        ],
        ids=lambda outcome: outcome.state,
    )
    def test_every_outcome_is_stored_with_its_reason(self, store: Store, outcome: Outcome) -> None:
        ended = store.end(store.begin(_claim(store), _ONE_LAYER), outcome)
        assert ended.outcome == outcome
        assert ended.state == outcome.state
        assert ended.curve == outcome.curve

    def test_numbers_count_from_zero_in_each_study_and_kind(self, store: Store) -> None:
        store.add_study("theirs", "{}")
        assert [_claim(store).number for _ in range(3)] == [0, 1, 2]
        other = store.claim("theirs", total=1)
        reference = store.claim_reference("ours", "lfm2-350m")
        assert other is not None
        assert reference is not None
        assert (other.number, reference.number) == (0, 0)

    def test_attempts_at_a_stage_add_up(self, store: Store) -> None:
        trial = store.begin(_claim(store), _NO_ATTENTION)
        for stage, seconds in (("costs", 1.0), ("training", 2.0), ("costs", 4.0)):
            run = StageRun(stage=stage, fingerprint=stage, seconds=seconds)
            store.leave(trial, run, finished=True)
        (found,) = store.trials("ours")
        assert [(run.stage, run.seconds) for run in found.stages] == [
            ("costs", 5.0),
            ("training", 2.0),
        ]

    def test_a_duplicate_shares_the_outcome_and_the_scores_at_no_cost(self, store: Store) -> None:
        first = store.begin(_claim(store), _NO_ATTENTION)
        store.save_evaluation("device 1", _NO_ATTENTION, _EVALUATION)
        run = StageRun(stage="latency", fingerprint="device 1", seconds=2.5)
        store.leave(first, run, finished=True)
        first = store.end(first, _COMPLETE)

        second = store.begin(_claim(store), _NO_ATTENTION)
        assert store.earlier_duplicate(second) == first
        duplicate = store.end(second, _COMPLETE, earlier_duplicate=first)
        assert (duplicate.state, duplicate.duplicate_of) == ("complete", 0)
        assert duplicate.scores == first.scores
        assert duplicate.stages == (replace(run, seconds=0.0),)
        third = store.begin(_claim(store), _NO_ATTENTION)
        assert store.earlier_duplicate(third) == first

    def test_running_trials_references_and_device_failures_are_no_earlier_duplicates(
        self, store: Store
    ) -> None:
        reference = store.claim_reference("ours", "lfm2-350m-all-conv")
        assert reference is not None
        store.end(store.begin(reference, _NO_ATTENTION), _COMPLETE)
        store.begin(_claim(store), _NO_ATTENTION)
        lost = Outcome(state="failed", stage="latency", reason="gone", failure="device lost")
        store.end(store.begin(_claim(store), _NO_ATTENTION), lost)
        assert store.earlier_duplicate(store.begin(_claim(store), _NO_ATTENTION)) is None
        broken = replace(lost, failure="diverged")
        store.end(store.begin(_claim(store), _ONE_LAYER), broken)
        assert store.earlier_duplicate(store.begin(_claim(store), _ONE_LAYER)) is not None

    def test_rejected_draws_are_counted_by_rule(self, store: Store) -> None:
        store.begin(_claim(store), _NO_ATTENTION, rejections={"parameters": 2})
        store.begin(_claim(store), _ONE_LAYER, rejections={"parameters": 1, "weight_mb": 4})
        assert store.rejections("ours") == {"parameters": 3, "weight_mb": 4}


class TestClaims:
    def test_no_more_than_the_total_are_ended_or_running(self, store: Store) -> None:
        trials = [store.begin(_claim(store, total=2), _NO_ATTENTION) for _ in range(2)]
        assert store.claim("ours", total=2) is None
        store.end(trials[0], _COMPLETE)
        assert store.claim("ours", total=2) is None
        store.interrupt(trials[1])
        assert _claim(store, total=2).number == 1

    def test_an_interrupted_trial_is_resumed_first_and_unchanged(self, store: Store) -> None:
        interrupted = store.begin(
            _claim(store), _NO_ATTENTION, optuna_number=7, predicted_latency=1.5
        )
        store.begin(_claim(store), _ONE_LAYER)
        store.interrupt(interrupted)
        assert store.trials("ours")[0].state == "interrupted"
        resumed = _claim(store)
        assert (resumed.number, resumed.model, resumed.optuna_number) == (0, interrupted.model, 7)
        assert resumed.predicted_latency == 1.5
        assert _claim(store).number == 2

    def test_an_interrupted_trial_without_an_architecture_is_deleted(self, store: Store) -> None:
        store.interrupt(_claim(store))
        assert store.trials("ours") == ()

    def test_the_number_of_a_deleted_trial_is_reused(self, store: Store) -> None:
        first, second = _claim(store), _claim(store)
        store.begin(second, _NO_ATTENTION)
        store.interrupt(first)
        assert [_claim(store).number for _ in range(2)] == [0, 2]

    def test_a_dead_processs_trial_is_taken_over(self, store: Store, ghost: Ghost) -> None:
        ghost.claim(store)
        taken = _claim(store, total=1)
        assert (taken.number, taken.owner) == (0, owners.this_process())

    def test_a_process_of_another_host_is_lost_after_a_minute_without_a_sign_of_life(
        self, store: Store, ghost: Ghost, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        theirs = ghost.claim(store, host="elsewhere")
        signs, now = store._database.signs_of_life, 0.0
        monkeypatch.setattr(signs, "_clock", lambda: now)
        assert _claim(store).number == 1
        now = 59.0
        assert theirs.owner is not None
        with store._database.write() as connection:
            connection.execute(PROCESSES.update().values(beats=PROCESSES.c.beats + 1))
        assert _claim(store).number == 2
        now = 118.0
        assert _claim(store).number == 3
        now = 120.0
        assert _claim(store, total=4).number == 0
        # Those of this process, which is alive, stay with it however late it is.
        assert store.claim("ours", total=4) is None

    def test_trials_whose_process_was_killed_come_last(self, store: Store, ghost: Ghost) -> None:
        ghost.claim(store)
        interrupted = store.begin(_claim(store), _ONE_LAYER)
        store.interrupt(interrupted)
        assert [_claim(store, total=3).number for _ in range(3)] == [1, 2, 0]

    @pytest.mark.parametrize(
        ("machine", "group", "group_id", "most"),
        [
            (lambda _: 5, None, None, 8),
            (lambda reading: reading, None, None, 3),
            (lambda _: None, None, None, 8),
            # The kernel kills in another container only, and then in this one.
            (lambda reading: reading, lambda _: 2, lambda _: "7", 8),
            (lambda reading: reading, lambda reading: reading, lambda _: "7", 3),
            # The dead process was in another group, whose counter this one cannot read.
            (lambda _: 5, lambda reading: reading, str, 8),
            (lambda reading: reading, lambda _: 2, str, 3),
        ],
    )
    def test_a_trial_whose_process_dies_repeatedly_has_failed(
        self,
        store: Store,
        ghost: Ghost,
        monkeypatch: pytest.MonkeyPatch,
        machine: Callable[[int], int | None],
        group: Callable[[int], int] | None,
        group_id: Callable[[int], str] | None,
        most: int,
    ) -> None:
        """Fewer deaths suffice if the kernel was out of memory than if somebody killed it."""
        readings = itertools.count()

        def read_kill_counts() -> KillCounts:
            reading = next(readings)
            return KillCounts(
                machine=machine(reading),
                group=None if group is None else group(reading),
                group_id=None if group_id is None else group_id(reading),
            )

        monkeypatch.setattr(signs_of_life, "read_kill_counts", read_kill_counts)
        reason = {
            3: "the process died 3 times while the kernel ran out of memory, before its first "
            "stage",
            8: "the process died 8 times before its first stage",
        }[most]
        for _ in range(most):
            assert ghost.claim(store, total=1).number == 0
        assert store.claim("ours", total=1) is None
        outcome = store.trials("ours")[0].outcome
        assert outcome is not None
        assert (outcome.state, outcome.failure) == ("failed", "process died")
        assert outcome.reason == reason

    def test_deaths_before_a_finished_stage_do_not_count(self, store: Store, ghost: Ghost) -> None:
        for _ in range(7):
            ghost.claim(store, total=1)
        trial = _claim(store, total=1)
        run = StageRun(stage="costs", fingerprint="costs 1", seconds=1.0)
        store.enter(trial, "costs")
        store.leave(trial, run, finished=True)
        store.interrupt(trial)
        ghost.claim(store, total=1)
        assert _claim(store, total=1).number == 0

    def test_a_former_owner_may_not_write(self, store: Store, ghost: Ghost) -> None:
        lost = ghost.claim(store)
        _claim(store, total=1)
        for write in (
            lambda: store.enter(lost, "costs"),
            lambda: store.report(lost, Progress(done=0.1, text="")),
            lambda: store.end(lost, _COMPLETE),
            lambda: store.interrupt(lost),
        ):
            with ghost.in_person(), pytest.raises(TrialTaken):
                write()
        assert store.trials("ours")[0].state == "running"

    def test_a_reference_is_evaluated_once(self, store: Store) -> None:
        trial = store.claim_reference("ours", "lfm2-350m")
        assert trial is not None
        assert store.claim_reference("ours", "lfm2-350m") is None
        store.end(store.begin(trial, preset("lfm2-350m")), _COMPLETE)
        assert store.claim_reference("ours", "lfm2-350m") is None
        assert store.claim("ours", total=1) is not None

    def test_a_reference_that_failed_through_the_device_is_retried(self, store: Store) -> None:
        for failure, is_retried in (("device lost", True), ("build error", False)):
            name = f"reference {failure}"
            trial = store.claim_reference("ours", name)
            assert trial is not None
            outcome = Outcome(state="failed", stage="latency", reason="?", failure=failure)
            store.end(store.begin(trial, _ONE_LAYER), outcome)
            assert (store.claim_reference("ours", name) is not None) == is_retried

    def test_concurrent_claims_get_different_trials(self, url: str, store: Store) -> None:
        def claim(worker: int) -> list[int]:
            numbers = []
            with Store.open(url) as other:
                while (trial := other.claim("ours", total=24)) is not None:
                    numbers.append(trial.number)
            return numbers

        with ThreadPoolExecutor(4) as pool:
            claimed = [number for numbers in pool.map(claim, range(4)) for number in numbers]
        assert sorted(claimed) == list(range(24))
