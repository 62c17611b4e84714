"""The only access to the database of a study: it takes and returns dataclasses."""

import contextlib
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

import sqlalchemy as sa

from evaluators.calibration import Calibration, CalibrationKey, ReferenceTiming
from evaluators.evaluator import Evaluation, FailureKind, Progress
from search_space.architecture import Architecture
from search_space.strict import parse_json
from studies.records import (
    END_STATES,
    TRANSIENT_FAILURES,
    ConfirmationKey,
    ConfirmationRun,
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
from studies.storage import calibrations, changes, claims, confirmation_jobs, running_trials
from studies.storage.database import Database, open_database, open_to_read
from studies.storage.evaluation_cache import DatabaseCache, count_runs, read_evaluation
from studies.storage.evidence import read_evidence, read_reference_times
from studies.storage.schema import ARCHITECTURES, SCORES, STAGES, STUDIES, TRIALS
from studies.storage.studies import (
    begin_study,
    delete_study,
    read_rejections,
    read_studies,
    study_id,
)
from studies.storage.trials import of_stages, read_points, read_trials

if TYPE_CHECKING:
    from optuna.storages import RDBStorage


class Store:
    """A database of studies, their trials and confirmations, and a cache of every evaluation.

    Every method is one transaction. Except for `add_study` and `update_spec`, a method that takes
    the name of a study raises ValueError if the database has no such study. A method that updates a
    running trial raises `claims.TrialTaken` if this process does not own the trial any more. A
    store is also an `EvaluationCache`, and a context manager that closes itself.

    Example:
        >>> with Store.open("sqlite:///study.db") as store:
        ...     store.add_study("edge", to_json(spec))
        ...     trial = store.claim("edge", total=200)
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache = DatabaseCache(database=database)
        self._optuna: RDBStorage | None = None

    @classmethod
    def open(cls, url: str, *, create: bool = True) -> Self:
        """Open a database for reading and writing; see `database.open_database`.

        Args:
            url: `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.
            create: Whether to create a missing file and missing tables.

        Raises:
            ValueError: The database cannot be opened.
        """
        return cls(open_database(url, create=create))

    @classmethod
    def open_to_read(cls, url: str) -> Self:
        """Open a database only for reading; see `database.open_to_read`.

        Args:
            url: `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.

        Raises:
            NotBegun: There is no file yet, or it is empty.
            ValueError: The database cannot be opened, or its tables are not up to date.
        """
        return cls(open_to_read(url))

    def close(self) -> None:
        """Close all connections, those of Optuna's storage included."""
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
        """Return Optuna's storage in the same database."""
        if self._optuna is None:
            self._optuna = self._database.optuna_storage()
        return self._optuna

    def load_evaluation(self, fingerprint: str, architecture: Architecture) -> Evaluation | None:
        """Return the stored evaluation; see `EvaluationCache.load_evaluation`."""
        return self._cache.load_evaluation(fingerprint, architecture)

    def save_evaluation(
        self, fingerprint: str, architecture: Architecture, evaluation: Evaluation
    ) -> None:
        """Store an evaluation; see `EvaluationCache.save_evaluation`."""
        self._cache.save_evaluation(fingerprint, architecture, evaluation)

    def replace_evaluation(
        self, fingerprint: str, architecture: Architecture, evaluation: Evaluation
    ) -> None:
        """Replace a stored evaluation; see `EvaluationCache.replace_evaluation`."""
        self._cache.replace_evaluation(fingerprint, architecture, evaluation)

    def calibration(self, key: CalibrationKey) -> Calibration | None:
        """Return a calibration; see `CalibrationStore.calibration`."""
        with self._database.read() as connection:
            return calibrations.read_calibration(connection, key)

    def calibrations(self, fingerprints: Collection[str]) -> tuple[Calibration, ...]:
        """Return the calibrations that evaluations under these fingerprints depend on."""
        with self._database.read() as connection:
            return calibrations.read_calibrations(connection, fingerprints)

    def add_timings(self, timings: Mapping[CalibrationKey, ReferenceTiming]) -> tuple[str, ...]:
        """Add timings of a reference model; see `CalibrationStore.add_timings`."""
        with self._database.write() as connection:
            return calibrations.add_timings(connection, timings)

    def add_repeat(self, key: CalibrationKey, variance: float) -> None:
        """Learn from a repeat; see `CalibrationStore.add_repeat`."""
        with self._database.write() as connection:
            calibrations.add_repeat(connection, key, variance)

    def forget_timings(self, key: CalibrationKey) -> None:
        """Forget all timings of a calibration but the latest, so that the next ones decide."""
        with self._database.write() as connection:
            calibrations.forget_timings(connection, key)

    def add_study(self, name: str, spec: str) -> Study:
        """Return the study of this name, which is created if it does not exist.

        Args:
            name: The name of the study.
            spec: The specification of a new study, as JSON. An existing study keeps its own.
        """
        with self._database.write() as connection:
            return begin_study(self._database, connection, name, spec)

    def update_spec(self, name: str, spec: str) -> None:
        """Replace the specification, for changes after which it remains the same study.

        Args:
            name: The name of the study.
            spec: The new specification, as JSON.
        """
        with self._database.write() as connection:
            connection.execute(STUDIES.update().where(STUDIES.c.name == name).values(spec=spec))

    def studies(self) -> tuple[Study, ...]:
        """Return all studies in the order in which they were started."""
        with self._database.read() as connection:
            return read_studies(connection)

    def study(self, name: str) -> Study:
        """Return the study of this name.

        Raises:
            ValueError: The database has no study of this name.
        """
        found = {study.name: study for study in self.studies()}
        if name not in found:
            known = ", ".join(found) or "no study"
            raise ValueError(
                f"study: '{name}' is not in this database, which holds {known}; nas run starts "
                "a study"
            )
        return found[name]

    def delete_study(self, name: str) -> None:
        """Delete a study with its trials, Optuna's included; evaluations stay in the cache."""
        storage = self.optuna_storage()
        with contextlib.suppress(KeyError):
            storage.delete_study(storage.get_study_id_from_name(name))
        with self._database.write() as connection:
            delete_study(connection, name)

    def rejections(self, study: str) -> Mapping[str, int]:
        """Return the number of draws that each rule of the space rejected."""
        with self._database.read() as connection:
            return read_rejections(connection, study)

    def architecture(self, digest: str) -> Architecture:
        """Return the architecture with this hash, which a trial or an evaluation must refer to."""
        with self._database.read() as connection:
            chosen = ARCHITECTURES.c.hash == digest
            text = connection.scalars(sa.select(ARCHITECTURES.c.json).where(chosen)).one()
        return parse_json(Architecture, text, digest)

    def trials(
        self, study: str, kind: TrialKind = "candidate", numbers: Collection[int] | None = None
    ) -> tuple[Trial, ...]:
        """Return trials in the order of their numbers.

        Args:
            study: The name of the study.
            kind: Whether to return candidates or reference models.
            numbers: The numbers of the trials; None for all.
        """
        with self._database.read() as connection:
            where = (TRIALS.c.study == study_id(connection, study)) & (TRIALS.c.kind == kind)
            if numbers is not None:
                where &= TRIALS.c.number.in_(numbers)
            return read_trials(connection, where)

    def changed_trials(self, study: str, revision: int) -> tuple[int, ...]:
        """Return the ids of the ended trials that have changed since a revision was read."""
        with self._database.read() as connection:
            where = TRIALS.c.study == study_id(connection, study)
            where &= TRIALS.c.revision > revision
            return tuple(connection.scalars(sa.select(TRIALS.c.id).where(where)))

    def trials_since(
        self, study: str, last: int, open_trials: Collection[int]
    ) -> tuple[Trial, ...]:
        """Return the trials that may have changed since an earlier read.

        Args:
            study: The name of the study.
            last: The largest id that was read; trials with larger ids are returned.
            open_trials: The ids of other trials to return.
        """
        with self._database.read() as connection:
            return read_trials(connection, _since(connection, study, last, open_trials))

    def evidence_since(
        self, study: str, last: int, open_trials: Collection[int]
    ) -> Mapping[int, Evidence]:
        """Return the circumstances of timed trials, by id; see `trials_since`."""
        with self._database.read() as connection:
            return read_evidence(connection, _since(connection, study, last, open_trials))

    def reference_times(self, trials: Collection[int]) -> tuple[ReferenceTime, ...]:
        """Return the times of the paired reference model, in chronological order.

        This reads all raw samples of these measurements.

        Args:
            trials: The ids of the trials.
        """
        with self._database.read() as connection:
            return read_reference_times(connection, trials)

    def architecture_texts(
        self, study: str, last: int, open_trials: Collection[int]
    ) -> Mapping[str, str]:
        """Return the canonical JSON texts of architectures, by hash; see `trials_since`."""
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
        """Return candidates as points, without duplicates, in the order of their numbers.

        Args:
            study: The name of the study.
            states: The states to select.
            scores: The scores to read; a point contains those that the trial has.
        """
        with self._database.read() as connection:
            chosen = (
                (TRIALS.c.study == study_id(connection, study))
                & (TRIALS.c.kind == "candidate")
                & TRIALS.c.state.in_(states)
                & TRIALS.c.duplicate_of.is_(None)
            )
            return read_points(connection, chosen, scores)

    def numbers(self, study: str, states: Collection[TrialState]) -> tuple[int, ...]:
        """Return the sorted numbers of the candidates in these states."""
        with self._database.read() as connection:
            rows = connection.scalars(
                sa.select(TRIALS.c.number)
                .where(TRIALS.c.study == study_id(connection, study))
                .where(TRIALS.c.kind == "candidate", TRIALS.c.state.in_(states))
                .order_by(TRIALS.c.number)
            )
            return tuple(rows)

    def provisional_trials(self, study: str, scores: Collection[str]) -> tuple[Trial, ...]:
        """Return the complete candidates and reference models with a provisional score.

        Args:
            study: The name of the study.
            scores: The names of the scores that count.
        """
        with self._database.read() as connection:
            provisional = of_stages(sa.select(STAGES.c.trial), SCORES).where(
                SCORES.c.provisional, SCORES.c.name.in_(scores)
            )
            chosen = (TRIALS.c.study == study_id(connection, study)) & TRIALS.c.id.in_(provisional)
            return read_trials(connection, chosen & (TRIALS.c.state == "complete"))

    def runs(self, trial: Trial, fingerprint: str) -> int:
        """Return how often a trial's architecture was measured under a fingerprint."""
        assert trial.model is not None
        with self._database.read() as connection:
            return count_runs(connection, fingerprint, trial.model.hash)

    def revision(self, study: str) -> int:
        """Return a number that increases whenever an ended trial or its scores change."""
        with self._database.read() as connection:
            of_study = TRIALS.c.study == study_id(connection, study)
            latest = sa.select(sa.func.max(TRIALS.c.revision)).where(of_study)
            return connection.scalar(latest) or 0

    def reopen(self, trial: Trial) -> bool:
        """Let a refused trial be resumed; see `changes.reopen`."""
        with self._database.write() as connection:
            return changes.reopen(connection, trial)

    def refuse(self, trial: Trial, outcome: Outcome) -> bool:
        """End a complete or stopped trial as infeasible; see `changes.refuse`."""
        with self._database.write() as connection:
            return changes.refuse(connection, trial, outcome)

    def evaluations(self, trial: Trial) -> dict[str, Evaluation]:
        """Return the evaluations of a trial's finished stages, raw samples included, by stage."""
        found: dict[str, Evaluation] = {}
        with self._database.read() as connection:
            for run in trial.stages:
                assert trial.model is not None
                evaluation = read_evaluation(connection, run.fingerprint, trial.model.hash)
                if evaluation is not None:
                    found[run.stage] = evaluation
        return found

    def earlier_duplicate(self, trial: Trial) -> Trial | None:
        """Return an ended candidate of the study with the same architecture, or None.

        A candidate that failed for a reason that the device may have caused does not count.

        Args:
            trial: A trial whose architecture has been drawn.
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

    def claim(self, study: str, *, total: int) -> Trial | None:
        """Claim the candidate that this process works on next; see `claims.claim_candidate`.

        Args:
            study: The name of the study.
            total: The total number of candidates, including finished ones.

        Returns:
            The candidate, or None if `total` candidates have ended or are running.
        """
        with self._database.write() as connection:
            return claims.claim_candidate(connection, study_id(connection, study, lock=True), total)

    def claim_reference(self, study: str, name: str) -> Trial | None:
        """Claim the trial of a reference model; see `claims.claim_reference`.

        Args:
            study: The name of the study.
            name: The name of the reference model.

        Returns:
            The trial, or None if it has ended or another process is working on it.
        """
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
        """Record the architecture of a claimed trial and the draws that were rejected before it.

        Args:
            trial: The claimed trial.
            architecture: The architecture to evaluate.
            optuna_number: The number of the Optuna trial that drew it; None for a reference model.
            rejections: The number of draws that each rule of the space rejected.

        Returns:
            The updated trial.
        """
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
        """Record that a trial has entered a stage."""
        with self._database.write() as connection:
            running_trials.enter(connection, trial, stage)

    def report(self, trial: Trial, progress: Progress) -> None:
        """Record the progress within the current stage, and that this process is alive."""
        with self._database.write() as connection:
            running_trials.report(connection, trial, progress)

    def leave(self, trial: Trial, run: StageRun, *, finished: bool) -> None:
        """Record the time that a stage took, in addition to that of earlier attempts.

        Args:
            trial: The trial.
            run: The stage, the fingerprint of its evaluator, and the time of this attempt.
            finished: Whether the evaluation is in the cache.
        """
        with self._database.write() as connection:
            running_trials.leave(connection, trial, run, finished=finished)

    def end(
        self, trial: Trial, outcome: Outcome, *, earlier_duplicate: Trial | None = None
    ) -> Trial:
        """End a trial.

        Args:
            trial: The trial.
            outcome: How it ended.
            earlier_duplicate: The earlier trial whose stages, and therefore scores, it shares.

        Returns:
            The updated trial.
        """
        with self._database.write() as connection:
            return running_trials.end(
                connection, trial, outcome, earlier_duplicate=earlier_duplicate
            )

    def interrupt(self, trial: Trial) -> None:
        """Interrupt a trial, so that it can be resumed; without an architecture, delete it."""
        with self._database.write() as connection:
            claims.interrupt(connection, trial)

    def confirmation_runs(self, study: str) -> tuple[ConfirmationRun, ...]:
        """Return the confirmation runs of a study.

        Returns:
            The unfinished runs, followed by the others in the order in which they ended.
        """
        with self._database.read() as connection:
            return confirmation_jobs.read_confirmation_runs(connection, study_id(connection, study))

    def claim_confirmation(self, key: ConfirmationKey) -> bool:
        """Claim a confirmation job; see `confirmation_jobs.claim`.

        Returns:
            Whether this process owns the job now. It does not if the job has ended or a living
            process is working on it.
        """
        with self._database.write() as connection:
            return confirmation_jobs.claim(self._database, connection, key)

    def renew_confirmation(self, key: ConfirmationKey) -> None:
        """Record that this process is alive and still works on the job."""
        with self._database.write() as connection:
            confirmation_jobs.renew(connection, key)

    def end_confirmation(
        self,
        key: ConfirmationKey,
        *,
        seconds: float,
        failure: FailureKind | None = None,
        reason: str | None = None,
    ) -> None:
        """End a confirmation job of this process.

        Unless it failed, its results are in the cache, under its fingerprint.

        Args:
            key: The job.
            seconds: The time that it took.
            failure: The kind of failure, if it failed.
            reason: The reason for the failure, as a sentence.
        """
        with self._database.write() as connection:
            confirmation_jobs.end(connection, key, seconds=seconds, failure=failure, reason=reason)

    def release_confirmation(self, key: ConfirmationKey) -> None:
        """Delete an unfinished job of this process, so that it can be claimed again."""
        with self._database.write() as connection:
            confirmation_jobs.release(connection, key)


def _since(
    connection: sa.Connection, study: str, last: int, open_trials: Collection[int]
) -> sa.ColumnElement[bool]:
    newer = (TRIALS.c.id > last) | TRIALS.c.id.in_(open_trials)
    return (TRIALS.c.study == study_id(connection, study)) & newer
