"""The cache of evaluations in the database, which all studies in it share."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import sqlalchemy as sa

from evaluators.evaluator import Evaluation, Score
from search_space.architecture import Architecture, architecture_hash
from studies.storage import changes
from studies.storage.database import StorePart
from studies.storage.decoding import fetch
from studies.storage.evaluation_rows import (
    curve_text,
    insert_details,
    read_evaluation,
    save_architecture,
)
from studies.storage.outages import retried
from studies.storage.schema import EVALUATIONS, MEASUREMENTS, SCORES


class DatabaseCache(StorePart):
    """An `EvaluationCache` that stores evaluations in the database."""

    @retried
    def load_evaluation(self, fingerprint: str, architecture: Architecture) -> Evaluation | None:
        """Return the stored evaluation; see `EvaluationCache.load_evaluation`."""
        with self._database.read() as connection:
            return read_evaluation(connection, fingerprint, architecture_hash(architecture))

    @retried
    def save_evaluation(
        self, fingerprint: str, architecture: Architecture, evaluation: Evaluation
    ) -> None:
        """Store an evaluation; see `EvaluationCache.save_evaluation`."""
        key = {"fingerprint": fingerprint, "architecture": architecture_hash(architecture)}
        with self._database.write() as connection:
            changes.lock_evaluations(connection)
            save_architecture(self._database, connection, architecture)
            if self._database.insert_new(
                connection,
                EVALUATIONS,
                **key,
                seconds=evaluation.seconds,
                curve=curve_text(evaluation.curve),
                evaluated_at=datetime.now(UTC),
            ):
                insert_details(self._database, connection, key, evaluation)

    @retried
    def replace_evaluation(
        self,
        fingerprint: str,
        architecture: Architecture,
        *,
        earlier: Evaluation,
        refined: Evaluation,
    ) -> bool:
        """Replace a stored evaluation; see `EvaluationCache.replace_evaluation`."""
        key = {"fingerprint": fingerprint, "architecture": architecture_hash(architecture)}
        with self._database.write() as connection:
            changes.lock_evaluations(connection)
            stored = read_evaluation(connection, fingerprint, key["architecture"])
            assert stored is not None, "only a stored evaluation is replaced"
            if not _have_same_evidence(stored, earlier):
                return False
            for table in (SCORES, MEASUREMENTS):
                connection.execute(table.delete().where(_belongs_to(table, key)))
            connection.execute(
                EVALUATIONS.update()
                .where(_belongs_to(EVALUATIONS, key))
                .values(seconds=refined.seconds)
            )
            insert_details(self._database, connection, key, refined)
            changes.mark_changed(connection, [fingerprint], key["architecture"])
        return True

    @retried
    def settled_values(self, fingerprint: str, score: str) -> dict[str, float]:
        """Return the values of a score in all stored evaluations of one evaluator.

        Args:
            fingerprint: The fingerprint of the evaluator.
            score: The name of the score.

        Returns:
            The values that are positive and not provisional, by the hash of the architecture.
        """
        with self._database.read() as connection:
            rows = fetch(
                connection,
                sa.select(SCORES.c.architecture, SCORES.c.value).where(
                    SCORES.c.fingerprint == fingerprint,
                    SCORES.c.name == score,
                    SCORES.c.value > 0,
                    SCORES.c.provisional.is_(False),
                ),
            )
        return {row.architecture: row.value for row in rows}


def _have_same_evidence(one: Evaluation, other: Evaluation) -> bool:
    """Return whether two evaluations differ at most in the time of the reference model."""
    return one.measurements == other.measurements and (
        [_without_calibration(score) for score in one.scores]
        == [_without_calibration(score) for score in other.scores]
    )


def _without_calibration(score: Score) -> Score:
    """Return a time without what changes with the calibration; any other score unchanged."""
    return score if score.measured is None else replace(score, value=0.0, low=None, high=None)


def _belongs_to(table: sa.Table, key: Mapping[str, str]) -> sa.ColumnElement[bool]:
    return (table.c.fingerprint == key["fingerprint"]) & (
        table.c.architecture == key["architecture"]
    )
