"""Calibrations of reference models, and the stored times that are computed from them.

Every function runs in the caller's transaction.
"""

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from evaluators.calibration import (
    Calibration,
    CalibrationChange,
    CalibrationKey,
    ReferenceTiming,
    calibrate,
)
from hardware.measurement import Interval
from studies.storage import changes
from studies.storage.database import Database, StorePart
from studies.storage.decoding import TIMINGS, fetch
from studies.storage.outages import retried
from studies.storage.schema import CALIBRATIONS, SCORES

# A smaller change of the reference model's time, as a fraction, is stored but not reported. It
# counts from the time that was reported last, so that small changes add up.
_WORTH_REPORTING = 0.03


class DatabaseCalibrations(StorePart):
    """A `CalibrationStore` in the database."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        # What the users of this process know: the estimate before its first timing, or the one that
        # was reported last.
        self._known: dict[CalibrationKey, Calibration] = {}

    @retried
    def calibration(self, key: CalibrationKey) -> Calibration | None:
        """Return a calibration; see `CalibrationStore.calibration`."""
        with self._database.read() as connection:
            return read_calibration(connection, key)

    @retried
    def calibrations(self, fingerprints: Collection[str]) -> tuple[Calibration, ...]:
        """Return the calibrations that evaluations under these fingerprints depend on."""
        with self._database.read() as connection:
            return read_calibrations(connection, fingerprints)

    @retried
    def add_timings(
        self, timings: Mapping[CalibrationKey, ReferenceTiming]
    ) -> tuple[CalibrationChange, ...]:
        """Add timings of a reference model; see `CalibrationStore.add_timings`."""
        reported = []
        newly_known: dict[CalibrationKey, Calibration] = {}
        with self._database.write() as connection:
            changes.lock_evaluations(connection)
            for key, timing in timings.items():
                earlier = read_calibration(connection, key)
                if earlier is None:
                    _insert(connection, calibrate(key, [timing]))
                    continue
                now = calibrate(key, (*earlier.timings, timing))
                is_new = now.differs_noticeably(earlier)
                count = _update(connection, now, recompute=is_new)
                known = self._known.setdefault(key, earlier)
                if count and _is_worth_reporting(known, now):
                    reported.append(CalibrationChange(earlier=known, now=now, recomputed=count))
                    newly_known[key] = now
                elif is_new and not count:  # nobody has seen a time that depends on it
                    newly_known[key] = now
        self._known |= newly_known
        return tuple(reported)

    @retried
    def add_repeat(self, key: CalibrationKey, variance: float) -> None:
        """Learn from a repeat; see `CalibrationStore.add_repeat`."""
        with self._database.write() as connection:
            connection.execute(
                CALIBRATIONS.update()
                .where(_is(key))
                .values(
                    repeats=CALIBRATIONS.c.repeats + 1,
                    variance=CALIBRATIONS.c.variance + variance,
                )
            )

    @retried
    def forget_timings(self, key: CalibrationKey) -> None:
        """Forget all timings of a calibration but the latest, so that the next ones decide.

        Stored times may change considerably; `add_timings` reports this after the next timing.
        """
        with self._database.write() as connection:
            changes.lock_evaluations(connection)
            earlier = read_calibration(connection, key)
            if earlier is not None:
                self._known.setdefault(key, earlier)
                _update(connection, calibrate(key, earlier.timings[-1:]), recompute=True)


def read_calibration_keys(connection: sa.Connection) -> dict[int, CalibrationKey]:
    """Return what each calibration applies to, by its id."""
    columns = (
        CALIBRATIONS.c.id,
        CALIBRATIONS.c.device,
        CALIBRATIONS.c.reference,
        CALIBRATIONS.c.workload,
    )
    return {
        number: CalibrationKey(device=device, reference=reference, workload=workload)
        for number, device, reference, workload in fetch(connection, sa.select(*columns))
    }


def calibration_id(connection: sa.Connection, key: CalibrationKey) -> int:
    """Return the id of a calibration, which must exist."""
    number: int = connection.execute(sa.select(CALIBRATIONS.c.id).where(_is(key))).scalar_one()
    return number


def read_calibration(connection: sa.Connection, key: CalibrationKey) -> Calibration | None:
    """Return a calibration, or None if the reference model was never timed."""
    rows = fetch(connection, sa.select(CALIBRATIONS).where(_is(key)))
    return _calibration(rows[0]) if rows else None


def read_calibrations(
    connection: sa.Connection, fingerprints: Collection[str]
) -> tuple[Calibration, ...]:
    """Return the calibrations that evaluations under these fingerprints depend on."""
    used = sa.select(SCORES.c.calibration).where(SCORES.c.fingerprint.in_(fingerprints))
    rows = fetch(
        connection,
        sa.select(CALIBRATIONS).where(CALIBRATIONS.c.id.in_(used)).order_by(CALIBRATIONS.c.id),
    )
    return tuple(_calibration(row) for row in rows)


def _insert(connection: sa.Connection, calibration: Calibration) -> None:
    row = _row(calibration) | asdict(calibration.key) | {"repeats": 0, "variance": 0.0}
    connection.execute(CALIBRATIONS.insert().values(row))


def _update(connection: sa.Connection, calibration: Calibration, *, recompute: bool) -> int:
    """Store a calibration and return the number of scores that were computed again.

    The stored estimate changes only together with the scores.
    """
    columns = _row(calibration)
    if not recompute:
        columns = {"timings": columns["timings"]}
    connection.execute(CALIBRATIONS.update().where(_is(calibration.key)).values(columns))
    return _recompute(connection, calibration) if recompute else 0


def _recompute(connection: sa.Connection, calibration: Calibration) -> int:
    number = calibration_id(connection, calibration.key)
    rows = fetch(
        connection,
        sa.select(
            SCORES.c.fingerprint,
            SCORES.c.architecture,
            SCORES.c.position,
            SCORES.c.ratio,
            SCORES.c.ratio_low,
            SCORES.c.ratio_high,
        ).where(SCORES.c.calibration == number, SCORES.c.ratio.is_not(None)),
    )
    if not rows:
        return 0
    parameters: list[dict[str, Any]] = []
    for fingerprint, architecture, position, ratio, ratio_low, ratio_high in rows:
        value, low, high = calibration.convert(ratio, ratio_low, ratio_high)
        parameters.append(
            {"f": fingerprint, "a": architecture, "p": position, "v": value, "l": low, "h": high}
        )
    connection.execute(
        SCORES.update()
        .where(
            SCORES.c.fingerprint == sa.bindparam("f"),
            SCORES.c.architecture == sa.bindparam("a"),
            SCORES.c.position == sa.bindparam("p"),
        )
        .values(value=sa.bindparam("v"), low=sa.bindparam("l"), high=sa.bindparam("h")),
        parameters,
    )
    changes.mark_changed(connection, {row[0] for row in rows})
    return len(rows)


def _is_worth_reporting(earlier: Calibration, now: Calibration) -> bool:
    return abs(math.log(now.milliseconds / earlier.milliseconds)) > _WORTH_REPORTING


def _is(key: CalibrationKey) -> sa.ColumnElement[bool]:
    return (
        (CALIBRATIONS.c.device == key.device)
        & (CALIBRATIONS.c.reference == key.reference)
        & (CALIBRATIONS.c.workload == key.workload)
    )


def _row(calibration: Calibration) -> dict[str, Any]:
    return {
        "timings": json.dumps([asdict(timing) for timing in calibration.timings]),
        "milliseconds": calibration.milliseconds,
        "low": calibration.interval.low,
        "high": calibration.interval.high,
    }


def _calibration(row: sa.Row[Any]) -> Calibration:
    return Calibration(
        key=CalibrationKey(device=row.device, reference=row.reference, workload=row.workload),
        milliseconds=row.milliseconds,
        interval=Interval(low=row.low, high=row.high),
        timings=TIMINGS.read(row.timings, id=row.id),
        repeats=row.repeats,
        variance=row.variance,
    )
