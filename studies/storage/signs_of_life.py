"""The processes that work on a database, and their signs of life.

Every function runs in the caller's transaction.
"""

import contextlib
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from hardware.memory_kills import KillCounts, has_killed_between, read_kill_counts
from studies.owner import LEASE_S, Owner, this_process
from studies.storage.decoding import fetch
from studies.storage.schema import PROCESSES


class SecondsSince(FunctionElement[float]):
    """The seconds from a stored time until now, by the clock of the database."""

    type = sa.Double()
    inherit_cache = True


@compiles(SecondsSince, "sqlite")
def _in_sqlite(element: SecondsSince, compiler: SQLCompiler, **options: Any) -> str:
    time = compiler.process(element.clauses, **options)
    return f"((julianday('now') - julianday({time})) * 86400.0)"


@compiles(SecondsSince, "postgresql")
def _in_postgresql(element: SecondsSince, compiler: SQLCompiler, **options: Any) -> str:
    time = compiler.process(element.clauses, **options)
    return f"extract(epoch FROM timezone('utc', clock_timestamp()) - {time})::double precision"


PROCESS_COLUMNS = (
    PROCESSES.c.host.label("process_host"),
    PROCESSES.c.pid.label("process_pid"),
    PROCESSES.c.started.label("process_started"),
    PROCESSES.c.boot.label("process_boot"),
    PROCESSES.c.namespace.label("process_namespace"),
    PROCESSES.c.lease_s.label("process_lease_s"),
    PROCESSES.c.beats.label("process_beats"),
    SecondsSince(PROCESSES.c.seen_at).label("process_silent_s"),
)
"""The columns that `read_owner` reads from a row that is joined with PROCESSES."""


def own_token(connection: sa.Connection) -> str:
    """Return the token of this process, which is added to the database if it is not there yet."""
    token = this_process().token
    known = sa.select(PROCESSES.c.token).where(PROCESSES.c.token == token)
    if connection.scalar(known) is None:
        # Another thread of this process may add it at the same moment.
        with contextlib.suppress(sa.exc.IntegrityError), connection.begin_nested():
            _add_this_process(connection)
    return token


def _add_this_process(connection: sa.Connection) -> None:
    process, kills = this_process(), read_kill_counts()
    connection.execute(
        PROCESSES.insert().values(
            token=process.token,
            host=process.host,
            pid=process.pid,
            started=process.started,
            boot=process.boot,
            namespace=process.namespace,
            lease_s=LEASE_S,
            beats=0,
            seen_at=_now(connection),
            oom_kills=kills.machine,
            group_oom_kills=kills.group,
            oom_group=kills.group_id,
        )
    )


def has_run_out_of_memory(connection: sa.Connection, process: Owner) -> bool:
    """Return whether the kernel has killed processes for lack of memory since a dead one began.

    Only kills in the control group of the process count, if this process is in the same group. The
    result is False if the process ran on another system, or before this one was booted.
    """
    select = sa.select(
        PROCESSES.c.oom_kills, PROCESSES.c.group_oom_kills, PROCESSES.c.oom_group
    ).where(PROCESSES.c.token == process.token)
    rows = fetch(connection, select)
    if not rows or process.boot != this_process().boot:
        return False
    before = KillCounts(
        machine=rows[0].oom_kills,
        group=rows[0].group_oom_kills,
        group_id=rows[0].oom_group,
    )
    return has_killed_between(before, read_kill_counts()) is True


def beat(connection: sa.Connection) -> None:
    """Give a sign of life of this process, if it is in the database."""
    connection.execute(
        PROCESSES.update()
        .where(PROCESSES.c.token == this_process().token)
        .values(beats=PROCESSES.c.beats + 1, seen_at=_now(connection))
    )


def set_lease(connection: sa.Connection, lease_s: float) -> None:
    """Set after how many seconds of silence others consider this process dead."""
    token = own_token(connection)
    connection.execute(PROCESSES.update().where(PROCESSES.c.token == token).values(lease_s=lease_s))


def read_owner(row: sa.Row[Any]) -> Owner | None:
    """Return the process of a row with `PROCESS_COLUMNS` and a column `process`, its token."""
    if row.process is None:
        return None
    return Owner(
        token=row.process,
        host=row.process_host,
        pid=row.process_pid,
        started=row.process_started,
        boot=row.process_boot,
        namespace=row.process_namespace,
        lease_s=row.process_lease_s,
        beats=row.process_beats,
        silent_s=row.process_silent_s,
    )


def _now(connection: sa.Connection) -> sa.ColumnElement[Any]:
    """Return the time of the database's clock, in UTC, as an expression."""
    if connection.dialect.name == "sqlite":
        return sa.func.strftime("%Y-%m-%d %H:%M:%f", "now")
    return sa.func.timezone("utc", sa.func.clock_timestamp())
