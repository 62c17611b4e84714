"""A stand-alone program that holds one model in its process and times windows on request.

A request is a line of JSON on standard input; its answer is a line on standard output. The first
request loads the model; the others time samples of a workload, move the threads to other cores, or
take a snapshot of the device:

    {"model": path, "capacity": tokens, "cores": [N, ...] or null, "threads": N, "precedence": bool}
    {"time": {"phase": "prefill" or "decode", "tokens": N, "depth": N}, "samples": N}
    {"move": [N, ...]}
    {"snapshot": true}

The program ends at the end of its input. An error ends it with the exception on standard error.

A device needs Python, numpy, onnxruntime, and of this package only this module, `environment`,
`onnx_session`, `random_weights` and `thread_scheduling`.
"""

import json
import os
import select
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from hardware.environment import read_counters, read_environment, slowest_clock_mhz
from hardware.onnx_session import Session
from hardware.random_weights import data_file, write_random_weights
from hardware.thread_scheduling import make_wait_clock, own_threads, taking_precedence


class Bench:
    """A loaded model, and the position at which each of its workloads stopped.

    Attributes:
        session: The model.
        loading: How it was loaded, with the fields of `runner.Loading`.
    """

    def __init__(
        self,
        *,
        model: str,
        capacity: int,
        cores: Sequence[int] | None,
        threads: int,
        precedence: bool = True,
    ) -> None:
        empty_memory_bytes = _memory_bytes("VmRSS")
        others = own_threads()[1:]
        start = time.perf_counter_ns()
        path = Path(model)
        data = data_file(path)
        drawn = not data.exists()
        try:
            if drawn:
                write_random_weights(path)
            model_bytes = path.stat().st_size + data.stat().st_size
            self.session = Session(path, threads=threads, cores=cores, capacity=capacity)
        finally:
            if drawn:  # the session has mapped the file
                data.unlink(missing_ok=True)
        load_ns = time.perf_counter_ns() - start
        if cores is not None:
            os.sched_setaffinity(0, cores[:1])  # the runtime pins the other threads
        # The memory of the states is only reserved until they are written.
        loaded_memory_bytes = _memory_bytes("VmRSS")
        self.session.fill(0, np.random.default_rng(0))
        self._cores = list(cores or ())
        self._threads = [thread for thread in own_threads() if thread not in others]
        self._wait_clock = make_wait_clock(threads, self._threads)
        self._takes_precedence = precedence
        self._bound = ""
        self._positions: dict[str, int] = {}
        self.loading = {
            "runtime": "onnxruntime",
            "threads": threads,
            "cores": cores or [],
            "load_ns": load_ns,
            "model_bytes": model_bytes,
            "empty_memory_bytes": empty_memory_bytes,
            "loaded_memory_bytes": loaded_memory_bytes,
        }

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request; see the top of this module."""
        if "time" in request:
            return self._time(request["time"], request["samples"])
        if "move" in request:
            self._move(request["move"])
            return {}
        counters = read_counters()
        return {
            "environment": asdict(read_environment(f"onnxruntime {ort.__version__}")),
            "counters": None if counters is None else asdict(counters),
        }

    def _time(self, workload: dict[str, Any], samples: int) -> dict[str, Any]:
        """Time samples, starting at the position where this workload's last window stopped.

        After the last position of the workload, continue at its first.
        """
        session, depth = self.session, workload["depth"]
        end = depth + workload["tokens"]
        if end > session.capacity:
            raise ValueError(
                f"tokens: {end} tokens, including the depth, exceed the capacity of "
                f"{session.capacity}"
            )
        at_once = 1 if workload["phase"] == "decode" else workload["tokens"]
        name = json.dumps(workload, sort_keys=True)
        if name != self._bound:
            generator = np.random.default_rng(0)
            session.prepare(generator.integers(session.description["vocab_size"], size=at_once))
            self._bound = name
        session.position = self._positions.get(name, depth)
        samples_ns, waited_ns = [], []
        _reset_peak_memory()
        with taking_precedence(self._threads if self._takes_precedence else ()):
            for _ in range(samples):
                if session.position + at_once > end:
                    session.position = depth
                self._wait_clock.start()
                start = time.perf_counter_ns()
                session.run(at_once)
                sample_ns = time.perf_counter_ns() - start
                samples_ns.append(sample_ns)
                waited_ns.append(self._wait_clock.waited_ns(sample_ns))
        self._positions[name] = session.position
        return {
            "samples_ns": samples_ns,
            "waited_ns": None if None in waited_ns else waited_ns,
            "peak_memory_bytes": _memory_bytes("VmHWM"),
            "clock_mhz": slowest_clock_mhz(self._cores) if self._cores else None,
        }

    def _move(self, cores: Sequence[int]) -> None:
        """Pin the calling thread to the first core and the runtime's threads to the others."""
        self._cores = list(cores)
        threads = self._threads[: len(cores)]
        for thread, core in zip(threads, cores, strict=True):
            os.sched_setaffinity(thread, [core])


def main() -> None:
    """Answer requests from standard input until it ends."""
    _die_with_parent()
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # what a library prints must not be taken for an answer
        requests = map(json.loads, sys.stdin)
        for load in requests:
            bench = Bench(**load)
            print(json.dumps(bench.loading), file=answers, flush=True)
            for request in requests:
                print(json.dumps(bench.answer(request)), file=answers, flush=True)


def _die_with_parent() -> None:
    """End with the parent process, so that an abandoned window disturbs no measurement (Linux).

    A pidfd watches the process; PR_SET_PDEATHSIG would watch the thread that started this one.
    """
    if not hasattr(os, "pidfd_open"):
        return
    try:
        parent = os.pidfd_open(os.getppid())
    except OSError:  # unsupported by the kernel or container: the window runs to its end
        return
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(process: int) -> None:
    select.select([process], [], [])
    os._exit(1)


def _reset_peak_memory() -> None:
    """Reset the peak memory (Linux); elsewhere it remains the peak since the process started."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _memory_bytes(field: str) -> int:
    """Return the resident memory in bytes: VmRSS is the current value, VmHWM the peak.

    On systems without /proc, both fields give the peak.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        import resource

        kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return kibibytes if sys.platform == "darwin" else 1024 * kibibytes
    line = next(line for line in status.splitlines() if line.startswith(f"{field}:"))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main()
