"""The only door to the database: dataclasses in, dataclasses out."""

import contextlib
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

import sqlalchemy as sa

from evaluators.evaluator import Evaluation, FailureKind, Progress
from search_space.architecture import Architecture
from search_space.strict import parse_json
from studies.records import (
    END_STATES,
    TRANSIENT_FAILURES,
    ConfirmationRun,
    ConfirmationStage,
    Evidence,
    Outcome,
    ReferenceTime,
    ScoredPoint,
    StageRun,
    Study,
    Trial,
    TrialKind,
    TrialState,
)
from studies.storage import claims, confirmation_jobs, running_trials
from studies.storage.database import Database, open_database, open_to_read
from studies.storage.evaluation_cache import DatabaseCache, read_evaluation
from studies.storage.evidence import read_evidence, read_reference_times
from studies.storage.schema import ARCHITECTURES, STUDIES, TRIALS
from studies.storage.studies import (
    begin_study,
    delete_study,
    read_rejections,
    read_studies,
    study_id,
)
from studies.storage.trials import read_points, read_trials

if TYPE_CHECKING:
    from optuna.storages import RDBStorage


class Store:
    """Studies, their trials, and a memory of every evaluation, in one database.

    Every method is one transaction. Those that change a running trial raise claims.TrialTaken if
    this process does not own it any more.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._memory = DatabaseCache(database=database)
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

    def load_evaluation(self, fingerprint: str, architecture: Architecture) -> Evaluation | None:
        """See evaluators.cache.Memory."""
        return self._memory.load_evaluation(fingerprint, architecture)

    def save_evaluation(
        self, fingerprint: str, architecture: Architecture, evaluation: Evaluation
    ) -> None:
        """See evaluators.cache.Memory."""
        self._memory.save_evaluation(fingerprint, architecture, evaluation)

    def add_study(self, name: str, spec: str) -> Study:
        """The study of that name, which is begun with this specification unless it is there."""
        with self._database.write() as connection:
            return begin_study(self._database, connection, name, spec)

    def update_spec(self, name: str, spec: str) -> None:
        """For changes after which it remains the same study."""
        with self._database.write() as connection:
            connection.execute(STUDIES.update().where(STUDIES.c.name == name).values(spec=spec))

    def studies(self) -> tuple[Study, ...]:
        """In the order in which they were begun."""
        with self._database.read() as connection:
            return read_studies(connection)

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
            delete_study(connection, name)

    def rejections(self, study: str) -> Mapping[str, int]:
        """How many draws each rule of the space refused."""
        with self._database.read() as connection:
            return read_rejections(connection, study)

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
            where = (TRIALS.c.study == study_id(connection, study)) & (TRIALS.c.kind == kind)
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
    ) -> tuple[ScoredPoint, ...]:
        """The candidates in one of these states that are no duplicates, by number."""
        with self._database.read() as connection:
            chosen = (
                (TRIALS.c.study == study_id(connection, study))
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
                .where(TRIALS.c.study == study_id(connection, study))
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

    def earlier_duplicate(self, trial: Trial) -> Trial | None:
        """Another candidate of the study with this architecture, whose outcome stands for both.

        A failure that may have been the device's is none.
        """
        assert trial.model is not None
        with self._database.read() as connection:
            study = study_id(connection, trial.study)
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
        """The candidate that this process works on next; see `claims.claim_candidate`."""
        with self._database.write() as connection:
            return claims.claim_candidate(
                connection, study_id(connection, study, lock=True), wanted
            )

    def claim_reference(self, study: str, name: str) -> Trial | None:
        """The trial of a reference model; see `claims.claim_reference`."""
        with self._database.write() as connection:
            return claims.claim_reference(connection, study_id(connection, study, lock=True), name)

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
            return running_trials.begin(
                self._database,
                connection,
                trial,
                architecture,
                optuna_number=optuna_number,
                rejections=rejections or {},
            )

    def enter(self, trial: Trial, stage: str) -> None:
        """The trial is at this stage now."""
        with self._database.write() as connection:
            running_trials.enter(connection, trial, stage)

    def report(self, trial: Trial, progress: Progress) -> None:
        """How far the stage is, for those who watch from elsewhere; also a sign of life."""
        with self._database.write() as connection:
            running_trials.report(connection, trial, progress)

    def leave(self, trial: Trial, run: StageRun, *, finished: bool) -> None:
        """Adds what a stage took; `finished` if its evaluation is remembered."""
        with self._database.write() as connection:
            running_trials.leave(connection, trial, run, finished=finished)

    def end(
        self, trial: Trial, outcome: Outcome, *, earlier_duplicate: Trial | None = None
    ) -> Trial:
        """Ends a trial; `twin` is the earlier one whose stages, and so whose scores, it shares."""
        with self._database.write() as connection:
            return running_trials.end(
                connection, trial, outcome, earlier_duplicate=earlier_duplicate
            )

    def interrupt(self, trial: Trial) -> None:
        """Leaves a trial for later; one that has no architecture yet is as if it never was."""
        with self._database.write() as connection:
            claims.interrupt(connection, trial)

    def repeats(self, study: str) -> tuple[ConfirmationRun, ...]:
        """What was trained or timed once more; see `read_repeats`."""
        with self._database.read() as connection:
            return confirmation_jobs.read_repeats(connection, study_id(connection, study))

    def claim_confirmation(self, repeat: ConfirmationStage) -> bool:
        """Whether this process is the one to carry it out; see `repeats.claim`."""
        with self._database.write() as connection:
            return confirmation_jobs.claim(self._database, connection, repeat)

    def renew_confirmation(self, repeat: ConfirmationStage) -> None:
        with self._database.write() as connection:
            confirmation_jobs.renew_confirmation(connection, repeat)

    def end_confirmation(
        self,
        repeat: ConfirmationStage,
        *,
        seconds: float,
        failure: FailureKind | None = None,
        reason: str | None = None,
    ) -> None:
        """What it found is remembered under its fingerprint, unless it failed."""
        with self._database.write() as connection:
            confirmation_jobs.end(
                connection, repeat, seconds=seconds, failure=failure, reason=reason
            )

    def release_confirmation(self, repeat: ConfirmationStage) -> None:
        """For another time."""
        with self._database.write() as connection:
            confirmation_jobs.give_up(connection, repeat)


def _since(
    connection: sa.Connection, study: str, last: int, open_trials: Collection[int]
) -> sa.ColumnElement[bool]:
    newer = (TRIALS.c.id > last) | TRIALS.c.id.in_(open_trials)
    return (TRIALS.c.study == study_id(connection, study)) & newer
