"""A stand-alone program that holds one model in its process and times windows on request.

A request is a line of JSON on standard input; its answer is a line on standard output. The first
request loads the model; the others time samples of a workload, move the threads to other cores, or
take a snapshot of the device:

    {"model": path, "capacity": tokens, "cores": [N, ...] or null, "threads": N, "precedence": bool}
    {"time": {"phase": "prefill" or "decode", "tokens": N, "depth": N}, "samples": N}
    {"move": [N, ...]}
    {"snapshot": true}

The program ends at the end of its input. An error ends it with the exception on standard error.
This module and `environment.py` are all that is copied to a device, so they need only Python, numpy
and onnxruntime. Weights that the model file does not contain are drawn here.
"""

import contextlib
import json
import os
import select
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from hardware.environment import read_counters, read_environment

_CHUNK_ELEMENTS = 1 << 22
_PAST_ELEMENTS = 1 << 16


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
        others = _own_threads()[1:]
        start = time.perf_counter_ns()
        path = Path(model)
        data = _data_file(path)
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
        self._threads = [thread for thread in _own_threads() if thread not in others]
        self._wait_clock = _wait_clock(threads, self._threads)
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
        with _precedence(self._threads if self._takes_precedence else ()):
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
        }

    def _move(self, cores: Sequence[int]) -> None:
        """Pin the calling thread to the first core and the runtime's threads to the others."""
        threads = self._threads[: len(cores)]
        for thread, core in zip(threads, cores, strict=True):
            os.sched_setaffinity(thread, [core])


class Session:
    """A model that has read `position` tokens, with its caches bound in place.

    An attention cache is one buffer for past and present. Other states alternate between two
    buffers, each with its own binding, so that no step copies a state or reads one that it has
    overwritten.
    """

    def __init__(
        self,
        model: Path,
        *,
        threads: int = 1,
        cores: Sequence[int] | None = None,
        capacity: int | None = None,
    ) -> None:
        """Load a model.

        Args:
            model: The ONNX file, with its description next to it.
            threads: Threads to compute with.
            cores: One core per thread, the first for the calling thread; None pins no thread.
            capacity: The most tokens that caches hold; None is the model's context length.

        Raises:
            ValueError: The capacity is above the context length that the model was written for.
        """
        self.description = json.loads(model.with_name("model.json").read_text())
        most = self.description["context_length"]
        self.capacity = capacity or most
        if self.capacity > most:
            raise ValueError(f"capacity: {capacity} is above {most}, the model's context length")
        self.position = 0
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        if threads > 1:
            # Otherwise workers keep spinning after the last run, while another process is timed.
            options.add_session_config_entry("session.force_spinning_stop", "1")
        if threads > 1 and cores is not None:  # the runtime counts cores from 1
            workers = ";".join(str(core + 1) for core in cores[1:])
            options.add_session_config_entry("session.intra_op_thread_affinities", workers)
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._bindings = [self._session.io_binding(), self._session.io_binding()]
        self._states: list[NDArray[np.float32]] = []
        self._total_length = _value(np.zeros((), dtype=np.int32))
        self._token = _value(np.zeros((1, 1), dtype=np.int64))
        self._logits = np.zeros((1, 1, self.description["vocab_size"]), dtype=np.float32)
        logits = _value(self._logits)
        for binding in self._bindings:
            binding.bind_ortvalue_input("total_length", self._total_length)
            binding.bind_ortvalue_output("logits", logits)
        for state in self.description["states"]:
            self._bind_state(state)

    def read(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read `tokens` (T,) after the earlier ones; return the logits (V,) after the last."""
        value = self._token if len(tokens) == 1 else _value(tokens[None])
        if len(tokens) == 1:
            self._token.update_inplace(tokens[None])
        self._bindings[0].bind_ortvalue_input("tokens", value)
        self.run(len(tokens))
        logits: NDArray[np.float32] = self._logits[0, 0].copy()
        return logits

    def prepare(self, tokens: NDArray[np.int64]) -> None:
        """Bind `tokens` (T,) as the input of the following runs."""
        value = _value(tokens[None])
        for binding in self._bindings:
            binding.bind_ortvalue_input("tokens", value)

    def run(self, tokens: int) -> None:
        """Run one pass over the `tokens` tokens that are bound."""
        self.position += tokens
        self._total_length.update_inplace(np.array(self.position, dtype=np.int32))
        binding = self._bindings[0]
        self._session.run_with_iobinding(binding)
        self._bindings.reverse()

    def fill(self, position: int, generator: np.random.Generator) -> None:
        """Fill the states as if `position` tokens had been read; values do not affect the time."""
        self.position = position
        block = generator.uniform(-1, 1, _PAST_ELEMENTS).astype(np.float32)
        for state in self._states:
            flat = state.reshape(-1)
            for start in range(0, flat.size, block.size):
                piece = flat[start : start + block.size]
                piece[:] = block[: piece.size]

    def _bind_state(self, state: dict[str, Any]) -> None:
        shape = [extent or self.capacity for extent in state["shape"]]
        first = self._state(shape)
        second = first if state["in_place"] else self._state(shape)
        for binding, past, present in zip(
            self._bindings, (first, second), (second, first), strict=True
        ):
            binding.bind_ortvalue_input(state["past"], past)
            binding.bind_ortvalue_output(state["present"], present)

    def _state(self, shape: Sequence[int]) -> ort.OrtValue:
        """Return a buffer of zeros that the runtime and `_states` share."""
        self._states.append(np.zeros(shape, dtype=np.float32))
        return _value(self._states[-1])


class _OneThreadClock:
    """Tells how long the calling thread waited for a core; all work must be done by this thread.

    Time that the hypervisor took counts as waiting where the kernel knows of it.
    """

    def __init__(self) -> None:
        self._start_ns = 0

    def start(self) -> None:
        self._start_ns = time.thread_time_ns()

    def waited_ns(self, sample_ns: int) -> int:
        """Return the part of `sample_ns`, the wall time since `start`, spent waiting."""
        return max(0, sample_ns - (time.thread_time_ns() - self._start_ns))


class _RunQueueClock:
    """Tells how long the threads of this process waited in the run queue (Linux, schedstat).

    A computation on several threads ends with the slowest, so the longest wait counts.
    """

    def __init__(self, threads: Sequence[int]) -> None:
        # Each file stays open: a read takes 1 us.
        self._files = [
            os.open(f"/proc/self/task/{thread}/schedstat", os.O_RDONLY) for thread in threads
        ]
        self._start_ns: list[int] = []

    def start(self) -> None:
        self._start_ns = self._read()

    def waited_ns(self, sample_ns: int) -> int:
        """Return the part of `sample_ns`, the wall time since `start`, spent waiting."""
        waits = (now - then for now, then in zip(self._read(), self._start_ns, strict=True))
        return min(sample_ns, max(waits))

    def _read(self) -> list[int]:
        return [int(os.pread(file, 64, 0).split()[1]) for file in self._files]


class _NoClock:
    """Stands for the clock on systems that do not tell how long several threads waited."""

    def start(self) -> None:
        return

    def waited_ns(self, sample_ns: int) -> None:
        return


def _wait_clock(count: int, threads: Sequence[int]) -> _OneThreadClock | _RunQueueClock | _NoClock:
    if count == 1:
        return _OneThreadClock()
    try:
        return _RunQueueClock(threads) if threads else _NoClock()
    except OSError:
        return _NoClock()


def _own_threads() -> list[int]:
    """Return the ids of this process's threads, the calling one first; empty without /proc."""
    calling = threading.get_native_id()
    try:
        others = {int(task.name) for task in Path("/proc/self/task").iterdir()} - {calling}
    except OSError:
        return []
    return [calling, *sorted(others)]  # its id is not the lowest once ids start again from 1


@contextlib.contextmanager
def _precedence(threads: Sequence[int]) -> Iterator[None]:
    """Let other processes wait for these threads, if the system permits it, until the context ends.

    Sharing a core costs more than waiting for it: meanwhile, caches fill with the data of others,
    and a pass over a model of medium size takes up to a quarter longer. The kernel still keeps a
    part of each second for other processes.
    """
    changed = []
    try:
        for thread in threads:
            os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(1))
            changed.append(thread)
    except (AttributeError, OSError):  # another system, or no permission
        pass
    try:
        yield
    finally:
        for thread in changed:
            os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def write_random_weights(model: Path) -> None:
    """Write the data file that a model declares, with weights drawn from its seed.

    Every tensor has its own bytes: if tensors shared them, the weights could fit a cache and the
    model would look too fast. Tensors that are declared over the same bytes are written once.
    """
    description = json.loads(model.with_name("model.json").read_text())
    generator = np.random.Generator(np.random.SFC64(description["seed"]))
    with _data_file(model).open("wb") as file:
        for weight in description["weights"]:
            if weight["offset"] < file.tell():
                continue
            file.seek(weight["offset"])
            elements = int(np.prod(weight["shape"]))
            for start in range(0, elements, _CHUNK_ELEMENTS):
                count = min(_CHUNK_ELEMENTS, elements - start)
                file.write(_draw(weight, count, generator).data)
        file.truncate(description["data_bytes"])


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


def _data_file(model: Path) -> Path:
    return model.with_name(f"{model.name}.data")


def _draw(weight: dict[str, Any], count: int, generator: np.random.Generator) -> NDArray[Any]:
    if weight["dtype"] == "uint8":
        words = generator.integers(1 << 64, size=-(-count // 8), dtype=np.uint64)
        return words.view(np.uint8)[:count]
    draw = generator.random(count, dtype=np.float32)
    return draw * np.float32(weight["high"] - weight["low"]) + np.float32(weight["low"])


def _value(array: NDArray[Any]) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(array)


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
