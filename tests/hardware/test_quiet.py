"""Measurements and training runs on one machine wait for each other, as real processes show."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hardware import quiet
from hardware.machine_lock import LockWait, make_lock_wait
from hardware.processes import LockMode, lock_holders
from hardware.quiet import MeasurementSeries, measuring, yielding_to_measurements
from tests.hardware.clocks import SleepingClock
from tests.hardware.machines import PATIENCE_S, Machine, wait_until

TRAINER = """
with yielding_to_measurements(write, folder=folder) as yield_to_measurements:
    while True:
        yield_to_measurements()
        write("step begins")
        time.sleep(0.02)
        write("step ends")
"""

MEASURER = """
with measure():
    write("measures")
    time.sleep(3600)
"""


PAUSED = "paused during a measurement on this machine"
WAITING = "waiting for another measurement on this machine"


def named(*processes: subprocess.Popen[bytes], state: str = "") -> str:
    """Return how a report names these processes of a Machine as those that hold a lock."""
    if not Path("/proc/locks").exists():
        return ""
    python, user = Path(sys.executable).name, pwd.getpwuid(os.getuid()).pw_name
    names = [f"`{python} -c`, pid {process.pid}, user {user}{state}" for process in processes]
    return f" ({'; '.join(names)})"


def bind_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def lock_holders_in(folder: Path, name: str, mode: LockMode) -> list[int]:
    with (folder / name).open() as file:
        return lock_holders(file.fileno(), mode)


@dataclass
class Counts:
    steps: int = 0
    pauses: int = 0


@contextlib.contextmanager
def training_thread(folder: Path) -> Iterator[Counts]:
    counts, over = Counts(), threading.Event()

    def pause(_: str) -> None:
        counts.pauses += 1

    def train() -> None:
        with yielding_to_measurements(pause, folder=folder) as yield_to_measurements:
            while not over.is_set():
                yield_to_measurements()
                counts.steps += 1
                time.sleep(0.001)

    thread = threading.Thread(target=train, daemon=True)
    thread.start()
    try:
        yield counts
    finally:
        over.set()
        thread.join(PATIENCE_S)


class TestATraining:
    def test_pauses_after_its_step_and_resumes(self, machine):
        machine.start(TRAINER)
        for _ in range(3):
            machine.wait_for_another("step ends")
            with machine.measuring():
                machine.write("measures")
                time.sleep(0.1)  # five steps long
                machine.write("measured")
            machine.wait_for_another("step ends")
        events = machine.events()
        for start in (place for place, event in enumerate(events) if event == "measures"):
            begun, ended = (events[:start].count(f"step {word}") for word in ("begins", "ends"))
            assert begun == ended
            # In between, it may have reported that it pauses.
            between = events[start + 1 : events.index("measured", start)]
            assert all(event.startswith(PAUSED) for event in between)
        assert machine.count(PAUSED) > 0

    def test_pauses_in_every_process(self, machine):
        for _ in range(2):
            machine.start(TRAINER.replace("step", "one's step"))
            machine.start(TRAINER.replace("step", "other's step"))
        machine.wait_for("one's step ends", 5)
        machine.wait_for("other's step ends", 5)
        with machine.measuring():
            before = [event for event in machine.events() if "step" in event]
            time.sleep(0.1)
            assert [event for event in machine.events() if "step" in event] == before
        machine.wait_for_another("one's step ends")
        machine.wait_for_another("other's step ends")

    def test_pauses_in_every_thread(self, tmp_path):
        with training_thread(tmp_path) as one, training_thread(tmp_path) as other:
            wait_until(lambda: one.steps > 5 and other.steps > 5)
            with measuring(lambda _: None, patience_s=0.0, folder=tmp_path):
                before = one.steps, other.steps
                time.sleep(0.1)
                assert (one.steps, other.steps) == before
            wait_until(lambda: one.steps > before[0] and other.steps > before[1])

    def test_starts_after_a_measurement(self, machine):
        with machine.measuring():
            machine.start(TRAINER)
            machine.wait_for(PAUSED)
            assert "step begins" not in machine.events()
        machine.wait_for("step ends")

    def test_reports_how_long_it_paused(self, machine):
        def report(_: str) -> None:
            threading.Timer(0.2, measurer.kill).start()

        with yielding_to_measurements(report, folder=machine.folder) as yield_to_measurements:
            assert yield_to_measurements() == 0.0
            measurer = machine.start(MEASURER)
            machine.wait_for("waiting for training on this machine to pause")
            assert yield_to_measurements() >= 0.2

    def test_resumes_when_the_measuring_process_is_killed(self, machine):
        machine.start(TRAINER)
        machine.wait_for("step ends")
        measurer = machine.start(MEASURER)
        machine.wait_for("measures")
        machine.wait_for(f"{PAUSED}{named(measurer)}")
        paused = machine.events()
        measurer.kill()
        machine.wait_for("step ends", paused.count("step ends") + 1)

    def test_no_longer_blocks_a_measurement_once_killed(self, machine):
        trainer = machine.start(TRAINER)
        machine.wait_for("step ends")
        trainer.send_signal(signal.SIGSTOP)  # so that it cannot pause by itself
        machine.start(MEASURER)
        named_trainer = named(trainer, state=", stopped")
        machine.wait_for(f"waiting for training on this machine to pause{named_trainer}")
        time.sleep(0.1)
        assert "measures" not in machine.events()
        trainer.kill()
        machine.wait_for("measures")


class TestMeasurements:
    def test_never_overlap(self, machine):
        script = """
for _ in range(10):
    with measure():
        write(f"begins {os.getpid()}")
        time.sleep(0.01)
        write(f"ends {os.getpid()}")
"""
        for process in [machine.start(script) for _ in range(3)]:
            assert process.wait(PATIENCE_S) == 0
        events = [event.split() for event in machine.events() if not event.startswith("waiting")]
        assert len(events) == 2 * 3 * 10
        for begun, ended in zip(events[::2], events[1::2], strict=True):
            assert (begun[0], ended[0]) == ("begins", "ends")
            assert begun[1] == ended[1]

    def test_in_a_row_let_those_that_wait_have_their_turn(self, machine):
        with machine.measuring():
            machine.start("""
with measure():
    write("the other measures")
""")
            machine.wait_for(WAITING)
        with machine.measuring():
            machine.write("measures again")
        events = [event for event in machine.events() if not event.startswith("waiting")]
        assert events == ["the other measures", "measures again"]

    def test_report_that_they_wait_and_for_how_long(self, machine):
        measurer = machine.start(MEASURER)
        machine.wait_for("measures")
        sentences: list[str] = []

        def report(sentence: str) -> None:
            sentences.append(sentence)
            threading.Timer(0.2, measurer.kill).start()

        with machine.measuring(report) as reservation:
            assert reservation.waited_s >= 0.2
            assert reservation.obstacle is None
        assert sentences[0] == f"{WAITING}{named(measurer)}, for up to 600 s"

    def test_can_alternate_with_trainings_in_one_process(self, tmp_path):
        for _ in range(2):
            with measuring(lambda _: None, patience_s=0.0, folder=tmp_path):
                pass
            with yielding_to_measurements(pytest.fail, folder=tmp_path) as yield_to_measurements:
                assert yield_to_measurements() == 0.0

    @pytest.mark.parametrize("waiting", [TRAINER, MEASURER])
    def test_ctrl_c_ends_waiting_for_one(self, machine, waiting):
        reported = {TRAINER: PAUSED, MEASURER: WAITING}
        with machine.measuring():
            process = machine.start(waiting)
            machine.wait_for(reported[waiting])
            time.sleep(0.1)  # the process waits only after its report
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == -signal.SIGINT

    def test_end_even_if_a_forked_child_survives(self, machine):
        process = machine.start("""
with measure():
    if os.fork() == 0:
        write(f"child {os.getpid()}")
        time.sleep(3600)
""")
        assert process.wait(PATIENCE_S) == 0
        wait_until(lambda: any(event.startswith("child") for event in machine.events()))
        (child,) = (int(event.split()[1]) for event in machine.events() if "child" in event)
        try:
            with machine.measuring(pytest.fail):
                pass
        finally:
            os.kill(child, signal.SIGKILL)


class TestASeriesOfMeasurements:
    def test_waits_for_other_programs_only_once_for_all_of_them(self, tmp_path, monkeypatch):
        clock = SleepingClock()

        def busy() -> str:
            clock.sleep(10.0)
            return "other programs use every core"

        monkeypatch.setattr(quiet, "time", clock)
        monkeypatch.setattr(quiet, "load_of_others", busy)
        monkeypatch.setattr(quiet, "_machine_folder", lambda: tmp_path)
        series, waits = MeasurementSeries(25.0), []
        for _ in range(3):
            with series.measuring(lambda _: None) as reservation:
                waits.append(reservation.waited_s)
        assert waits == pytest.approx([30.0, 0.0, 0.0])


@pytest.fixture
def stopped_measurer(machine):
    """A process that was stopped while it measured."""
    process = machine.start(MEASURER)
    machine.wait_for("measures")
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    return process


class TestAProcessThatKeepsTheMachine:
    """Here it is stopped, but any user can keep it."""

    WAIT = LockWait(longest_wait=0.3)

    def test_is_named_and_then_no_longer_waited_for(self, machine, stopped_measurer):
        sentences: list[str] = []
        who = named(stopped_measurer, state=", stopped")
        with machine.measuring(sentences.append, self.WAIT) as reservation:
            assert reservation.waited_s >= 0.3
            obstacle = f"another measurement on this machine has not ended within 0.3 s{who}"
            assert reservation.obstacle == obstacle
            assert "provisional" in reservation.remark
        assert sentences == [
            f"{WAITING}{who}, for up to 1 s",
            f"{obstacle}; measuring regardless, with provisional times",
        ]

    def test_is_waited_for_only_once(self, machine, stopped_measurer):
        for _ in range(3):
            with machine.measuring(wait=self.WAIT) as reservation:
                assert reservation.obstacle is not None
        patient = LockWait(longest_wait=3600.0)
        with machine.measuring(wait=patient) as reservation:
            assert reservation.obstacle is not None
            assert reservation.waited_s < 3600
        with yielding_to_measurements(
            lambda _: None, longest_wait=3600.0, folder=machine.folder
        ) as yield_to_measurements:
            yield_to_measurements()

    def test_is_waited_for_again_once_it_has_released_the_machine(self, machine, stopped_measurer):
        with machine.measuring(wait=self.WAIT) as reservation:
            assert reservation.obstacle is not None
        stopped_measurer.kill()
        stopped_measurer.wait()
        with machine.measuring(pytest.fail) as reservation:
            assert reservation.obstacle is None
        measurer = machine.start(MEASURER)
        machine.wait_for("measures", 2)
        threading.Timer(0.3, measurer.kill).start()
        with machine.measuring(wait=LockWait(longest_wait=PATIENCE_S)) as reservation:
            assert reservation.obstacle is None

    def test_ends_the_measurement_with_a_sentence_if_so_configured(self, machine, stopped_measurer):
        wait = LockWait(longest_wait=0.1, if_occupied="stop")
        with pytest.raises(ValueError, match=r"^longest_wait: another measurement on ") as caught:
            machine.measuring(wait=wait).__enter__()
        sentence = str(caught.value)
        assert f"within 0.1 s{named(stopped_measurer, state=', stopped')}; resume" in sentence
        assert "if_occupied" in sentence
        assert len(sentence) <= 500

    def test_does_not_keep_a_training_from_starting(self, machine, stopped_measurer):
        machine.start(TRAINER.replace("write,", "write, longest_wait=0.3,"))
        machine.wait_for("step ends", 3)
        who = named(stopped_measurer, state=", stopped")
        assert machine.count(f"{PAUSED}{who}, for up to 1 s") == 1
        continued = f"a measurement on this machine has not ended within 0.3 s{who}; training"
        assert machine.count(continued) == 1

    def test_pauses_a_training_only_once_until_it_has_released_the_machine(self, machine):
        machine.start(TRAINER.replace("write,", "write, longest_wait=0.3,"))
        machine.wait_for("step ends")
        measurer = machine.start(MEASURER)
        machine.wait_for("measures")
        measurer.send_signal(signal.SIGSTOP)
        machine.wait_for("a measurement on this machine has not ended within 0.3 s")
        machine.wait_for_another("step ends")
        measurer.kill()
        # It shares the lock again as soon as it looks, and then pauses for others as before.
        wait_until(lambda: lock_holders_in(machine.folder, "nas-training.lock", "READ"))
        with machine.measuring(wait=LockWait(longest_wait=PATIENCE_S)) as reservation:
            assert reservation.obstacle is None
            steps = machine.count("step begins")
            time.sleep(0.1)
            assert machine.count("step begins") == steps
        machine.wait_for_another("step ends")

    def test_may_be_a_training_that_was_stopped(self, machine):
        trainer = machine.start(TRAINER)
        machine.wait_for("step ends")
        trainer.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, trainer.pid, os.WSTOPPED | os.WNOWAIT)
        with machine.measuring(wait=self.WAIT) as reservation:
            who = named(trainer, state=", stopped")
            expected = f"training on this machine has not paused within 0.3 s{who}"
            assert reservation.obstacle == expected

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can start processes of others")
    @pytest.mark.skipif(shutil.which("flock") is None, reason="needs the program flock")
    def test_may_belong_to_another_user(self):
        with tempfile.TemporaryDirectory() as name:
            machine = Machine(Path(name))
            machine.folder.chmod(0o755)
            with machine.measuring():
                pass  # so that the files exist
            command = ["flock", machine.folder / "nas-measuring.lock", "sleep", "3600"]
            holder = subprocess.Popen(command, user=65534, start_new_session=True)
            try:
                wait_until(lambda: lock_holders_in(machine.folder, "nas-measuring.lock", "WRITE"))
                with machine.measuring(wait=self.WAIT) as reservation:
                    user = pwd.getpwuid(65534).pw_name
                    assert f"pid {holder.pid}, user {user})" in reservation.obstacle
            finally:
                os.killpg(holder.pid, signal.SIGKILL)
                holder.wait()


class TestTheLongestWait:
    def test_is_by_default_longer_than_another_measurement_takes(self):
        assert make_lock_wait(20.0, None, "measure") == LockWait(longest_wait=640.0)
        assert make_lock_wait(3600.0, None, "measure").longest_wait > 2 * 3600

    @pytest.mark.parametrize("longest_wait", [-1.0, float("nan"), float("inf")])
    def test_is_a_number_of_seconds(self, longest_wait):
        with pytest.raises(ValueError, match=r"^longest_wait: .* is not a number of at least 0$"):
            make_lock_wait(20.0, longest_wait, "measure")

    def test_is_followed_by_one_of_two_actions(self):
        with pytest.raises(ValueError, match=r"^if_occupied: 'go' is not 'measure' or 'stop'$"):
            make_lock_wait(20.0, None, "go")


class TestLockFiles:
    def test_may_be_removed_during_a_training(self, tmp_path):
        with training_thread(tmp_path) as training:
            wait_until(lambda: training.steps > 5)
            for file in tmp_path.iterdir():
                file.unlink()
            with measuring(lambda _: None, patience_s=0.0, folder=tmp_path):
                wait_until(lambda: training.pauses == 1)
            before = training.steps
            wait_until(lambda: training.steps > before)
            with measuring(lambda _: None, patience_s=0.0, folder=tmp_path):
                wait_until(lambda: training.pauses == 2)

    def test_are_readable_for_every_user_with_any_umask(self, tmp_path):
        before = os.umask(0o077)
        try:
            with measuring(lambda _: None, patience_s=0.0, folder=tmp_path):
                pass
        finally:
            os.umask(before)
        assert [file.stat().st_mode & 0o777 for file in tmp_path.iterdir()] == [0o644] * 2

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can temporarily become another user")
    def test_may_belong_to_another_user(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            folder.chmod(0o755)
            with measuring(lambda _: None, patience_s=0.0, folder=folder):
                pass
            os.seteuid(65534)
            try:
                with measuring(pytest.fail, patience_s=0.0, folder=folder):
                    pass
                with yielding_to_measurements(pytest.fail, folder=folder) as yield_to_measurements:
                    assert yield_to_measurements() == 0.0
                for file in folder.iterdir():
                    with pytest.raises(PermissionError):
                        file.open("w")
            finally:
                os.seteuid(0)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write to any file")
    def test_need_not_be_writable(self, tmp_path):
        with measuring(lambda _: None, patience_s=0.0, folder=tmp_path):
            pass
        for file in tmp_path.iterdir():
            file.chmod(0o444)
        tmp_path.chmod(0o555)
        with measuring(pytest.fail, patience_s=0.0, folder=tmp_path):
            pass

    @pytest.mark.parametrize("lock", ["nas-measuring.lock", "nas-training.lock"])
    @pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, bind_socket])
    def test_may_only_be_regular_files(self, tmp_path, lock, make):
        make(tmp_path / lock)
        for begin in (measuring, yielding_to_measurements):
            with pytest.raises(ValueError, match=rf"^lock: '.*{lock}' is not a ") as caught:
                begin(pytest.fail, folder=tmp_path).__enter__()
            assert f"belongs to user {pwd.getpwuid(os.getuid()).pw_name}" in str(caught.value)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can temporarily become another user")
    def test_that_may_not_be_read_are_an_error_that_names_their_owner(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            folder.chmod(0o755)
            (folder / "nas-measuring.lock").touch(0o600)
            os.seteuid(65534)
            try:
                with pytest.raises(ValueError, match=r"Permission denied; it belongs to user root"):
                    measuring(pytest.fail, folder=folder).__enter__()
            finally:
                os.seteuid(0)

    @pytest.mark.parametrize("exists", [False, True])
    def test_may_not_be_symbolic_links(self, tmp_path, exists):
        victim = tmp_path / "victim"
        if exists:
            victim.touch()
        (tmp_path / "nas-measuring.lock").symlink_to(victim)
        with pytest.raises(ValueError, match=r"^lock: '.*nas-measuring.lock' is not a file that"):
            measuring(pytest.fail, folder=tmp_path).__enter__()
        assert victim.exists() == exists

    def test_that_cannot_be_created_are_an_error_of_one_sentence(self, tmp_path):
        with pytest.raises(ValueError, match=r"^lock: .* create \(No such file or directory"):
            yielding_to_measurements(pytest.fail, folder=tmp_path / "nowhere").__enter__()

    def test_are_in_the_same_folder_for_every_user(self, monkeypatch, tmp_path):
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        assert quiet._machine_folder() in (Path("/dev/shm"), Path("/tmp"))
