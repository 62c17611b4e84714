"""The only door to the database: dataclasses in, dataclasses out."""

import contextlib
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa

from evaluators.evaluator import Evaluation, FailureKind, Progress
from search_space.architecture import Architecture
from search_space.strict import parse_json
from studies.records import (
    END_STATES,
    TRANSIENT_FAILURES,
    Evidence,
    Outcome,
    Point,
    ReferenceTime,
    Repeat,
    RepeatRun,
    StageRun,
    Study,
    Trial,
    TrialKind,
    TrialState,
)
from studies.storage import claims, repeats
from studies.storage.database import Database, open_database, open_to_read
from studies.storage.evidence import read_evidence, read_reference_times
from studies.storage.memory import EvaluationMemory, curve_text, keep_architecture, read_evaluation
from studies.storage.schema import ARCHITECTURES, REJECTIONS, REPEATS, STAGES, STUDIES, TRIALS
from studies.storage.trials import read_points, read_trial, read_trials

if TYPE_CHECKING:
    from optuna.storages import RDBStorage


class Store:
    """Studies, their trials, and a memory of every evaluation, in one database.

    Every method is one transaction. Those that change a running trial raise claims.TrialTaken if
    this process does not own it any more.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._memory = EvaluationMemory(database=database)
        self._optuna: RDBStorage | None = None

    @classmethod
    def open(cls, url: str, *, create: bool = True) -> Self:
        """See `open_database`."""
        return cls(open_database(url, create=create))

    @classmethod
    def open_to_read(cls, url: str) -> Self:
        """See `database.open_to_read`."""
        return cls(open_to_read(url))

    def close(self) -> None:
        if self._optuna is not None:
            self._optuna.remove_session()
            self._optuna.engine.dispose()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def optuna_storage(self) -> "RDBStorage":
        """Optuna's storage in the same database."""
        if self._optuna is None:
            self._optuna = self._database.optuna_storage()
        return self._optuna

    def recall(self, fingerprint: str, architecture: Architecture) -> Evaluation | None:
        """See evaluators.cache.Memory."""
        return self._memory.recall(fingerprint, architecture)

    def remember(
        self, fingerprint: str, architecture: Architecture, evaluation: Evaluation
    ) -> None:
        """See evaluators.cache.Memory."""
        self._memory.remember(fingerprint, architecture, evaluation)

    def add_study(self, name: str, spec: str) -> Study:
        """The study of that name, which is begun with this specification unless it is there."""
        with self._database.write() as connection:
            self._database.insert_new(
                connection, STUDIES, name=name, spec=spec, created_at=datetime.now(UTC)
            )
            row = connection.execute(sa.select(STUDIES).where(STUDIES.c.name == name)).one()
        return _read_study(row)

    def update_spec(self, name: str, spec: str) -> None:
        """For changes after which it remains the same study."""
        with self._database.write() as connection:
            connection.execute(STUDIES.update().where(STUDIES.c.name == name).values(spec=spec))

    def studies(self) -> tuple[Study, ...]:
        """In the order in which they were begun."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(STUDIES).order_by(STUDIES.c.id)).all()
        return tuple(_read_study(row) for row in rows)

    def study(self, name: str) -> Study:
        """ValueError for a name that there is not."""
        found = {study.name: study for study in self.studies()}
        if name not in found:
            known = ", ".join(found) or "no study"
            raise ValueError(
                f"study: '{name}' is not in this database, which holds {known}; nas run begins one"
            )
        return found[name]

    def forget_study(self, name: str) -> None:
        """Removes a study and its trials, Optuna's too; evaluations stay remembered."""
        storage = self.optuna_storage()
        with contextlib.suppress(KeyError):
            storage.delete_study(storage.get_study_id_from_name(name))
        with self._database.write() as connection:
            study = _study_id(connection, name)
            trials = sa.select(TRIALS.c.id).where(TRIALS.c.study == study)
            connection.execute(STAGES.delete().where(STAGES.c.trial.in_(trials)))
            connection.execute(REPEATS.delete().where(REPEATS.c.trial.in_(trials)))
            connection.execute(TRIALS.delete().where(TRIALS.c.study == study))
            connection.execute(REJECTIONS.delete().where(REJECTIONS.c.study == study))
            connection.execute(STUDIES.delete().where(STUDIES.c.id == study))

    def rejections(self, study: str) -> Mapping[str, int]:
        """How many draws each rule of the space refused."""
        with self._database.read() as connection:
            chosen = REJECTIONS.c.study == _study_id(connection, study)
            rows = connection.execute(sa.select(REJECTIONS).where(chosen)).all()
        return {row.rule: row.draws for row in rows}

    def architecture(self, digest: str) -> Architecture:
        """The architecture of that hash, which a trial or an evaluation has named."""
        with self._database.read() as connection:
            chosen = ARCHITECTURES.c.hash == digest
            text = connection.scalars(sa.select(ARCHITECTURES.c.json).where(chosen)).one()
        return parse_json(Architecture, text, digest)

    def trials(
        self, study: str, kind: TrialKind = "candidate", numbers: Collection[int] | None = None
    ) -> tuple[Trial, ...]:
        """Those of these numbers, or all, in the order of their numbers."""
        with self._database.read() as connection:
            where = (TRIALS.c.study == _study_id(connection, study)) & (TRIALS.c.kind == kind)
            if numbers is not None:
                where &= TRIALS.c.number.in_(numbers)
            return read_trials(connection, where)

    def trials_since(
        self, study: str, last: int, open_trials: Collection[int]
    ) -> tuple[Trial, ...]:
        """The trials of either kind whose ids are above `last` or among `open_trials`."""
        with self._database.read() as connection:
            return read_trials(connection, _since(connection, study, last, open_trials))

    def evidence_since(
        self, study: str, last: int, open_trials: Collection[int]
    ) -> Mapping[int, Evidence]:
        """How they were timed, by their ids."""
        with self._database.read() as connection:
            return read_evidence(connection, _since(connection, study, last, open_trials))

    def reference_times(self, trials: Collection[int]) -> tuple[ReferenceTime, ...]:
        """Beside the trials of these ids, in the order of time; reads every sample of them."""
        with self._database.read() as connection:
            return read_reference_times(connection, trials)

    def architecture_texts(
        self, study: str, last: int, open_trials: Collection[int]
    ) -> Mapping[str, str]:
        """The canonical texts of their architectures, by hash."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(ARCHITECTURES.c.hash, ARCHITECTURES.c.json)
                .join(TRIALS)
                .where(_since(connection, study, last, open_trials))
                .distinct()
            ).all()
        return {row.hash: row.json for row in rows}

    def points(
        self, study: str, states: Collection[TrialState], scores: Collection[str]
    ) -> tuple[Point, ...]:
        """The candidates in one of these states that are no duplicates, by number."""
        with self._database.read() as connection:
            chosen = (
                (TRIALS.c.study == _study_id(connection, study))
                & (TRIALS.c.kind == "candidate")
                & TRIALS.c.state.in_(states)
                & TRIALS.c.duplicate_of.is_(None)
            )
            return read_points(connection, chosen, scores)

    def numbers(self, study: str, states: Collection[TrialState]) -> tuple[int, ...]:
        """The numbers of the candidates in one of these states."""
        with self._database.read() as connection:
            rows = connection.scalars(
                sa.select(TRIALS.c.number)
                .where(TRIALS.c.study == _study_id(connection, study))
                .where(TRIALS.c.kind == "candidate", TRIALS.c.state.in_(states))
                .order_by(TRIALS.c.number)
            )
            return tuple(rows)

    def evaluations(self, trial: Trial) -> dict[str, Evaluation]:
        """What the trial's finished stages found out, samples and all, by stage."""
        found: dict[str, Evaluation] = {}
        with self._database.read() as connection:
            for run in trial.stages:
                assert trial.model is not None
                evaluation = read_evaluation(connection, run.fingerprint, trial.model.hash)
                if evaluation is not None:
                    found[run.stage] = evaluation
        return found

    def twin(self, trial: Trial) -> Trial | None:
        """Another candidate of the study with this architecture, whose outcome stands for both.

        A failure that may have been the device's is none.
        """
        assert trial.model is not None
        with self._database.read() as connection:
            study = _study_id(connection, trial.study)
            found = read_trials(
                connection,
                (TRIALS.c.study == study)
                & (TRIALS.c.kind == "candidate")
                & (TRIALS.c.architecture == trial.model.hash)
                & (TRIALS.c.state.in_(END_STATES))
                & TRIALS.c.duplicate_of.is_(None)
                & (TRIALS.c.failure.is_(None) | TRIALS.c.failure.not_in(TRANSIENT_FAILURES)),
            )
        return found[0] if found else None

    def claim(self, study: str, *, wanted: int) -> Trial | None:
        """The candidate that this process works on next; None once `wanted` are ended or running.

        An interrupted one comes first, its architecture drawn already. A trial whose process died
        is interrupted; after several deaths in one stage it has failed.
        """
        with self._database.write() as connection:
            study_id = _study_id(connection, study, lock=True)
            claims.release_dead(connection, study_id)
            candidates = (TRIALS.c.study == study_id) & (TRIALS.c.kind == "candidate")
            states = connection.execute(
                sa.select(TRIALS.c.id, TRIALS.c.state).where(candidates).order_by(TRIALS.c.number)
            ).all()
            interrupted = [row.id for row in states if row.state == "interrupted"]
            if len(states) - len(interrupted) >= wanted:
                return None
            if interrupted:
                return claims.take_up(connection, interrupted[0])
            return claims.reserve(connection, study_id, "candidate")

    def claim_reference(self, study: str, name: str) -> Trial | None:
        """The trial of a reference model; None if it is ended or another process works on it.

        One that failed for a reason that may have been the device's is tried again.
        """
        with self._database.write() as connection:
            study_id = _study_id(connection, study, lock=True)
            claims.release_dead(connection, study_id)
            row = connection.execute(
                sa.select(TRIALS.c.id, TRIALS.c.state, TRIALS.c.failure).where(
                    TRIALS.c.study == study_id, TRIALS.c.reference == name
                )
            ).one_or_none()
            if row is None:
                return claims.reserve(connection, study_id, "reference", name)
            if row.state == "interrupted" or row.failure in TRANSIENT_FAILURES:
                return claims.take_up(connection, row.id)
            return None

    def begin(
        self,
        trial: Trial,
        architecture: Architecture,
        *,
        optuna_number: int | None = None,
        rejections: Mapping[str, int] | None = None,
    ) -> Trial:
        """Notes what a claimed trial evaluates, and the draws that rules refused before it."""
        with self._database.write() as connection:
            digest = keep_architecture(self._database, connection, architecture)
            claims.change(connection, trial, architecture=digest, optuna_number=optuna_number)
            for rule, draws in (rejections or {}).items():
                self._count_rejections(connection, trial, rule, draws)
            return read_trial(connection, trial.id)

    def enter(self, trial: Trial, stage: str) -> None:
        """The trial is at this stage now."""
        with self._database.write() as connection:
            claims.change(connection, trial, stage=stage, progress=0.0, progress_text="")

    def report(self, trial: Trial, progress: Progress) -> None:
        """How far the stage is, for those who watch from elsewhere; also a sign of life."""
        with self._database.write() as connection:
            claims.change(connection, trial, progress=progress.done, progress_text=progress.text)

    def leave(self, trial: Trial, run: StageRun, *, finished: bool) -> None:
        """Adds what a stage took; `finished` if its evaluation is remembered."""
        with self._database.write() as connection:
            here = (STAGES.c.trial == trial.id) & (STAGES.c.stage == run.stage)
            again = STAGES.update().where(here)
            again = again.values(
                fingerprint=run.fingerprint, seconds=STAGES.c.seconds + run.seconds
            )
            if connection.execute(again).rowcount:
                claims.change(connection, trial)
                return
            before = sa.select(sa.func.count()).where(STAGES.c.trial == trial.id)
            connection.execute(
                STAGES.insert().values(
                    trial=trial.id,
                    position=connection.scalar(before),
                    stage=run.stage,
                    fingerprint=run.fingerprint,
                    seconds=run.seconds,
                )
            )
            # Only a stage's first end is progress: when a trial is taken up again, the stages that
            # were finished are remembered, and the one that kills the process is still ahead.
            claims.change(connection, trial, **({"deaths": 0} if finished else {}))

    def end(self, trial: Trial, outcome: Outcome, *, twin: Trial | None = None) -> Trial:
        """Ends a trial; `twin` is the earlier one whose stages, and so whose scores, it shares."""
        with self._database.write() as connection:
            claims.change(
                connection,
                trial,
                state=outcome.state,
                stage=outcome.stage,
                failure=outcome.failure,
                reason=outcome.reason,
                curve=curve_text(outcome.curve),
                estimated_loss=outcome.estimated_loss,
                duplicate_of=None if twin is None else twin.number,
                progress=None,
                progress_text=None,
                ended_at=datetime.now(UTC),
            )
            if twin is not None:
                shared = sa.select(
                    sa.literal(trial.id),
                    STAGES.c.position,
                    STAGES.c.stage,
                    STAGES.c.fingerprint,
                    sa.literal(0.0),
                ).where(STAGES.c.trial == twin.id)
                connection.execute(STAGES.delete().where(STAGES.c.trial == trial.id))
                connection.execute(STAGES.insert().from_select(list(STAGES.c), shared))
            return read_trial(connection, trial.id)

    def interrupt(self, trial: Trial) -> None:
        """Leaves a trial for later; one that has no architecture yet is as if it never was."""
        with self._database.write() as connection:
            claims.change(connection, trial)
            claims.release(connection, trial)

    def repeats(self, study: str) -> tuple[RepeatRun, ...]:
        """What was trained or timed once more; see `read_repeats`."""
        with self._database.read() as connection:
            return repeats.read_repeats(connection, _study_id(connection, study))

    def claim_repeat(self, repeat: Repeat) -> bool:
        """Whether this process is the one to carry it out; see `repeats.claim`."""
        with self._database.write() as connection:
            return repeats.claim(self._database, connection, repeat)

    def give_sign(self, repeat: Repeat) -> None:
        with self._database.write() as connection:
            repeats.give_sign(connection, repeat)

    def end_repeat(
        self,
        repeat: Repeat,
        *,
        seconds: float,
        failure: FailureKind | None = None,
        reason: str | None = None,
    ) -> None:
        """What it found is remembered under its fingerprint, unless it failed."""
        with self._database.write() as connection:
            repeats.end(connection, repeat, seconds=seconds, failure=failure, reason=reason)

    def give_up_repeat(self, repeat: Repeat) -> None:
        """For another time."""
        with self._database.write() as connection:
            repeats.give_up(connection, repeat)

    def _count_rejections(
        self, connection: sa.Connection, trial: Trial, rule: str, draws: int
    ) -> None:
        study = _study_id(connection, trial.study)
        self._database.insert_new(connection, REJECTIONS, study=study, rule=rule, draws=0)
        connection.execute(
            REJECTIONS.update()
            .where(REJECTIONS.c.study == study, REJECTIONS.c.rule == rule)
            .values(draws=REJECTIONS.c.draws + draws)
        )


def _read_study(row: sa.Row[Any]) -> Study:
    return Study(name=row.name, spec=row.spec, created_at=row.created_at)


def _study_id(connection: sa.Connection, name: str, *, lock: bool = False) -> int:
    """lock: until this transaction ends, others that want the lock wait (SQLite: always so)."""
    select = sa.select(STUDIES.c.id).where(STUDIES.c.name == name)
    found = connection.scalar(select.with_for_update() if lock else select)
    if found is None:
        raise ValueError(f"study: '{name}' is not in this database")
    return int(found)


def _since(
    connection: sa.Connection, study: str, last: int, open_trials: Collection[int]
) -> sa.ColumnElement[bool]:
    newer = (TRIALS.c.id > last) | TRIALS.c.id.in_(open_trials)
    return (TRIALS.c.study == _study_id(connection, study)) & newer
