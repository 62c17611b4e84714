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
from pathlib import Path

from hardware.local import STEADY_HEAP, crash
from hardware.runner import RunnerError

_KEPT_LINES = 20
_MOST_HEARD = 200


class LlamaBench:
    """A llama-bench that tells its progress on standard error: each run begins with `starting`.

    When its parent ends, the system wakes it with a signal that ends it (a stopped process of a
    group that is orphaned), or it finds nobody to tell its progress.
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
            env=os.environ | STEADY_HEAP | {"GGML_NO_BACKTRACE": "1"},  # it would start a debugger
            process_group=0,  # Ctrl-C reaches us alone, and we end it
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._results = _Lines(self._process.stdout.fileno())
        self._progress = _Lines(self._process.stderr.fileno())
        self._heard: deque[str] = deque(maxlen=_KEPT_LINES)
        if cores:
            os.sched_setaffinity(self._process.pid, cores)  # its threads are yet to come

    def hear(self, sign: str) -> None:
        """Waits until a line of its progress has `sign` in it."""
        while sign not in (line := self._next(self._progress)):
            self._heard.append(line)

    def run(self) -> int:
        """Waits until a run has ended; its time in ns."""
        self.hear(": starting")
        self.runs_left -= 1
        line = self._next(self._results)
        try:
            return int(json.loads(line)["samples_ns"][0])
        except (ValueError, LookupError, TypeError):
            raise RunnerError("crashed", f"it answered '{line.strip()[:_MOST_HEARD]}'") from None

    def stop(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)
        _, status = os.waitpid(self._process.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self._process.returncode = os.waitstatus_to_exitcode(status)
            raise self._crash()

    def go_on(self) -> None:
        """From a stop, to the beginning of a run; those that the stop has hit do not count."""
        self._forget_peak_memory()
        begun = self._progress.count(": generation run", ": prompt run")
        os.kill(self._process.pid, signal.SIGCONT)
        for _ in range(begun):
            self.run()

    def end(self) -> None:
        self._process.kill()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        self._process.wait()

    def memory_bytes(self, field: str) -> int:
        """VmRSS: resident now; VmHWM: at most, for which without /proc stands what is now."""
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
        """The processor time that it has had (Linux)."""
        if sys.platform != "linux" or self._process.returncode is not None:
            return 0.0
        clock = (~self._process.pid << 3) | 2  # clock_getcpuclockid(3), of all its threads
        return time.clock_gettime(clock)

    def _forget_peak_memory(self) -> None:
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
        """Of a process that has closed its end of a pipe."""
        while line := self._progress.next(self._timeout_s):
            self._heard.append(line)
        try:
            return crash(self._process.wait(self._timeout_s), "".join(self._heard))
        except subprocess.TimeoutExpired:
            return RunnerError("timed out", f"no answer within {self._timeout_s:g} s")


def find_llama_bench(llama_bench: Path | None) -> Path:
    """That program, or the one in PATH; ValueError says where to get it."""
    found = shutil.which(llama_bench or "llama-bench")
    if found is None:
        raise ValueError(
            f"llama_bench: '{llama_bench or 'llama-bench'}' is not a program here; llama.cpp's "
            "releases have it, and `make .llama.cpp/bin/llama-bench` builds it"
        )
    return Path(found)


def version_of(program: Path) -> str:
    """As a runtime's name and version; ValueError for what is not llama-bench."""
    try:
        answer = subprocess.run(  # noqa: S603 - what the user names, without a shell
            [program, "--version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        answer = None
    found = answer and re.search(r"^version: (.+)$", answer.stdout + answer.stderr, re.MULTILINE)
    if not found:
        raise ValueError(f"llama_bench: '{program}' is not llama.cpp's: it tells no version")
    return f"llama.cpp {found[1]}"


class _Lines:
    """What comes out of a pipe, line by line."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._read = b""
        self._readable = select.poll()
        self._readable.register(pipe, select.POLLIN)

    def next(self, timeout_s: float) -> str | None:
        """A line with its end; None after a while without one; empty at the pipe's end."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._read:
            if not self._readable.poll(1000 * max(0.0, deadline - time.monotonic())):
                return None
            if not self._take():
                return ""
        line, _, self._read = self._read.partition(b"\n")
        return f"{line.decode(errors='replace')}\n"

    def count(self, *signs: str) -> int:
        """How often any of `signs` is in what has come and is not read yet."""
        while self._readable.poll(0) and self._take():
            pass
        return sum(self._read.count(sign.encode()) for sign in signs)

    def _take(self) -> int:
        piece = os.read(self._pipe, 1 << 16)
        self._read += piece
        return len(piece)
