"""Reads studies, their trials, and the evaluations of the trials."""

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from evaluators.evaluator import Evaluation
from search_space.architecture import Architecture
from studies.records import (
    END_STATES,
    TRANSIENT_FAILURES,
    Evidence,
    ReferenceTime,
    ScoredPoint,
    Study,
    Trial,
    TrialKind,
    TrialState,
)
from studies.storage.database import StorePart
from studies.storage.decoding import check_architecture, fetch
from studies.storage.evaluation_rows import count_runs, read_architecture, read_evaluation
from studies.storage.evidence import read_evidence, read_reference_times
from studies.storage.outages import retried
from studies.storage.schema import ARCHITECTURES, TRIALS
from studies.storage.studies import read_rejections, read_studies, study_id
from studies.storage.trials import read_points, read_trials


class StudyReader(StorePart):
    """The part of the store that reads studies; it blocks no other process.

    Except for `studies` and `architecture`, a method that takes the name of a study raises
    ValueError if the database has no such study.
    """

    @retried
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

    @retried
    def rejections(self, study: str) -> Mapping[str, int]:
        """Return the number of draws that each rule of the space rejected."""
        with self._database.read() as connection:
            return read_rejections(connection, study)

    @retried
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

    @retried
    def numbers(self, study: str, states: Collection[TrialState]) -> tuple[int, ...]:
        """Return the sorted numbers of the candidates in these states."""
        with self._database.read() as connection:
            rows = fetch(
                connection,
                sa.select(TRIALS.c.number)
                .where(TRIALS.c.study == study_id(connection, study))
                .where(TRIALS.c.kind == "candidate", TRIALS.c.state.in_(states))
                .order_by(TRIALS.c.number),
            )
            return tuple(row.number for row in rows)

    @retried
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

    @retried
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

    @retried
    def revision(self, study: str) -> int:
        """Return a number that increases whenever an ended trial or its scores change."""
        with self._database.read() as connection:
            of_study = TRIALS.c.study == study_id(connection, study)
            latest = sa.select(sa.func.max(TRIALS.c.revision)).where(of_study)
            return connection.scalar(latest) or 0

    @retried
    def changed_trials(self, study: str, revision: int) -> tuple[int, ...]:
        """Return the ids of the ended trials that have changed since a revision was read."""
        with self._database.read() as connection:
            where = TRIALS.c.study == study_id(connection, study)
            where &= TRIALS.c.revision > revision
            return tuple(connection.scalars(sa.select(TRIALS.c.id).where(where)))

    @retried
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

    @retried
    def evidence_since(
        self, study: str, last: int, open_trials: Collection[int]
    ) -> Mapping[int, Evidence]:
        """Return the circumstances of timed trials, by id; see `trials_since`."""
        with self._database.read() as connection:
            return read_evidence(connection, _since(connection, study, last, open_trials))

    @retried
    def architecture_texts(
        self, study: str, last: int, open_trials: Collection[int]
    ) -> Mapping[str, str]:
        """Return the canonical JSON texts of architectures, by hash; see `trials_since`."""
        with self._database.read() as connection:
            rows = fetch(
                connection,
                sa.select(ARCHITECTURES.c.hash, ARCHITECTURES.c.json)
                .join(TRIALS)
                .where(_since(connection, study, last, open_trials))
                .distinct(),
            )
            for row in rows:
                check_architecture(row.json, row.hash)
        return {row.hash: row.json for row in rows}

    @retried
    def reference_times(self, trials: Collection[int]) -> tuple[ReferenceTime, ...]:
        """Return the times of the paired reference model, in chronological order.

        This reads all raw samples of these measurements.

        Args:
            trials: The ids of the trials.
        """
        with self._database.read() as connection:
            return read_reference_times(connection, trials)

    @retried
    def architecture(self, digest: str) -> Architecture:
        """Return the architecture with this hash, which a trial or an evaluation must refer to."""
        with self._database.read() as connection:
            return read_architecture(connection, digest)

    @retried
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

    @retried
    def runs(self, trial: Trial, fingerprint: str) -> int:
        """Return how often a trial's architecture was measured under a fingerprint."""
        assert trial.model is not None
        with self._database.read() as connection:
            return count_runs(connection, fingerprint, trial.model.hash)


def _since(
    connection: sa.Connection, study: str, last: int, open_trials: Collection[int]
) -> sa.ColumnElement[bool]:
    newer = (TRIALS.c.id > last) | TRIALS.c.id.in_(open_trials)
    return (TRIALS.c.study == study_id(connection, study)) & newer
