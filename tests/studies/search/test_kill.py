"""A study whose process is killed repeatedly ends as if it had never been interrupted."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from studies.search.loop import run_study
from studies.storage.store import Store
from tests.studies.fakes import all_stages, small_spec

_WORKER = """
import sys
from studies.search.loop import run_study
from studies.storage.store import Store
from tests.studies.fakes import all_stages, small_spec

stages = all_stages()
for stage in stages:
    stage.seconds = 0.02
with Store.open(sys.argv[1]) as store:
    store.optuna_storage()
    print("ready", flush=True)
    run_study(small_spec(sys.argv[1], trials=int(sys.argv[2])), evaluators=stages, store=store)
"""


def _start(url: str, trials: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _WORKER, url, str(trials)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # the traceback of an interrupt
        text=True,
        cwd=Path(__file__).parents[2],
    )


def _run(url: str, trials: int, *, kills: int, generator: random.Random) -> None:
    """Run the same command repeatedly, and kill it every time but the last.

    It is killed with SIGINT, which it can handle, or with SIGKILL, which no process can.
    """
    for _ in range(kills):
        with _start(url, trials) as worker:
            assert worker.stdout is not None
            worker.stdout.readline()
            time.sleep(generator.uniform(0.2, 0.9))
            kind = generator.choice([signal.SIGKILL, signal.SIGINT])
            worker.send_signal(kind)
        assert worker.returncode in (-kind, 0)
    with _start(url, trials) as worker:
        assert worker.wait() == 0


def _check(url: str, total: int) -> None:
    with Store.open(url) as store:
        trials = store.trials("small")
        states = Counter(trial.state for trial in trials)
        assert [trial.number for trial in trials] == list(range(total))
        assert states["complete"] + states["stopped"] == total
        for trial in trials:
            assert [run.stage for run in trial.stages] == ["costs", "latency", "training"]
        told = optuna.load_study(study_name="small", storage=store.optuna_storage()).trials
        by_number = {frozen.number: frozen for frozen in told}
        for trial in trials:
            assert trial.optuna_number is not None
            frozen = by_number.pop(trial.optuna_number)
            assert frozen.state == TrialState.COMPLETE
            if trial.state == "complete":
                values = [trial.values[name] for name in ("loss", "decode", "memory")]
                assert frozen.values == values
        # The others were drawn by a process that died before it could store the trial.
        assert {frozen.state for frozen in by_number.values()} <= {
            TrialState.RUNNING,
            TrialState.FAIL,
        }
        # Running the study again evaluates nothing.
        stages = all_stages()
        run_study(small_spec(url, trials=total), evaluators=stages, store=store)
        assert [stage.asked for stage in stages] == [[], [], []]


def test_a_killed_study_ends_with_exactly_its_trials(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    _run(f"sqlite:///{path}", 20, kills=3, generator=random.Random(5))
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
    _check(f"sqlite:///{path}", 20)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_killed_many_times(url: str, seed: int) -> None:
    _run(url, 80, kills=25, generator=random.Random(seed))
    _check(url, 80)


def test_a_survivor_takes_over_from_one_that_was_killed(url: str) -> None:
    with _start(url, 14) as survivor, _start(url, 14) as victim:
        for worker in (survivor, victim):
            assert worker.stdout is not None
            worker.stdout.readline()
        time.sleep(0.4)
        victim.kill()
        victim.wait()
        assert survivor.wait() == 0
    _check(url, 14)
