"""Processes are named as /proc describes them: fake ones in a folder like it, and real ones."""

import fcntl
import os
import pwd
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hardware.processes import (
    PROC,
    Consumer,
    LockHolder,
    ProcessTimes,
    command_of,
    describe_holder,
    largest_consumer,
    lock_holders,
    read_process_times,
)
from tests.hardware.machines import wait_until
from tests.hardware.proc_tree import TICKS_PER_S, write_process

WE = 4000

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def reading(proc: Path, at_s: float) -> ProcessTimes:
    return replace(read_process_times(proc), at_ns=round(at_s * 1e9))


def consumer(before: ProcessTimes, after: ProcessTimes, proc: Path, cores=(0,)) -> Consumer | None:
    return largest_consumer(before, after, cores, apart_from=WE, proc=proc)


def name_of(proc: Path, name: bytes) -> str:
    """Return the name with which a process is reported that gives itself this one."""
    write_process(proc, 1, used_s=0)
    write_process(proc, 7, name=name, used_s=0)
    before = reading(proc, 0)
    write_process(proc, 7, name=name, used_s=1)
    found = consumer(before, reading(proc, 1), proc)
    assert found is not None
    assert (found.pid, found.cores) == (7, pytest.approx(1.0))
    return found.name


class TestTheLargestConsumer:
    def test_used_most_between_the_readings_and_not_before(self, tmp_path):
        write_process(tmp_path, 1, used_s=1000)
        write_process(tmp_path, 2, used_s=3, name=b"cc1")
        write_process(tmp_path, 3, used_s=4)
        before = reading(tmp_path, 10)
        write_process(tmp_path, 1, used_s=1000)
        write_process(tmp_path, 2, used_s=3.4, name=b"cc1")
        write_process(tmp_path, 3, used_s=4.1)
        found = consumer(before, reading(tmp_path, 10.5), tmp_path)
        assert found == Consumer(pid=2, name="cc1", cores=pytest.approx(0.8))
        assert str(found) == "`cc1` (pid 2)"

    def test_may_use_several_cores(self, tmp_path):
        write_process(tmp_path, 1, threads=4)
        before = reading(tmp_path, 0)
        write_process(tmp_path, 1, threads=4, used_s=2.5)
        found = consumer(before, reading(tmp_path, 1), tmp_path)
        assert found is not None
        assert found.cores == pytest.approx(2.5)

    def test_may_have_started_between_the_readings(self, tmp_path):
        write_process(tmp_path, 1, started_s=5)
        before = reading(tmp_path, 0)
        write_process(tmp_path, 2, started_s=5.5, used_s=0.3)
        found = consumer(before, reading(tmp_path, 1), tmp_path)
        assert found is not None
        assert (found.pid, found.cores) == (2, pytest.approx(0.3))

    def test_may_have_the_pid_of_one_that_has_ended(self, tmp_path):
        write_process(tmp_path, 1, started_s=5, used_s=100, core=1)
        before = reading(tmp_path, 0)
        write_process(tmp_path, 1, started_s=6, used_s=0.3, core=0)
        found = consumer(before, reading(tmp_path, 1), tmp_path)
        assert found is not None
        assert found.cores == pytest.approx(0.3)

    def test_is_not_one_that_could_not_be_read_at_first(self, tmp_path):
        write_process(tmp_path, 1, started_s=5)
        before = reading(tmp_path, 0)
        write_process(tmp_path, 2, started_s=4, used_s=1000)
        assert consumer(before, reading(tmp_path, 1), tmp_path) is None

    def test_has_not_ended(self, tmp_path):
        write_process(tmp_path, 1)
        write_process(tmp_path, 2)
        before = reading(tmp_path, 0)
        shutil.rmtree(tmp_path / "2")
        assert consumer(before, reading(tmp_path, 1), tmp_path) is None

    def test_is_neither_this_process_nor_a_descendant(self, tmp_path):
        family = {WE: 1, 4001: WE, 4002: 4001, 4003: 4002}
        write_process(tmp_path, 5)
        for pid, parent in family.items():
            write_process(tmp_path, pid, parent=parent)
        before = reading(tmp_path, 0)
        write_process(tmp_path, 5, used_s=0.1)
        for pid, parent in family.items():
            write_process(tmp_path, pid, parent=parent, used_s=0.9)
        found = consumer(before, reading(tmp_path, 1), tmp_path)
        assert found is not None
        assert found.pid == 5

    def test_may_be_the_parent_of_this_process(self, tmp_path):
        write_process(tmp_path, 5)
        write_process(tmp_path, WE, parent=5)
        before = reading(tmp_path, 0)
        write_process(tmp_path, 5, used_s=0.1)
        found = consumer(before, reading(tmp_path, 1), tmp_path)
        assert found is not None
        assert found.pid == 5

    def test_may_seem_to_be_its_own_ancestor(self, tmp_path):
        for pid, parent in {5: 6, 6: 5}.items():
            write_process(tmp_path, pid, parent=parent)
        before = reading(tmp_path, 0)
        write_process(tmp_path, 5, parent=6, used_s=0.1)
        found = consumer(before, reading(tmp_path, 1), tmp_path)
        assert found is not None
        assert found.pid == 5

    @pytest.mark.parametrize(
        ("threads", "cores", "is_known"),
        [(1, (1, 1), False), (1, (1, 0), True), (1, (0, 1), True), (2, (1, 1), True)],
    )
    def test_may_have_used_the_core_in_question(self, tmp_path, threads, cores, is_known):
        write_process(tmp_path, 1, threads=threads, core=cores[0])
        before = reading(tmp_path, 0)
        write_process(tmp_path, 1, threads=threads, core=cores[1], used_s=0.5)
        found = consumer(before, reading(tmp_path, 1), tmp_path, cores=(0, 2))
        assert (found is not None) == is_known

    def test_is_unknown_without_any_file(self, tmp_path):
        nowhere = reading(tmp_path / "nowhere", 0), reading(tmp_path / "nowhere", 1)
        assert consumer(*nowhere, tmp_path) is None

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"3",
            b"3 (a) R",
            b"3 (a) R x" + b" 1" * 48,
            b"3 (a R 1" + b" 9" * 48,
            b"\xff\0" * 99,
        ],
    )
    def test_is_found_next_to_malformed_files(self, tmp_path, content):
        def write(used_s: float) -> None:
            write_process(tmp_path, 2, used_s=used_s, name=b"cc1")
            write_process(tmp_path, 3, used_s=100 * used_s)
            (tmp_path / "3" / "stat").write_bytes(content)

        (tmp_path / "stat").write_text("cpu 1 2 3")
        (tmp_path / "4").mkdir()
        (tmp_path / "5").write_text("a file")
        (tmp_path / "6" / "stat").mkdir(parents=True)
        write(0)
        before = reading(tmp_path, 0)
        assert set(before.by_pid) == {2}
        write(0.5)
        found = consumer(before, reading(tmp_path, 1), tmp_path)
        assert found is not None
        assert found.name == "cc1"


class TestANameOfAProcess:
    @pytest.mark.parametrize(
        ("name", "printed"),
        [
            (b"a b", "a b"),
            (b"tmux: server", "tmux: server"),
            (b"(sd-pam)", "(sd-pam)"),
            (b") R 1 (2) S 3", ") R 1 (2) S 3"),
            (b"red \x1b[31m\x07\r\x00", "red [31m"),
            ("left\u202eright\u200b".encode(), "leftright"),
            ("größer".encode(), "größer"),
            (b"\xff\xfe", "\ufffd\ufffd"),
            (
                b"kworker/u16:2-events_unbound_and_much_more",
                "kworker/u16:2-events_unbound_and_much_mo",
            ),
            (b"x" * 39 + b" y", "x" * 39),
            (b"\n\t ", ""),
        ],
    )
    def test_has_up_to_forty_printable_characters(self, tmp_path, name, printed):
        assert name_of(tmp_path, name) == printed

    def test_may_be_unreadable(self, tmp_path):
        write_process(tmp_path, 1)
        before = reading(tmp_path, 0)
        write_process(tmp_path, 1, used_s=0.5)
        (tmp_path / "1" / "comm").unlink()
        found = consumer(before, reading(tmp_path, 1), tmp_path)
        assert str(found) == "a program (pid 1)"


class TestACommand:
    @pytest.mark.parametrize(
        ("words", "command"),
        [
            ([b"/usr/bin/make"], "make"),
            ([b"/usr/bin/make", b"-j", b"8"], "make -j"),
            ([b"/opt/a b/nas", b"profile", b"--quick"], "nas profile"),
            ([b"/venv/bin/python3.11", b"/venv/bin/nas", b"profile", b"x"], "nas profile"),
            (
                [b"/usr/bin/python3", b"-P", b"-m", b"evaluators.trainer", b"7"],
                "evaluators.trainer 7",
            ),
            ([b"python", b"-m", b"pytest", b"tests"], "pytest tests"),
            ([b"python", b"-c", b"import os\nos.abort()"], "python -c"),
            ([b"python"], "python"),
            ([b"python", b"-m"], "python-like"),
            ([b"x", b"\x1b[2J" + b"y" * 90], "x [2J" + "y" * 35),
            ([], "python-like"),
            ([b"", b""], "python-like"),
        ],
    )
    def test_is_the_name_of_the_program_and_its_first_argument(self, tmp_path, words, command):
        line = b"".join(word + b"\0" for word in words)
        write_process(tmp_path, 3, name=b"python-like", command=line)
        assert command_of(3, tmp_path) == command

    def test_may_be_unreadable(self, tmp_path):
        assert command_of(3, tmp_path) == ""


class TestTheHoldersOfALock:
    @pytest.fixture
    def file(self, tmp_path):
        with (tmp_path / "file").open("w") as file:
            yield file

    def test_are_those_that_the_kernel_lists_for_this_file(self, tmp_path, file):
        status = os.fstat(file.fileno())
        device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
        ours, other = f"{device}:{status.st_ino}", f"{device}:{status.st_ino + 1}"
        elsewhere = f"f{device}:{status.st_ino}"
        (tmp_path / "locks").write_text(
            f"1: FLOCK  ADVISORY  WRITE 11 {ours} 0 EOF\n"
            f"1: -> FLOCK  ADVISORY  WRITE 12 {ours} 0 EOF\n"
            f"2: FLOCK  ADVISORY  WRITE 13 {other} 0 EOF\n"
            f"3: FLOCK  ADVISORY  WRITE 14 {elsewhere} 0 EOF\n"
            f"4: POSIX  ADVISORY  WRITE 15 {ours} 0 EOF\n"
            f"5: FLOCK  ADVISORY  READ  16 {ours} 0 EOF\n"
            f"6: FLOCK  ADVISORY  READ  17 {ours} 0 EOF\n"
            f"7: FLOCK  ADVISORY  WRITE 0 {ours} 0 EOF\n"
            f"8: FLOCK  ADVISORY  WRITE -1 {ours} 0 EOF\n"
            f"9: FLOCK  ADVISORY  WRITE x {ours} 0 EOF\n"
            f"10: FLOCK  ADVISORY  WRITE\n\n\xff\n"
        )
        assert lock_holders(file.fileno(), "WRITE", tmp_path) == [11]
        assert lock_holders(file.fileno(), "READ", tmp_path) == [16, 17]

    def test_are_unknown_without_a_list(self, tmp_path, file):
        assert lock_holders(file.fileno(), "WRITE", tmp_path) == []

    @linux
    def test_are_known_by_name(self, machine, file):
        script = f"""
import fcntl
file = open({file.name!r})
fcntl.flock(file, fcntl.LOCK_EX)
write("holds")
time.sleep(3600)
"""
        process = machine.start(script)
        machine.wait_for("holds")
        if not (PROC / "locks").read_bytes():
            pytest.skip("this kernel does not list locks")
        assert lock_holders(file.fileno(), "WRITE") == [process.pid]
        assert lock_holders(file.fileno(), "READ") == []
        assert command_of(process.pid) == f"{Path(sys.executable).name} -c"
        process.kill()
        process.wait()
        fcntl.flock(file, fcntl.LOCK_SH)
        assert lock_holders(file.fileno(), "WRITE") == []
        assert lock_holders(file.fileno(), "READ") == [os.getpid()]


class TestAHolder:
    def described(self, proc: Path, status: str) -> LockHolder:
        write_process(proc, 3, started_s=2, command=b"/bin/nas\0profile\0")
        (proc / "3" / "status").write_text(status)
        return describe_holder(3, proc)

    @pytest.mark.parametrize(
        ("state", "is_stopped"),
        [("T (stopped)", True), ("t (tracing stop)", True), ("S (sleeping)", False)],
    )
    def test_is_described_from_its_files(self, tmp_path, state, is_stopped):
        found = self.described(tmp_path, f"Name:\tnas\nState:\t{state}\nUid:\t0\t7\t7\t7\n")
        assert found == LockHolder(
            pid=3,
            command="nas profile",
            user=pwd.getpwuid(0).pw_name,
            started_ticks=2 * TICKS_PER_S,
            is_stopped=is_stopped,
        )

    def test_has_the_number_of_a_user_without_a_name(self, tmp_path):
        assert self.described(tmp_path, "Uid:\t4294967\t0\t0\t0\n").user == "4294967"

    @pytest.mark.parametrize("status", ["", "Uid:\nState:\n", "Uid:\tx\n", "\0\0"])
    def test_may_have_an_unreadable_status(self, tmp_path, status):
        found = self.described(tmp_path, status)
        assert (found.user, found.is_stopped) == ("", False)

    def test_may_be_unknown_but_for_its_pid(self, tmp_path):
        assert str(describe_holder(3, tmp_path)) == "pid 3"

    def test_is_shown_with_what_is_known(self):
        whole = LockHolder(
            pid=3, command="nas run", user="ann", started_ticks=None, is_stopped=True
        )
        assert str(whole) == "`nas run`, pid 3, user ann, stopped"

    @linux
    def test_of_the_real_system_is_stopped_and_continued(self, machine):
        process = machine.start("write('runs')\ntime.sleep(3600)")
        machine.wait_for("runs")
        assert not describe_holder(process.pid).is_stopped
        os.kill(process.pid, signal.SIGSTOP)
        wait_until(lambda: describe_holder(process.pid).is_stopped)
        assert describe_holder(process.pid).user == pwd.getpwuid(os.getuid()).pw_name
        os.kill(process.pid, signal.SIGCONT)
        wait_until(lambda: not describe_holder(process.pid).is_stopped)


@linux
def test_a_real_program_is_found_unless_this_process_has_started_it(machine):
    core, name = min(os.sched_getaffinity(0)), "a) busy (loop"
    busy = machine.start(
        f"os.sched_setaffinity(0, [{core}])\n"
        f"Path('/proc/self/comm').write_text({name!r})\n"
        "write('runs')\n"
        "while True: pass\n"
    )
    machine.wait_for("runs")
    # To a process that has not started it, the program is another one.
    stranger = machine.start("time.sleep(3600)")

    def read() -> ProcessTimes:
        # Other programs may use more of this core.
        times, ours = read_process_times(), (os.getpid(), busy.pid, stranger.pid)
        return replace(times, by_pid={pid: times.by_pid[pid] for pid in ours})

    before = read()

    def found(by: int) -> tuple[int, str] | None:
        consumer = largest_consumer(before, read(), [core], apart_from=by)
        return consumer and (consumer.pid, consumer.name)

    wait_until(lambda: found(by=stranger.pid) == (busy.pid, name))
    assert found(by=os.getpid()) is None
    assert read().by_pid[busy.pid].parent == os.getpid()
    assert read().by_pid[busy.pid].core == core
