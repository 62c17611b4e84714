"""Processes that run one study together, and what must hold of its database in the end."""

import contextlib
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import optuna

from studies.analysis.study_front import front, objective_names, objective_values
from studies.storage.store import Store

_PROGRAM = """
import sys, time
from studies.search.events import Remark, TrialEnded, TrialLost
from studies.search.loop import run_study
from studies.storage.store import Store
from tests.studies.fakes import all_stages, small_spec

url, trials, seconds, lease_s = sys.argv[1], *map(float, sys.argv[2:])
stages = all_stages()
for stage in stages:
    stage.seconds = seconds

def listen(event):
    if isinstance(event, Remark | TrialLost):
        print(event, flush=True)
    if isinstance(event, TrialEnded):
        print("ended", event.trial.number, time.monotonic(), flush=True)

try:
    with Store.open(url) as store:
        spec = small_spec(url, trials=int(trials))
        run_study(spec, evaluators=stages, store=store, listener=listen, lease_s=lease_s)
except ValueError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
finally:
    for stage in stages:
        for digest in stage.asked:
            print("asked", stage.stage, digest, flush=True)
"""
_ROOT = Path(__file__).parents[3]


class Worker:
    """A process that runs the study `small`, with its output in files.

    Args:
        folder: A folder for the files.
        url: The database.
        trials: The number of candidates.
        seconds: The time of each stage.
        lease_s: See `run_study`.
        prefix: Put before the command.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        *,
        trials: int = 30,
        seconds: float = 0.05,
        lease_s: float = 3.0,
        prefix: Sequence[str] = (),
    ) -> None:
        name = f"{len(list(folder.glob('*.out')))}"
        numbers = (f"{trials}", f"{seconds}", f"{lease_s}")
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-c", _PROGRAM, url, *numbers],
                stdout=out,
                stderr=err,
                cwd=_ROOT,
            )

    def finish(self) -> None:
        """Wait until the process ends, as it should."""
        assert self.process.wait(timeout=240) == 0, self.errors

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    @property
    def output(self) -> str:
        return self._out.read_text()

    @property
    def errors(self) -> str:
        return self._err.read_text()

    @property
    def asked(self) -> list[str]:
        lines = self.output.splitlines()
        return [line for line in lines if line.startswith("asked")]

    @property
    def ends(self) -> list[tuple[int, float]]:
        """The trials that the process has ended, and when, by the clock of `time.monotonic`."""
        words = [line.split() for line in self.output.splitlines()]
        return [(int(each[1]), float(each[2])) for each in words if each[:1] == ["ended"]]


@contextlib.contextmanager
def killed_at_exit(workers: Sequence[Worker]) -> Iterator[None]:
    """Kill the processes at the end of the context, if they still run."""
    try:
        yield
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()


def check_study(url: str, total: int, workers: Sequence[Worker]) -> None:
    """Check that every trial has ended well and once, and that every process has said why it ended.

    Optuna's own tables must agree with those of the study.
    """
    for worker in workers:
        assert "Traceback" not in worker.errors, worker.errors
        assert worker.process.returncode != 2 or len(worker.errors.splitlines()) == 1
    ends = Counter(number for worker in workers for number, _ in worker.ends)
    assert set(ends.values()) <= {1}, ends
    with Store.open(url) as store:
        trials = store.trials("small")
        states = Counter(trial.state for trial in trials)
        assert [trial.number for trial in trials] == list(range(total))
        assert states["complete"] + states["stopped"] == total, states
        found = front(store, "small")
        names = objective_names(found.spec)
        optuna_study = optuna.load_study(study_name="small", storage=store.optuna_storage())
        assert {objective_values(trial, names) for trial in found.members} == {
            tuple(trial.values) for trial in optuna_study.best_trials
        }
    with Store.open_to_read(url) as reader:
        assert front(reader, "small") == found


def ended_trials(url: str) -> dict[int, tuple[str, str, dict[str, float]]]:
    """Return the state, architecture and scores of each candidate that has ended, by number."""
    with Store.open_to_read(url) as store:
        return {
            trial.number: (trial.state, trial.model.hash, trial.values)
            for trial in store.trials("small")
            if trial.outcome is not None and trial.model is not None
        }


def wait_until_ended(url: str, count: int) -> None:
    """Wait until so many candidates have ended."""
    _wait_until(lambda: len(ended_trials(url)) >= count)


def wait_until_training(url: str) -> None:
    """Wait until a candidate is in its last stage."""

    def is_training() -> bool:
        with Store.open_to_read(url) as store:
            return any(trial.stage == "training" for trial in store.trials("small"))

    _wait_until(is_training)


def _wait_until(condition: Callable[[], bool]) -> None:
    while True:
        with contextlib.suppress(ValueError):  # the study has not begun
            if condition():
                return
        time.sleep(0.05)
