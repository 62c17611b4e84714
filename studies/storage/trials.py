"""Reads trials from the database."""

from collections import defaultdict
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from evaluators.evaluator import CurvePoint, Progress, Score
from studies.damage import StoredScores
from studies.records import END_STATES, ModelSummary, Outcome, ScoredPoint, StageRun, Trial
from studies.storage.calibrations import read_calibration_keys
from studies.storage.decoding import EXCEEDED, PARTIAL_CURVE, BadRow, fetch, row_name
from studies.storage.evaluation_rows import SCORE_COLUMNS, read_curve, read_score
from studies.storage.schema import (
    ARCHITECTURES,
    EVALUATIONS,
    PROCESSES,
    SCORES,
    STAGES,
    STUDIES,
    TRIALS,
)
from studies.storage.signs_of_life import PROCESS_COLUMNS, read_owner


def read_trials(connection: sa.Connection, where: sa.ColumnElement[bool]) -> tuple[Trial, ...]:
    """Read trials in the order of their numbers.

    Args:
        connection: An open transaction.
        where: A condition on TRIALS.
    """
    trials = fetch(
        connection,
        sa.select(
            TRIALS,
            STUDIES.c.name,
            ARCHITECTURES.c.layout,
            ARCHITECTURES.c.parameters,
            *PROCESS_COLUMNS,
        )
        .join(STUDIES)
        .outerjoin(ARCHITECTURES)
        .outerjoin(PROCESSES)
        .where(where)
        .order_by(TRIALS.c.kind, TRIALS.c.number),
        optional=(ARCHITECTURES, PROCESSES),
    )
    stages = _stages(connection, where)
    scores = _scores(connection, where)
    curves = _curves(connection, where)
    return tuple(
        _trial(row, stages[row.id], scores[row.id], curves.get(row.id, ())) for row in trials
    )


def read_trial(connection: sa.Connection, trial_id: int) -> Trial:
    """Read the trial with this id, which must exist."""
    (trial,) = read_trials(connection, TRIALS.c.id == trial_id)
    return trial


def read_points(
    connection: sa.Connection, where: sa.ColumnElement[bool], scores: Collection[str]
) -> tuple[ScoredPoint, ...]:
    """Read trials as points, in the order of their numbers.

    Args:
        connection: An open transaction.
        where: A condition on TRIALS.
        scores: The scores to read; a point has those of them that the trial has.
    """
    values: dict[int, dict[str, float]] = defaultdict(dict)
    provisional: dict[int, set[str]] = defaultdict(set)
    columns = (STAGES.c.trial, SCORES.c.name, SCORES.c.value, SCORES.c.provisional)
    asked = of_stages(sa.select(*columns), SCORES)
    found = fetch(connection, asked.where(where, SCORES.c.name.in_(scores)))
    for trial, name, value, is_provisional in found:
        values[trial][name] = value
        if is_provisional:
            provisional[trial].add(name)
    facts = (TRIALS.c.id, TRIALS.c.number, TRIALS.c.architecture, TRIALS.c.reason)
    rows = fetch(connection, sa.select(*facts).where(where).order_by(TRIALS.c.number))
    return tuple(
        ScoredPoint(
            number=number,
            architecture=architecture,
            reason=reason,
            values=StoredScores(f"trial {number}", values[trial]),
            provisional=frozenset(provisional[trial]),
        )
        for trial, number, architecture, reason in rows
    )


# Rows are read as plain tuples in one query, since thousands of trials have tens of thousands of
# scores.


def _stages(connection: sa.Connection, where: sa.ColumnElement[bool]) -> dict[int, list[StageRun]]:
    found: dict[int, list[StageRun]] = defaultdict(list)
    columns = (STAGES.c.trial, STAGES.c.stage, STAGES.c.fingerprint, STAGES.c.seconds)
    rows = fetch(
        connection,
        sa.select(*columns).join(TRIALS).where(where).order_by(STAGES.c.trial, STAGES.c.position),
    )
    for trial, stage, fingerprint, seconds in rows:
        found[trial].append(StageRun(stage=stage, fingerprint=fingerprint, seconds=seconds))
    return found


def _scores(connection: sa.Connection, where: sa.ColumnElement[bool]) -> dict[int, list[Score]]:
    found: dict[int, list[Score]] = defaultdict(list)
    keys = read_calibration_keys(connection)
    rows = fetch(
        connection,
        of_stages(sa.select(STAGES.c.trial, *SCORE_COLUMNS), SCORES)
        .where(where)
        .order_by(STAGES.c.trial, STAGES.c.position, SCORES.c.position),
    )
    for trial, *score in rows:
        found[trial].append(read_score(score, keys))
    return found


def _curves(
    connection: sa.Connection, where: sa.ColumnElement[bool]
) -> dict[int, tuple[CurvePoint, ...]]:
    """Read the learning curves of finished stages; at most one stage of a trial has a curve."""
    columns = (STAGES.c.trial, STAGES.c.fingerprint, EVALUATIONS.c.curve)
    rows = fetch(
        connection,
        of_stages(sa.select(*columns), EVALUATIONS).where(where).where(EVALUATIONS.c.curve != "[]"),
    )
    return {trial: read_curve(curve, fingerprint) for trial, fingerprint, curve in rows}


def of_stages(select: sa.Select[Any], table: sa.Table) -> sa.Select[Any]:
    """Join a selection so that each trial is combined with the evaluations of its stages.

    Args:
        select: A selection of columns of STAGES, TRIALS and `table`.
        table: EVALUATIONS, or a table that is keyed like it.
    """
    return (
        select.select_from(STAGES)
        .join(TRIALS)
        .join(
            table,
            (table.c.fingerprint == STAGES.c.fingerprint)
            & (table.c.architecture == TRIALS.c.architecture),
        )
    )


def _trial(
    row: sa.Row[Any],
    stages: list[StageRun],
    scores: list[Score],
    evaluated_curve: tuple[CurvePoint, ...],
) -> Trial:
    _check_consistent(row)
    partial_curve = () if row.curve == "[]" else _partial_curve(row)
    return Trial(
        id=row.id,
        study=row.name,
        kind=row.kind,
        number=row.number,
        reference=row.reference,
        model=None
        if row.architecture is None
        else ModelSummary(hash=row.architecture, layout=row.layout, parameters=row.parameters),
        optuna_number=row.optuna_number,
        owner=read_owner(row),
        stage=row.stage,
        progress=None
        if row.progress is None
        else Progress(done=row.progress, text=row.progress_text),
        outcome=None
        if row.ended_at is None
        else Outcome(
            state=row.state,
            stage=row.stage,
            reason=row.reason,
            failure=row.failure,
            curve=partial_curve,
            estimated_loss=row.estimated_loss,
            exceeded={} if row.exceeded is None else EXCEEDED.read(row.exceeded, id=row.id),
        ),
        duplicate_of=row.duplicate_of,
        stages=tuple(stages),
        scores=tuple(scores),
        curve=evaluated_curve or partial_curve,
        started_at=row.started_at,
        ended_at=row.ended_at,
        revision=row.revision,
        predicted_latency=row.predicted_latency,
    )


def _partial_curve(row: sa.Row[Any]) -> tuple[CurvePoint, ...]:
    return tuple(
        CurvePoint(tokens=tokens, loss=loss)
        for tokens, loss in PARTIAL_CURVE.read(row.curve, id=row.id)
    )


def _check_consistent(row: sa.Row[Any]) -> None:
    """Raise BadRow if a trial refers to what is missing, or its columns contradict each other."""
    fault = None
    if row.architecture is not None and row.layout is None:
        fault = f"architecture '{row.architecture}' is not in {ARCHITECTURES.name}"
    elif row.process is not None and row.process_host is None:
        fault = f"process '{row.process}' is not in {PROCESSES.name}"
    elif (row.ended_at is not None) != (row.state in END_STATES):
        fault = f"state {row.state} contradicts ended_at {row.ended_at}"
    elif row.ended_at is not None and row.architecture is None:
        fault = f"state {row.state} requires an architecture"
    if fault is not None:
        raise BadRow(f"{row_name(TRIALS.name, {'id': row.id})}: {fault}")
