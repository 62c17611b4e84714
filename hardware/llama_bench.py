"""A process of llama-bench that is stopped between its runs."""

import contextlib
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
from hardware.runner import RunnerError

_KEPT_LINES = 20
_MOST_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRun:
    """One run of llama-bench.

    Attributes:
        run_ns: Its wall time.
        waited_ns: The longest time that one of its threads waited for a core, from the beginning of
            the run; None where the system does not tell.
    """

    run_ns: int
    waited_ns: int | None


class LlamaBench:
    """A llama-bench process, which reports on standard error: each run begins with `starting`.

    When its parent ends, it ends too: the system sends a signal to the stopped processes of an
    orphaned process group, and a running one fails to write its progress.
    """

    def __init__(self, command: Sequence[str], cores: Sequence[int], timeout_s: float) -> None:
        self.runs_left = 0
        self._timeout_s = timeout_s
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
        if cores:
            os.sched_setaffinity(self._process.pid, cores)  # inherited by its threads

    def wait_for(self, sign: str) -> None:
        """Wait until a line of its progress contains `sign`."""
        while sign not in (line := self._next(self._progress)):
            self._last_lines.append(line)

    def run(self) -> "BenchRun":
        """Wait until a run has ended, and return its time.

        Raises:
            RunnerError: The process ended, did not answer in time, or gave an invalid answer.
        """
        self.wait_for(": starting")
        self.runs_left -= 1
        before = self._waited_ns()
        line = self._next(self._results)
        waits = (
            now - before[thread] for thread, now in self._waited_ns().items() if thread in before
        )
        try:
            run_ns = int(json.loads(line)["samples_ns"][0])
            waited_ns = max(waits, default=None)
            return BenchRun(
                run_ns=run_ns, waited_ns=None if waited_ns is None else min(waited_ns, run_ns)
            )
        except (ValueError, LookupError, TypeError):
            raise RunnerError("crashed", f"invalid answer '{line.strip()[:_MOST_SHOWN]}'") from None

    def stop(self) -> None:
        """Stop the process until `resume`."""
        os.kill(self._process.pid, signal.SIGSTOP)
        _, status = os.waitpid(self._process.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self._process.returncode = os.waitstatus_to_exitcode(status)
            raise self._crash()

    def resume(self) -> None:
        """Continue up to the next run; runs that the stop interrupted do not count."""
        self._reset_peak_memory()
        begun = self._progress.count(": generation run", ": prompt run")
        os.kill(self._process.pid, signal.SIGCONT)
        for _ in range(begun):
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

    def _waited_ns(self) -> dict[str, int]:
        """Return how long each thread has waited for a core since it started (Linux)."""
        found = {}
        for thread in self._tasks():
            with contextlib.suppress(OSError, LookupError, ValueError):
                found[thread.name] = int((thread / "schedstat").read_text().split()[1])
        return found

    def _tasks(self) -> list[Path]:
        try:
            return list(Path(f"/proc/{self._process.pid}/task").iterdir())
        except OSError:
            return []

    def _reset_peak_memory(self) -> None:
        with contextlib.suppress(OSError):
            Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def _next(self, lines: "_Lines") -> str:
        line = lines.next(self._timeout_s)
        if line is None:
            raise RunnerError("timed out", f"no answer within {self._timeout_s:g} s")
        if not line:
            raise self._crash()
        return line

    def _crash(self) -> RunnerError:
        """Return the error of a process that has closed its end of a pipe."""
        while line := self._progress.next(self._timeout_s):
            self._last_lines.append(line)
        try:
            return crash(self._process.wait(self._timeout_s), "".join(self._last_lines))
        except subprocess.TimeoutExpired:
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
    """The lines that come out of a pipe."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._read = b""
        self._readable = select.poll()
        self._readable.register(pipe, select.POLLIN)

    def next(self, timeout_s: float) -> str | None:
        """Return a line with its end, None after the timeout, or '' at the end of the pipe."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._read:
            if not self._readable.poll(1000 * max(0.0, deadline - time.monotonic())):
                return None
            if not self._take():
                return ""
        line, _, self._read = self._read.partition(b"\n")
        return f"{line.decode(errors='replace')}\n"

    def count(self, *signs: str) -> int:
        """Count the occurrences of `signs` in the output that is not read yet."""
        while self._readable.poll(0) and self._take():
            pass
        return sum(self._read.count(sign.encode()) for sign in signs)

    def _take(self) -> int:
        chunk = os.read(self._pipe, 1 << 16)
        self._read += chunk
        return len(chunk)
