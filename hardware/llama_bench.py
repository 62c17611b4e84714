"""A process of llama-bench that is stopped between its runs."""

import contextlib
import fcntl
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware.local import STEADY_HEAP, crash
from hardware.memory_kills import MemoryKills
from hardware.runner import RunnerError
from hardware.thread_scheduling import parse_waited_ns

_KEPT_LINES = 20
_MOST_SHOWN = 200
# The timed part of a run begins with one of these lines.
_BEGINNINGS = (": generation run", ": prompt run")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRun:
    """One run of llama-bench.

    Attributes:
        run_ns: Its wall time.
        waited_ns: The longest time in it that one thread waited for a core; None where the system
            does not report it.
    """

    run_ns: int
    waited_ns: int | None


class LlamaBench:
    """A llama-bench process, with its progress on standard error and results on standard output.

    Where the system supports it (Linux), the process stops at the end of every run.

    When its parent ends, it ends too: the system sends a signal to the stopped processes of an
    orphaned process group, and a running one fails to write its progress.
    """

    def __init__(self, command: Sequence[str], cores: Sequence[int], timeout_s: float) -> None:
        self.runs_left = 0
        self._timeout_s = timeout_s
        self._kills = MemoryKills()
        self._process = subprocess.Popen(  # noqa: S603 - what the user names, without a shell
            command,
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | STEADY_HEAP | {"GGML_NO_BACKTRACE": "1"},  # else it starts a debugger
            process_group=0,  # Ctrl-C must reach only this process, which ends the other
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._results = _Lines(self._process.stdout.fileno())
        self._progress = _Lines(self._process.stderr.fileno())
        self._last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._begun = self._ended = 0  # runs
        self._stopped = False
        self._stops_itself = _stop_at_writes(self._process.stdout.fileno(), self._process.pid)
        self._waited_before_ns: dict[str, int] = {}
        if cores:
            os.sched_setaffinity(self._process.pid, cores)  # inherited by its threads

    def wait_for(self, sign: str) -> None:
        """Wait until a line of its progress contains `sign`."""
        while (line := self._progress.next()) is None or sign not in self._noted(line):
            if line is None:
                self._wait_for_output(self._progress)

    def run(self) -> BenchRun:
        """Continue until a run has ended, and return its time.

        Raises:
            RunnerError: The process ended, did not answer in time, or gave an invalid answer.
        """
        self._continue()
        self._note_progress()
        while (line := self._results.next()) is None:
            self._wait_for_output(self._results)
            self._note_progress()
        self._ended += 1
        self.runs_left -= 1
        if self._stops_itself:
            self.stop()
        try:
            run_ns = int(json.loads(line)["samples_ns"][0])
        except (ValueError, LookupError, TypeError):
            raise RunnerError("crashed", f"invalid answer '{line.strip()[:_MOST_SHOWN]}'") from None
        return BenchRun(run_ns=run_ns, waited_ns=self._waited_ns(run_ns))

    def stop(self) -> None:
        """Stop the process until it is to `run` again."""
        if self._stopped:
            return
        os.kill(self._process.pid, signal.SIGSTOP)
        _, status = os.waitpid(self._process.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self._process.returncode = os.waitstatus_to_exitcode(status)
            raise self._crash()
        self._kills.restart()  # earlier kills have not concerned this process
        self._stopped = True

    def resume(self) -> None:
        """Prepare for the next run; runs that the stop interrupted do not count."""
        self._reset_peak_memory()
        self._progress.read_available()
        self._note_progress()
        for _ in range(self._begun - self._ended):
            self.run()

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        self._process.wait()

    def memory_bytes(self, field: str) -> int:
        """Return resident memory: VmRSS now, VmHWM at its peak (without /proc, that of now)."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            kibibytes = subprocess.run(  # noqa: S603 - nothing but a number is put in
                ["/bin/ps", "-o", "rss=", "-p", str(self._process.pid)],
                capture_output=True,
                check=False,
            ).stdout
            return 1024 * int(kibibytes or 0)
        lines = (line.split() for line in status.splitlines())
        return next((1024 * int(line[1]) for line in lines if line[0] == f"{field}:"), 0)

    def own_s(self) -> float:
        """Return the processor time that it has used, in seconds (Linux)."""
        if sys.platform != "linux" or self._process.returncode is not None:
            return 0.0
        clock = (~self._process.pid << 3) | 2  # clock_getcpuclockid(3), for all its threads
        return time.clock_gettime(clock)

    def pin(self, cores: Sequence[int]) -> None:
        """Let all threads run on these cores only."""
        for thread in self._tasks():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), cores)

    def _waited_ns(self, run_ns: int) -> int | None:
        """Return the longest time that a thread waited in the run that has just ended."""
        if not self._stops_itself or not self._waited_before_ns:
            return None  # the next run may have begun, or the system does not count
        waits = [
            now - self._waited_before_ns.get(thread, 0)
            for thread, now in self._threads_waited_ns().items()
        ]
        return min(run_ns, max(waits)) if waits else None

    def _threads_waited_ns(self) -> dict[str, int]:
        """Return how long each thread has waited for a core; empty if the system does not count."""
        found = {}
        for thread in self._tasks():
            with contextlib.suppress(OSError, ValueError):
                waited_ns = parse_waited_ns((thread / "schedstat").read_text())
                if waited_ns is not None:
                    found[thread.name] = waited_ns
        return found

    def _tasks(self) -> list[Path]:
        try:
            return list(Path(f"/proc/{self._process.pid}/task").iterdir())
        except OSError:
            return []

    def _reset_peak_memory(self) -> None:
        with contextlib.suppress(OSError):
            Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def _continue(self) -> None:
        if self._stopped:
            self._stopped = False
            os.kill(self._process.pid, signal.SIGCONT)

    def _wait_for_output(self, needed: "_Lines") -> None:
        """Wait until a pipe has new output, and read what it has; `needed` must not have ended."""
        if needed.ended:
            raise self._crash()
        pipes = [lines for lines in (self._results, self._progress) if not lines.ended]
        readable = select.poll()
        for lines in pipes:
            readable.register(lines.pipe, select.POLLIN)
        if not readable.poll(1000 * self._timeout_s):
            raise self._timed_out()
        for lines in pipes:
            lines.read_available()
        if self._stops_itself and self._results.is_within_line:
            self.stop()  # the rest of the line is another write
            self._continue()

    def _note_progress(self) -> None:
        while (line := self._progress.next()) is not None:
            self._noted(line)

    def _noted(self, line: str) -> str:
        self._last_lines.append(line)
        if any(beginning in line for beginning in _BEGINNINGS):
            self._begun += 1
            # A wait of the new run that has already ended is missed.
            self._waited_before_ns = self._threads_waited_ns()
        return line

    def _crash(self) -> RunnerError:
        """Return the error of a process that has closed its end of a pipe."""
        try:
            while not self._progress.ended:
                self._wait_for_output(self._progress)
            returncode = self._process.wait(self._timeout_s)
        except (RunnerError, subprocess.TimeoutExpired):
            return self._timed_out()
        self._note_progress()
        return crash(returncode, "".join(self._last_lines), self._kills)

    def _timed_out(self) -> RunnerError:
        return RunnerError("timed out", f"no answer within {self._timeout_s:g} s")


def find_llama_bench(llama_bench: Path | None) -> Path:
    """Return the path of the program, or of the llama-bench on the PATH.

    Raises:
        ValueError: There is none.
    """
    found = shutil.which(llama_bench or "llama-bench")
    if found is None:
        raise ValueError(
            f"llama_bench: '{llama_bench or 'llama-bench'}' is not an installed program; "
            "llama.cpp's releases contain it, and `make .llama.cpp/bin/llama-bench` builds it"
        )
    return Path(found)


def version_of(program: Path) -> str:
    """Return the runtime's name and version.

    Raises:
        ValueError: The program is not llama-bench.
    """
    try:
        answer = subprocess.run(  # noqa: S603 - what the user names, without a shell
            [program, "--version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        answer = None
    found = answer and re.search(r"^version: (.+)$", answer.stdout + answer.stderr, re.MULTILINE)
    if not found:
        raise ValueError(f"llama_bench: '{program}' is not llama-bench: it reports no version")
    return f"llama.cpp {found[1]}"


class _Lines:
    """The lines that come out of a pipe.

    Attributes:
        pipe: The descriptor of the pipe.
        ended: Whether the other end is closed, so that there will be no more lines.
    """

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe
        self.ended = False
        self._read = b""
        os.set_blocking(pipe, False)

    @property
    def is_within_line(self) -> bool:
        """Whether the beginning of a line has been read, but not its end."""
        return bool(self._read) and not self._read.endswith(b"\n")

    def next(self) -> str | None:
        """Return the next line that has been read, with its end; None if there is none."""
        line, end, rest = self._read.partition(b"\n")
        if not end:
            return None
        self._read = rest
        return f"{line.decode(errors='replace')}\n"

    def read_available(self) -> None:
        """Read what is in the pipe now."""
        with contextlib.suppress(BlockingIOError):
            while not self.ended:
                chunk = os.read(self.pipe, 1 << 16)
                self.ended = not chunk
                self._read += chunk


def _stop_at_writes(pipe: int, process: int) -> bool:
    """Let a process stop whenever it writes to a pipe, before it does anything else (Linux).

    A signal from this process would come too late if this process had to wait for a core. Instead,
    the kernel signals that there is new data, with SIGSTOP to the writer (F_SETSIG in fcntl(2)).

    Args:
        pipe: The end of the pipe that this process reads.
        process: The pid of the process that writes.

    Returns:
        Whether the system supports this.
    """
    if sys.platform != "linux":
        return False
    try:
        fcntl.fcntl(pipe, fcntl.F_SETOWN, process)
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGSTOP)
        fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    except OSError:
        return False
    return True
