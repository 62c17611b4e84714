"""Measuring on this machine: every model in a fresh process of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from hardware.environment import Environment, read_environment
from hardware.measurement import Measurement, Workload
from hardware.runner import RunnerError, declared_state_bytes, declared_weight_bytes

# What the process holds at most of the weights: their file, a packed copy, and activations.
_WEIGHTS_FACTOR = 2.5
_LAST_LINES = 3
_OUT_OF_MEMORY = ("bad_alloc", "MemoryError", "Failed to allocate memory")


class LocalRunner:
    """onnxruntime's CPU provider in this machine's own processes.

    seconds: how long a workload is sampled, once it has its fewest samples.
    timeout_s: when a process that has not answered is given up.
    Raises ValueError for more threads than this machine has cores.
    """

    def __init__(self, *, threads: int = 1, seconds: float = 3.0, timeout_s: float = 600.0) -> None:
        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
        if not 1 <= threads <= cores:
            raise ValueError(f"threads: {threads} is not between 1 and {cores}, the cores here")
        self.threads = threads
        self.seconds = seconds
        self.timeout_s = timeout_s

    @property
    def fingerprint(self) -> str:
        environment = read_environment(f"onnxruntime {version('onnxruntime')}")
        facts = (environment.host, environment.cpu, environment.cores, environment.runtime_version)
        return " ".join(map(str, (*facts, f"threads {self.threads} seconds {self.seconds:g}")))

    def measure(self, model: Path, workloads: Sequence[Workload]) -> tuple[Measurement, ...]:
        _check_memory(model, max(workload.tokens + workload.depth for workload in workloads))
        request = {
            "model": str(model),
            "workloads": [asdict(workload) for workload in workloads],
            "threads": self.threads,
            "seconds": self.seconds,
        }
        data = model.with_name(f"{model.name}.data")
        given = data.exists()
        if not given:
            _check_disk(model)
        try:
            answer = json.loads(self._run(json.dumps(request)))
        finally:
            if not given:  # a process that was killed could not remove the weights it had drawn
                data.unlink(missing_ok=True)
        environment = Environment(**answer["environment"])
        return tuple(
            Measurement(
                workload=workload,
                runtime="onnxruntime",
                threads=self.threads,
                cores=tuple(answer["cores"]),
                samples_ns=tuple(result["samples_ns"]),
                warmup_ns=tuple(result["warmup_ns"]),
                load_ns=answer["load_ns"],
                peak_memory_bytes=result["peak_memory_bytes"],
                environment=environment,
            )
            for workload, result in zip(workloads, answer["results"], strict=True)
        )

    def _run(self, request: str) -> str:
        """The last line that the measuring process prints."""
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "hardware.bench"],  # -P: no module of the current folder
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C reaches us alone, and we end it
        ) as process:
            try:
                output, errors = process.communicate(request, timeout=self.timeout_s)
            except subprocess.TimeoutExpired:
                reason = f"no answer within {self.timeout_s:g} s"
                raise RunnerError("timed out", reason) from None
            finally:
                process.kill()
                process.wait()  # which an interrupted `with` leaves out
        if process.returncode != 0 or not output.strip():
            raise _crash(process.returncode, errors)
        return output.strip().splitlines()[-1]


def _crash(returncode: int, errors: str) -> RunnerError:
    heard = "; ".join(errors.strip().splitlines()[-_LAST_LINES:]) or "it said nothing"
    if any(sign in errors for sign in _OUT_OF_MEMORY):
        return RunnerError("out of memory", heard)
    if returncode == -signal.SIGKILL:  # nobody else kills it: we give up by an exception
        return RunnerError("out of memory", "the system killed the process, which it does then")
    if returncode < 0:
        return RunnerError("crashed", f"the process was ended by signal {-returncode}: {heard}")
    return RunnerError("refused", f"exit code {returncode}: {heard}")


def _check_memory(model: Path, capacity: int) -> None:
    weights = declared_weight_bytes(model)
    needed = int(_WEIGHTS_FACTOR * weights) + declared_state_bytes(model, capacity)
    available = _available_memory_bytes()
    if needed > available:
        raise RunnerError(
            "out of memory",
            f"measuring takes about {needed / 1e9:.1f} GB, {available / 1e9:.1f} GB are free",
        )


def _check_disk(model: Path) -> None:
    needed, free = declared_weight_bytes(model), shutil.disk_usage(model.parent).free
    if needed > free:
        raise RunnerError(
            "refused",
            f"the weights take {needed / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free in "
            f"{model.parent}; TMPDIR may name another place",
        )


def _available_memory_bytes() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    line = next(line for line in lines if line.startswith("MemAvailable:"))
    return 1024 * int(line.split()[1])
