"""Tests of a run whose database is deleted: it stops with a sentence, and nothing is lost."""

import sqlite3
import time
from pathlib import Path

from tests.nas.tiny_study import STUDY, start_nas, write_study

_LONGEST_S = 240.0


def _ended(path: Path) -> int:
    """Return the number of ended candidates; 0 while there is no database."""
    if not path.exists():
        return 0
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        query = "SELECT count(*) FROM nas_trials WHERE kind = 'candidate' AND ended_at IS NOT NULL"
        return int(connection.execute(query).fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


def test_a_run_whose_database_is_deleted_stops_and_keeps_everything(tmp_path: Path, nas) -> None:
    write_study(tmp_path, STUDY.replace("trials = 4", "trials = 500"))
    database, rescued = tmp_path / "nas.db", tmp_path / "nas-rescued-1.db"
    process = start_nas(tmp_path, "run", "tiny.toml")
    try:
        deadline = time.monotonic() + _LONGEST_S
        while (before := _ended(database)) < 2:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for path in tmp_path.glob("nas.db*"):
            path.unlink()
        _, errors = process.communicate(timeout=_LONGEST_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 2
    last = errors.strip().splitlines()[-1]
    assert last.startswith("nas: storage: 'sqlite:///nas.db' was deleted or replaced during use")
    assert "nas-rescued-1.db" in last
    assert "Traceback" not in errors
    assert not database.exists()
    after = _ended(rescued)
    assert after >= before
    # The rescued file resumes the study under the name of the deleted one.
    rescued.rename(database)
    checked = nas("db", "check")
    assert checked.returncode == 0, checked.stdout
    more = nas("run", "tiny.toml", "--trials", str(after + 1))
    assert more.returncode == 0, more.stderr
    assert _ended(database) >= after + 1
