"""Writes studies and their trials to the database."""

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from evaluators.evaluator import Progress
from search_space.architecture import Architecture
from studies.owner import Owner, Verdict
from studies.records import Outcome, StageRun, Study, Trial, TrialKind
from studies.storage import changes, claims, running_trials, signs_of_life
from studies.storage.database import StorePart
from studies.storage.outages import retried
from studies.storage.schema import STUDIES
from studies.storage.studies import begin_study, study_id


class StudyWriter(StorePart):
    """The part of the store that starts studies and records the work on their trials.

    A method that updates a running trial raises `claims.TrialTaken` if this process does not own
    the trial any more.
    """

    @retried
    def add_study(self, name: str, spec: str) -> Study:
        """Return the study of this name, which is created if it does not exist.

        Args:
            name: The name of the study.
            spec: The specification of a new study, as JSON. An existing study keeps its own.
        """
        with self._database.write() as connection:
            return begin_study(self._database, connection, name, spec)

    @retried
    def update_spec(self, name: str, spec: str) -> None:
        """Replace the specification, for changes after which it remains the same study.

        Args:
            name: The name of the study.
            spec: The new specification, as JSON.
        """
        with self._database.write() as connection:
            connection.execute(STUDIES.update().where(STUDIES.c.name == name).values(spec=spec))

    @retried
    def claim(self, study: str, *, total: int, at_work: Collection[int] = ()) -> Trial | None:
        """Claim the candidate that this process works on next; see `claims.claim_candidate`.

        Args:
            study: The name of the study.
            total: The total number of candidates, including finished ones.
            at_work: The ids of the trials that this process works on already.

        Returns:
            The candidate, or None if `total` candidates have ended or are running.
        """
        with self._database.write() as connection:
            key = study_id(connection, study, lock=True)
            signs = self._database.signs_of_life
            before = self._claimed_before(connection, key, "candidate", at_work)
            return before or claims.claim_candidate(connection, key, total, signs, at_work)

    @retried
    def claim_reference(self, study: str, name: str, at_work: Collection[int] = ()) -> Trial | None:
        """Claim the trial of a reference model; see `claims.claim_reference`.

        Args:
            study: The name of the study.
            name: The name of the reference model.
            at_work: The ids of the trials that this process works on already.

        Returns:
            The trial, or None if it has ended or another process is working on it.
        """
        with self._database.write() as connection:
            key = study_id(connection, study, lock=True)
            signs = self._database.signs_of_life
            before = self._claimed_before(connection, key, "reference", at_work)
            return before or claims.claim_reference(connection, key, name, signs)

    def _claimed_before(
        self, connection: sa.Connection, study: int, kind: TrialKind, at_work: Collection[int]
    ) -> Trial | None:
        """Return the trial of a claim that took effect although its connection failed."""
        if not self.outages.is_repeating:
            return None
        return claims.claimed_before(connection, study, kind, at_work)

    @retried
    def begin(
        self,
        trial: Trial,
        architecture: Architecture,
        *,
        optuna_number: int | None = None,
        predicted_latency: float | None = None,
        rejections: Mapping[str, int] | None = None,
    ) -> Trial:
        """Record the architecture of a claimed trial and the draws that were rejected before it.

        Args:
            trial: The claimed trial.
            architecture: The architecture to evaluate.
            optuna_number: The number of the Optuna trial that drew it; None for a reference model.
            predicted_latency: The predicted latency of a candidate that was matched to one; None
                for all others.
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
                predicted_latency=predicted_latency,
                rejections=rejections or {},
            )

    @retried
    def enter(self, trial: Trial, stage: str) -> None:
        """Record that a trial has entered a stage."""
        with self._database.write() as connection:
            running_trials.enter(connection, trial, stage)

    def report(self, trial: Trial, progress: Progress) -> bool:
        """Record the progress within the current stage; return False during an outage."""

        def work() -> None:
            with self._database.write() as connection:
                running_trials.report(connection, trial, progress)

        return self.outages.attempt(work)

    @retried
    def leave(self, trial: Trial, run: StageRun, *, finished: bool) -> None:
        """Record the time that a stage took, in addition to that of earlier attempts.

        Args:
            trial: The trial.
            run: The stage, the fingerprint of its evaluator, and the time of this attempt.
            finished: Whether the evaluation is in the cache.
        """
        with self._database.write() as connection:
            running_trials.leave(connection, trial, run, finished=finished)

    @retried
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

    @retried
    def interrupt(self, trial: Trial) -> None:
        """Interrupt a trial, so that it can be resumed; without an architecture, delete it."""
        with self._database.write() as connection:
            claims.interrupt(connection, trial)

    @retried
    def reopen(self, trial: Trial) -> bool:
        """Let a refused trial be resumed; see `changes.reopen`."""
        with self._database.write() as connection:
            return changes.reopen(connection, trial)

    @retried
    def refuse(self, trial: Trial, outcome: Outcome) -> bool:
        """End a complete or stopped trial as infeasible; see `changes.refuse`."""
        with self._database.write() as connection:
            return changes.refuse(connection, trial, outcome)

    @retried
    def set_lease(self, seconds: float) -> None:
        """Set after how many seconds without a sign of life others consider this process dead."""
        with self._database.write() as connection:
            signs_of_life.set_lease(connection, seconds)

    def beat(self) -> bool:
        """Give a sign of life of this process; return False during an outage."""

        def work() -> None:
            with self._database.write() as connection:
                signs_of_life.beat(connection)

        return self.outages.attempt(work)

    def judge(self, owner: Owner) -> Verdict:
        """Return whether a process is alive, from the signs of life that this process observed."""
        return self._database.signs_of_life.judge(owner)
