"""How processes are identified, and which of them are considered dead."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from studies.owner import Owner, is_lost, this_process


def test_a_later_process_with_the_same_number_is_another_process() -> None:
    here = this_process()
    now = datetime.now(UTC)
    assert not is_lost(here, now)
    assert is_lost(replace(here, started="earlier"), now)


def test_a_process_that_ended_is_lost() -> None:
    code = "from studies.owner import this_process as p; o = p(); print(o.pid, o.started, o.host)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    pid, started, host = done.stdout.split()
    assert is_lost(Owner(host=host, pid=int(pid), started=started), datetime.now(UTC))
    assert int(pid) != os.getpid()


def test_a_process_of_another_host_is_lost_once_it_is_silent() -> None:
    elsewhere = replace(this_process(), host="elsewhere")
    now = datetime.now(UTC)
    assert not is_lost(elsewhere, now - timedelta(minutes=50))
    assert is_lost(elsewhere, now - timedelta(minutes=70))
    assert not is_lost(this_process(), now - timedelta(days=1))
