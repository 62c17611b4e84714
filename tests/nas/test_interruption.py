"""Ctrl-C at random moments of a study with real training and real measurements."""

import contextlib
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from search_space.architecture import to_json
from tests.nas.tiny_study import STUDY, write_study
from tests.search_space.strategies import ATTENTION, CONV, stack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")

# Most runs end in less than two seconds after Ctrl-C on a quiet machine; a busy one takes longer.
LONGEST_END_S = 30.0
# Far more than the study takes, even on a busy machine.
LONGEST_RUN_S = 600.0
# The measurements of the study are real, but short and as imprecise as a study file permits.
CHANGES = {
    'references = ["lfm2.5-230m"]': "",
    "vocab_size = [4096, 16384]": "vocab_size = [4096]",
    'runner = "fake"': 'runner = "local"\nreference = "reference.json"\nseconds = 0.2\n'
    "precision = 0.99",
}
# The locks of this machine would make other tests wait.
START = """
from pathlib import Path
import hardware.quiet
hardware.quiet._machine_folder = lambda: Path("locks")
from nas.start import main
print("begun", flush=True)
main()
"""
MARK = "NAS_TEST_MARK"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of `nas`; `end_s` is the time from Ctrl-C to its end, or None if it was not hit."""

    returncode: int
    errors: str
    end_s: float | None
    whole_s: float


class Place:
    """A folder with a study, in which `nas run` is started again and again."""

    def __init__(self, folder: Path, trials: int) -> None:
        (folder / "locks").mkdir(parents=True)
        self.trials = trials
        text = STUDY.replace("trials = 4", f"trials = {trials}")
        for old, new in CHANGES.items():
            assert old in text
            text = text.replace(old, new)
        write_study(folder, text)
        (folder / "reference.json").write_text(to_json(stack(CONV, ATTENTION)))
        self._folder = folder
        self._mark = uuid.uuid4().hex

    def run(self, interrupt_after_s: float | None) -> Run:
        """Run the study; with a time, press Ctrl-C that long after the program has begun."""
        with self._started() as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            start = time.monotonic()
            interrupted_at = None
            try:
                _, errors = process.communicate(timeout=interrupt_after_s or LONGEST_RUN_S)
            except subprocess.TimeoutExpired:
                assert interrupt_after_s is not None, "the study does not end"
                interrupted_at = time.monotonic()
                process.send_signal(signal.SIGINT)
                _, errors = process.communicate(timeout=LONGEST_END_S)
        end = time.monotonic()
        return Run(
            returncode=process.returncode,
            errors=errors,
            end_s=None if interrupted_at is None else end - interrupted_at,
            whole_s=end - start,
        )

    def ended_trials(self) -> list[tuple[int, str, str]]:
        """Return the number, the state and the architecture of each trial that has ended."""
        return self._query(
            "SELECT number, state, architecture FROM nas_trials "
            "WHERE ended_at IS NOT NULL ORDER BY number"
        )

    def running_trials(self) -> list[tuple[int]]:
        return self._query("SELECT number FROM nas_trials WHERE state = 'running'")

    def processes(self) -> list[int]:
        """Return the processes of this place, wherever they have moved to."""
        found = []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if self._mark.encode() in environ.read_bytes():
                    found.append(int(environ.parent.name))
        return found

    @contextlib.contextmanager
    def _started(self) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            [sys.executable, "-c", START, "run", "tiny.toml"],
            cwd=self._folder,
            env=os.environ | {"TERM": "dumb", MARK: self._mark},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def _query(self, query: str) -> list[tuple]:
        path = self._folder / "nas.db"
        if not path.exists():
            return []
        with contextlib.closing(sqlite3.connect(path)) as database:
            tables = database.execute("SELECT name FROM sqlite_master").fetchall()
            if ("nas_trials",) not in tables:  # Ctrl-C preceded the first transaction
                return []
            return database.execute(query).fetchall()


def check_interruptions(folder: Path, *, moments: int, trials: int, whole_s: float) -> None:
    """Interrupt runs at this many random moments, and let every study end.

    Args:
        folder: An empty folder.
        moments: The number of interruptions.
        trials: The number of trials of each study.
        whole_s: Seconds after which a run is interrupted at the latest.
    """
    seed = random.SystemRandom().randrange(1 << 32)
    generator = random.Random(seed)
    print(f"seed {seed}")
    ends_s: list[float] = []
    studies = 0
    while len(ends_s) < moments:
        studies += 1
        place = Place(folder / str(studies), trials)
        while len(ends_s) < moments:
            kept = place.ended_trials()
            run = place.run(generator.uniform(0.0, whole_s))
            if run.end_s is None:
                assert run.returncode == 0, run.errors
                break
            if run.returncode == 0:  # the study ended at that moment
                break
            assert run.returncode == 130, run.errors
            assert "Traceback" not in run.errors
            assert "Exception ignored" not in run.errors
            assert run.errors.count("nas: stopped\n") + run.errors.count("stopped after") == 1
            assert place.processes() == []
            assert place.running_trials() == []
            assert place.ended_trials()[: len(kept)] == kept
            ends_s.append(run.end_s)
            print(f"after {run.whole_s - run.end_s:.2f} s: ended within {run.end_s:.2f} s")
        checked_to_the_end(place)
    print(
        f"{len(ends_s)} interruptions ended within {statistics.median(ends_s):.2f} s (median), "
        f"{max(ends_s):.2f} s (longest); {sum(end_s < 2 for end_s in ends_s)} within 2 s"
    )


def checked_to_the_end(place: Place) -> float:
    """Let a study end, check its trials, and return the seconds that this took."""
    run = place.run(None)
    assert run.returncode == 0, run.errors
    assert "Traceback" not in run.errors
    trials = place.ended_trials()
    assert [number for number, *_ in trials] == list(range(place.trials))
    assert all(state in ("complete", "stopped") for _, state, _ in trials)
    assert place.running_trials() == []
    assert place.processes() == []
    return run.whole_s


@pytest.mark.parametrize("seconds", [0.05, 0.15, 0.4])
def test_ctrl_c_is_answered_while_the_program_loads(tmp_path: Path, seconds: float) -> None:
    run = Place(tmp_path, 1).run(seconds)
    assert run.returncode == 130
    assert run.errors.splitlines()[-1].startswith(("nas: stopped", "stopped after 0 of 1 trial"))
    assert "Traceback" not in run.errors


def test_a_second_ctrl_c_changes_nothing(tmp_path: Path) -> None:
    write_study(tmp_path, STUDY.replace("trials = 4", "trials = 500"))
    with training_study(tmp_path, "") as process:
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "run the same command again to resume" not in process.stderr.readline():
            assert process.poll() is None
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.01)
        _, errors = process.communicate(timeout=LONGEST_END_S)
    assert process.returncode == 130
    assert "Traceback" not in errors


@pytest.mark.timeout(900)  # other measurements take precedence over this program's processes
def test_a_study_ends_cleanly_and_resumes(tmp_path: Path) -> None:
    check_interruptions(tmp_path, moments=2, trials=1, whole_s=8.0)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_study_ends_cleanly_and_resumes_fifty_times(tmp_path: Path) -> None:
    whole_s = checked_to_the_end(Place(tmp_path / "whole", trials=3))
    check_interruptions(tmp_path, moments=50, trials=3, whole_s=whole_s)


@contextlib.contextmanager
def training_study(folder: Path, before: str) -> Iterator[subprocess.Popen[str]]:
    """Start a study from a shell, after a command of that shell, and wait for its first trial."""
    with subprocess.Popen(
        ["/bin/sh", "-c", f'{before} exec "{sys.executable}" -m nas.start run tiny.toml'],
        cwd=folder,
        env=os.environ | {"TERM": "dumb"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stderr is not None
            while "trial 0  costs" not in process.stderr.readline():
                assert process.poll() is None
            yield process
        finally:
            process.kill()


# A shell starts the background processes of a script without Ctrl-C.
@pytest.mark.parametrize("before", ["", "trap '' INT;"], ids=["terminal", "script"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_that_end_programs_release_the_trial(
    number: signal.Signals, before: str, tmp_path: Path
) -> None:
    """The system shuts down, a container is stopped, or a terminal is closed."""
    write_study(tmp_path, STUDY.replace("trials = 4", "trials = 500"))
    with training_study(tmp_path, before) as process:
        process.send_signal(number)
        _, errors = process.communicate(timeout=LONGEST_END_S)
    assert process.returncode == 130
    assert errors.splitlines()[-1].endswith("interrupted training runs restart")
    assert "Traceback" not in errors
    with contextlib.closing(sqlite3.connect(tmp_path / "nas.db")) as database:
        query = "SELECT DISTINCT state FROM nas_trials WHERE kind = 'candidate'"
        states = {state for (state,) in database.execute(query).fetchall()}
    assert states <= {"complete", "interrupted"}


def test_a_study_that_ignores_the_end_of_its_terminal_goes_on(tmp_path: Path) -> None:
    """The command nohup starts programs like this."""
    write_study(tmp_path)
    with training_study(tmp_path, "trap '' HUP;") as process:
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=LONGEST_RUN_S)
    assert process.returncode == 0
