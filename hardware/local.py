"""Measure ONNX files on this machine: each model is a process of its own, on the same cores."""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import IO, Any, TypeVar

from hardware.cores import ChooseCores, calmer_cores, check_threads, idlest_cores
from hardware.environment import CpuCounters, Environment, fingerprint_of, read_environment
from hardware.measurement import Workload
from hardware.memory_kills import MemoryKills
from hardware.runner import (
    DeviceSnapshot,
    LoadedModel,
    Loading,
    ModelFormat,
    RunnerError,
    Window,
    declared_state_bytes,
    declared_weight_bytes,
)

# Environment of the process that holds a model: one heap of huge pages (glibc). With small or
# scattered pages, loading a model again changes its time by up to 15 %, depending on where its
# weights lie.
STEADY_HEAP = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432"
    ":glibc.malloc.top_pad=67108864"
}

# The pages of that heap on the processors that are common.
HUGE_PAGE_BYTES = 1 << 21

# Upper bound on memory relative to the weights: their file, a packed copy, and activations.
_WEIGHTS_FACTOR = 2.5
_LAST_LINES = 3
_MOST_SHOWN = 200
# Both libraries would start threads of their own: onnxruntime to report usage to its makers,
# through a database in the user's cache and uploads; numpy for linear algebra, which is not used.
_SILENCED = {"ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1"}
_TRACEBACK = re.compile(
    r"^Traceback \(most recent call last\):\n(?: .*\n)*(?P<kind>[\w.]+)(?:: (?P<message>.*))?",
    re.MULTILINE,
)
_OUT_OF_MEMORY = ("bad_alloc", "MemoryError", "ailed to allocate")

_Answer = TypeVar("_Answer")


@contextmanager
def interrupt_deferred() -> Iterator[None]:
    """Let a Ctrl-C take effect only when the context ends.

    An interrupt inside `Popen`, between the fork and its return, would leave a process that nobody
    knows and nobody ends.
    """
    handler = signal.getsignal(signal.SIGINT)
    # Other threads get no interrupt, and a handler that Python did not set cannot be put back.
    if threading.current_thread() is not threading.main_thread() or handler is None:
        yield
        return
    pending: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: pending.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if pending and callable(handler):
        handler(*pending[0])


class LocalRunner:
    """Runs models with onnxruntime's CPU provider in processes of this machine.

    Args:
        threads: Threads that a model computes with, each on a core of its own.
        timeout_s: Seconds without an answer after which a process is given up.
        choose_cores: Called once, when the first model is loaded.
        precedence: Whether a model takes precedence over other processes during its windows, where
            the system permits it.

    Raises:
        ValueError: This machine has fewer cores than `threads`.
    """

    model_format: ModelFormat = "onnx"
    memory_step_bytes = HUGE_PAGE_BYTES

    def __init__(
        self,
        *,
        threads: int = 1,
        timeout_s: float = 600.0,
        choose_cores: ChooseCores = idlest_cores,
        precedence: bool = True,
    ) -> None:
        check_threads(threads)
        self._precedence = precedence
        self.threads = threads
        self.timeout_s = timeout_s
        self._choose_cores = choose_cores
        self._cores: list[int] | None = None

    @property
    def fingerprint(self) -> str:
        """See `Runner.fingerprint`."""
        environment = read_environment(f"onnxruntime {version('onnxruntime')}")
        return fingerprint_of(environment, self.threads)

    @contextmanager
    def load(self, model: Path, capacity: int) -> Iterator[LoadedModel]:
        """See `Runner.load`."""
        _check_memory(model, capacity)
        data = model.with_name(f"{model.name}.data")
        given = data.exists()
        if not given:
            _check_disk(model)
        if self._cores is None and sys.platform == "linux":
            self._cores = self._choose_cores(self.threads)
        request = {
            "model": str(model),
            "capacity": capacity,
            "cores": self._cores,
            "threads": self.threads,
            "precedence": self._precedence,
        }
        command = [sys.executable, "-P", "-m", "hardware.bench"]  # -P: not from the working folder
        kills = MemoryKills()
        with tempfile.TemporaryFile() as errors, ExitStack() as started:
            with interrupt_deferred():
                process = subprocess.Popen(  # noqa: S603 - this program itself
                    command,
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=os.environ | STEADY_HEAP | _SILENCED,
                    start_new_session=True,  # Ctrl-C must not reach it; this process ends it
                )
                started.enter_context(process)
                started.callback(_end, process)
            try:
                loaded = _ProcessModel(process, errors, request, self.timeout_s, self._moved, kills)
            except BaseException:
                if not given:  # a killed process leaves the weights that it has drawn
                    data.unlink(missing_ok=True)
                raise
            yield loaded

    def _moved(self, cores: Sequence[int]) -> None:
        self._cores = list(cores)


class _ProcessModel:
    """A model held by a `hardware.bench` process. Any error in an exchange ends the process."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        errors: IO[bytes],
        request: dict[str, Any],
        timeout_s: float,
        moved: Callable[[Sequence[int]], None],
        kills: MemoryKills,
    ) -> None:
        self._process = process
        self._errors = errors
        self._timeout_s = timeout_s
        self._moved = moved
        self._kills = kills
        self._failure: RunnerError | None = None
        self.loading = self._ask(request, _loading)

    def time(self, workload: Workload, samples: int) -> Window:
        return self._ask({"time": asdict(workload), "samples": samples}, _window)

    def move(self, cores: Sequence[int]) -> None:
        self._ask({"move": list(cores)}, lambda _: None)
        self.loading = replace(self.loading, cores=tuple(cores))
        self._moved(cores)

    def calmer_cores(self) -> list[int] | None:
        return calmer_cores(self.loading.cores)

    def snapshot(self) -> DeviceSnapshot:
        return self._ask({"snapshot": True}, _device_snapshot)

    def _ask(self, request: dict[str, Any], read: Callable[[Any], _Answer]) -> _Answer:
        if self._failure is not None:
            raise self._failure
        try:
            return self._exchange(request, read)
        except BaseException as error:
            # Also after an interrupt: its answer would be mistaken for that to the next request.
            _end(self._process)
            interrupted = RunnerError("crashed", "the process was interrupted during a request")
            self._failure = error if isinstance(error, RunnerError) else interrupted
            raise

    def _exchange(self, request: dict[str, Any], read: Callable[[Any], _Answer]) -> _Answer:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{json.dumps(request)}\n".encode())
        except BrokenPipeError:
            raise self._end_of_process() from None
        line = self._next_line()
        self._kills.restart()  # earlier kills have not concerned this process
        try:
            return read(json.loads(line))
        except (ValueError, LookupError, TypeError):
            received = line.decode(errors="replace").strip()[:_MOST_SHOWN]
            raise RunnerError("crashed", f"invalid answer '{received}'") from None

    def _next_line(self) -> bytes:
        assert self._process.stdout is not None
        output, line = self._process.stdout.fileno(), b""
        readable = select.poll()
        readable.register(output, select.POLLIN)
        deadline = time.monotonic() + self._timeout_s
        while not line.endswith(b"\n"):
            if not readable.poll(1000 * max(0.0, deadline - time.monotonic())):
                raise RunnerError("timed out", f"no answer within {self._timeout_s:g} s")
            piece = os.read(output, 1 << 16)
            if not piece:
                raise self._end_of_process()
            line += piece
        return line

    def _end_of_process(self) -> RunnerError:
        """Return the error of a process that has closed its end of the pipe."""
        try:
            returncode = self._process.wait(self._timeout_s)
        except subprocess.TimeoutExpired:
            return RunnerError("timed out", f"no answer within {self._timeout_s:g} s")
        self._errors.seek(0)
        return crash(returncode, self._errors.read().decode(errors="replace"), self._kills)


def _loading(answer: Any) -> Loading:
    return Loading(**answer | {"cores": tuple(answer["cores"])})


def _window(answer: Any) -> Window:
    waited_ns = answer["waited_ns"]
    lists = {
        "samples_ns": tuple(answer["samples_ns"]),
        "waited_ns": None if waited_ns is None else tuple(waited_ns),
    }
    return Window(**answer | lists)


def _device_snapshot(answer: Any) -> DeviceSnapshot:
    counters = answer["counters"]
    if counters is not None:
        by_core = {name: tuple(counters[name]) for name in ("busy_s", "steal_s")}
        counters = CpuCounters(**counters | by_core)
    return DeviceSnapshot(environment=Environment(**answer["environment"]), counters=counters)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()  # an interrupted `with` skips this


def crash(returncode: int, errors: str, kills: MemoryKills) -> RunnerError:
    """Return the error for a process that has ended, although this program did not end it.

    Args:
        returncode: Its exit code.
        errors: Its error output.
        kills: The kernel's kills for lack of memory since the process last answered.
    """
    last_lines = "; ".join(errors.strip().splitlines()[-_LAST_LINES:])
    last_lines = _exception(errors) or last_lines or "no output"
    if any(sign in errors for sign in _OUT_OF_MEMORY):
        return RunnerError("out of memory", last_lines)
    if returncode == -signal.SIGKILL:
        match kills.has_killed():
            case True:
                return RunnerError("out of memory", "the kernel ended the process (SIGKILL)")
            case False:
                return RunnerError("killed", "another program ended the process (SIGKILL)")
            case None:
                reason = "SIGKILL ended the process; this system does not report why"
                return RunnerError("killed", reason)
    if returncode < 0:
        return RunnerError(
            "crashed", f"the process was terminated by signal {-returncode}: {last_lines}"
        )
    return RunnerError("refused", f"exit code {returncode}: {last_lines}")


def _exception(errors: str) -> str | None:
    """Return the message of the last Python exception in error output; None if there is none.

    An exception without a message is named by its class.
    """
    found = list(_TRACEBACK.finditer(errors))
    return found[-1]["message"] or found[-1]["kind"] if found else None


def _check_memory(model: Path, capacity: int) -> None:
    weights = declared_weight_bytes(model)
    needed = int(_WEIGHTS_FACTOR * weights) + declared_state_bytes(model, capacity)
    available = available_memory_bytes()
    if needed > available:
        raise RunnerError(
            "out of memory",
            f"measuring needs about {needed / 1e9:.1f} GB, but only {available / 1e9:.1f} GB is "
            "free",
        )


def _check_disk(model: Path) -> None:
    needed, free = declared_weight_bytes(model), shutil.disk_usage(model.parent).free
    if needed > free:
        raise RunnerError(
            "refused",
            f"the weights need {needed / 1e6:,.1f} MB, but only {free / 1e6:,.1f} MB is free in "
            f"{model.parent}; set TMPDIR to use another folder",
        )


def available_memory_bytes() -> int:
    """Return how much memory of this machine is free, in bytes."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    line = next(line for line in lines if line.startswith("MemAvailable:"))
    return 1024 * int(line.split()[1])
