"""The circumstances in which trials were timed, read without their raw samples where possible."""

from collections import defaultdict
from collections.abc import Collection

import numpy as np
import sqlalchemy as sa

from evaluators.scores import device_of_stage
from hardware.measurement import Disturbance, running_ns, warm
from studies.records import Evidence, ReferenceTime
from studies.storage.decoding import (
    DISTURBANCE,
    SAMPLES_NS,
    WAITED_NS,
    BadRow,
    decode_environment,
    fetch,
    row_name,
)
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
    columns = (
        STAGES.c.trial,
        STAGES.c.stage,
        MEASUREMENTS.c.fingerprint,
        MEASUREMENTS.c.disturbance,
        ENVIRONMENTS.c.hash,
        ENVIRONMENTS.c.json,
    )
    rows = fetch(
        connection,
        of_stages(sa.select(*columns), MEASUREMENTS)
        .join(ENVIRONMENTS, MEASUREMENTS.c.environment == ENVIRONMENTS.c.hash)
        .where(where, MEASUREMENTS.c.reference_of.is_(None))
        .order_by(STAGES.c.trial, MEASUREMENTS.c.position),
    )
    disturbances: dict[int, list[Disturbance]] = defaultdict(list)
    # The first environment of each stage, because every device has a stage of its own.
    environments: dict[int, dict[str, tuple[str, str]]] = defaultdict(dict)
    for trial, stage, fingerprint, disturbance, digest, environment in rows:
        environments[trial].setdefault(stage, (environment, digest))
        if disturbance is not None:
            disturbances[trial].append(DISTURBANCE.read(disturbance, fingerprint=fingerprint))
    return {
        trial: Evidence(
            disturbed=max((each.steal + each.beside for each in found), default=None),
            waited_s=max((each.waited_s for each in found), default=None),
            environment=first,
            more_environments=tuple(others),
        )
        for trial, by_stage in environments.items()
        for found in [disturbances[trial]]
        for first, *others in [[decode_environment(*each) for each in by_stage.values()]]
    }


def read_reference_times(
    connection: sa.Connection, trials: Collection[int]
) -> tuple[ReferenceTime, ...]:
    """Read the times of the reference model that was measured interleaved with trials.

    Args:
        connection: An open transaction.
        trials: The ids of the trials.

    Returns:
        The first time of each trial, device and workload, in chronological order.
    """
    rows = fetch(
        connection,
        of_stages(
            sa.select(
                STAGES.c.trial,
                STAGES.c.stage,
                MEASUREMENTS.c.fingerprint,
                MEASUREMENTS.c.position,
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
        .order_by(EVALUATIONS.c.evaluated_at, STAGES.c.trial, MEASUREMENTS.c.position),
    )
    found: dict[tuple[int, str, str], ReferenceTime] = {}
    for trial, stage, fingerprint, position, workload, *raw, evaluated_at in rows:
        samples_ns, waited_ns, window = raw
        key = {"fingerprint": fingerprint, "position": position}
        samples = SAMPLES_NS.read(samples_ns, **key)
        waited = None if waited_ns is None else WAITED_NS.read(waited_ns, **key)
        try:
            windows = running_ns(samples, waited).reshape(-1, window or 1)
        except ValueError:
            name = row_name(MEASUREMENTS.name, key)
            raise BadRow(f"{name}: samples_ns does not suit waited_ns or window") from None
        median_ms = float(np.median(warm(windows))) / 1e6
        time = ReferenceTime(
            trial=trial,
            workload=workload,
            at=evaluated_at,
            median_ms=median_ms,
            device=device_of_stage(stage),
        )
        found.setdefault((trial, stage, workload), time)
    return tuple(found.values())
