"""The circumstances in which trials were timed, read without their raw samples where possible."""

import json
from collections import defaultdict
from collections.abc import Collection
from typing import Any

import numpy as np
import sqlalchemy as sa

from hardware.measurement import running_ns, warm
from studies.records import Evidence, ReferenceTime
from studies.storage.evaluation_rows import read_environment
from studies.storage.schema import ENVIRONMENTS, EVALUATIONS, MEASUREMENTS, STAGES, TRIALS
from studies.storage.trials import of_stages


def read_evidence(connection: sa.Connection, where: sa.ColumnElement[bool]) -> dict[int, Evidence]:
    """Read the circumstances in which trials were timed.

    Args:
        connection: An open transaction.
        where: A condition on the table `TRIALS`.

    Returns:
        The evidence by trial id, for those of the selected trials that were timed.
    """
    rows = connection.execute(
        of_stages(
            sa.select(STAGES.c.trial, MEASUREMENTS.c.disturbance, ENVIRONMENTS.c.json), MEASUREMENTS
        )
        .join(ENVIRONMENTS, MEASUREMENTS.c.environment == ENVIRONMENTS.c.hash)
        .where(where, MEASUREMENTS.c.reference_of.is_(None))
        .order_by(STAGES.c.trial, MEASUREMENTS.c.position)
    ).all()
    disturbances: dict[int, list[dict[str, Any]]] = defaultdict(list)
    environments: dict[int, str] = {}
    for trial, disturbance, environment in rows:
        environments.setdefault(trial, environment)
        if disturbance is not None:
            disturbances[trial].append(json.loads(disturbance))
    return {
        trial: Evidence(
            disturbed=max((each["steal"] + each["beside"] for each in found), default=None),
            waited_s=max((each["waited_s"] for each in found), default=None),
            environment=read_environment(environment),
        )
        for trial, environment in environments.items()
        for found in [disturbances[trial]]
    }


def read_reference_times(
    connection: sa.Connection, trials: Collection[int]
) -> tuple[ReferenceTime, ...]:
    """Read the times of the reference model that was measured interleaved with trials.

    Args:
        connection: An open transaction.
        trials: The ids of the trials.

    Returns:
        The first time of each trial and workload, in chronological order.
    """
    rows = connection.execute(
        of_stages(
            sa.select(
                STAGES.c.trial,
                MEASUREMENTS.c.workload,
                MEASUREMENTS.c.samples_ns,
                MEASUREMENTS.c.waited_ns,
                MEASUREMENTS.c.window,
            ),
            MEASUREMENTS,
        )
        .join(
            EVALUATIONS,
            (EVALUATIONS.c.fingerprint == MEASUREMENTS.c.fingerprint)
            & (EVALUATIONS.c.architecture == MEASUREMENTS.c.architecture),
        )
        .add_columns(EVALUATIONS.c.evaluated_at)
        .where(TRIALS.c.id.in_(trials), MEASUREMENTS.c.reference_of.is_not(None))
        .order_by(EVALUATIONS.c.evaluated_at, STAGES.c.trial, MEASUREMENTS.c.position)
    ).all()
    found: dict[tuple[int, str], ReferenceTime] = {}
    for trial, workload, samples_ns, waited_ns, window, evaluated_at in rows:
        running = running_ns(
            json.loads(samples_ns), None if waited_ns is None else json.loads(waited_ns)
        )
        median_ms = float(np.median(warm(running.reshape(-1, window or 1)))) / 1e6
        time = ReferenceTime(trial=trial, workload=workload, at=evaluated_at, median_ms=median_ms)
        found.setdefault((trial, workload), time)
    return tuple(found.values())
