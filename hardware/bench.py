"""The stand-alone program that measures one model file: weights, session, warm-up, samples.

It reads one request (JSON) from standard input and writes one JSON line. With `environment.py` it
is all that travels to a device, so it needs nothing but Python, numpy and onnxruntime.

    {"model": path, "workloads": [{"phase", "tokens", "depth"}], "threads": N, "seconds": S}

Threads are pinned, the highest cores first; weights that the file leaves open are drawn here.
"""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from hardware.environment import read_environment

_FEWEST_PROMPTS = 3
_MOST_PROMPTS = 20
_MOST_TEXTS = 5
_WARMUP_TOKENS = 8
_CHUNK_ELEMENTS = 1 << 22
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """One workload's times in ns and the most memory that was resident meanwhile."""

    warmup_ns: list[int]
    samples_ns: list[int]
    peak_memory_bytes: int


class Session:
    """A model that has read `position` tokens; its caches are bound in place.

    Attention caches are one buffer, past and present. Other states alternate between two buffers,
    each with its own binding, so that no step copies and none reads what it has overwritten.
    """

    def __init__(self, model: Path, *, cores: Sequence[int], capacity: int | None = None) -> None:
        """One thread for each of `cores`; `capacity`: the tokens that caches hold at most.

        Raises ValueError for a capacity beyond the context that the model was written for.
        """
        self.description = json.loads(model.with_name("model.json").read_text())
        most = self.description["context_length"]
        self.capacity = capacity or most
        if self.capacity > most:
            raise ValueError(f"capacity: {capacity} is above {most}, the model's context length")
        self.position = 0
        options = ort.SessionOptions()
        options.intra_op_num_threads = len(cores)
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        if len(cores) > 1:  # the calling thread is the first; runtimes count processors from 1
            workers = ";".join(str(core + 1) for core in cores[1:])
            options.add_session_config_entry("session.intra_op_thread_affinities", workers)
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._bindings = [self._session.io_binding(), self._session.io_binding()]
        self._states: list[tuple[ort.OrtValue, ort.OrtValue]] = []
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
        """Logits (V,) after the last of `tokens` (T,), which follow what was read before."""
        value = self._token if len(tokens) == 1 else _value(tokens[None])
        if len(tokens) == 1:
            self._token.update_inplace(tokens[None])
        self._bindings[0].bind_ortvalue_input("tokens", value)
        self.run(len(tokens))
        logits: NDArray[np.float32] = self._logits[0, 0].copy()
        return logits

    def prepare(self, tokens: NDArray[np.int64]) -> None:
        """Binds `tokens` (T,) for the runs that follow."""
        value = _value(tokens[None])
        for binding in self._bindings:
            binding.bind_ortvalue_input("tokens", value)

    def run(self, tokens: int) -> None:
        """One pass over the `tokens` tokens that are bound."""
        self.position += tokens
        self._total_length.update_inplace(np.array(self.position, dtype=np.int32))
        binding = self._bindings[0]
        self._session.run_with_iobinding(binding)
        self._bindings.reverse()

    def fill(self, position: int, generator: np.random.Generator) -> None:
        """As if `position` tokens had been read: their values do not change what a step costs."""
        self.position = position
        for first, second in self._states:
            for buffer in {id(first): first, id(second): second}.values():
                draw = generator.standard_normal(buffer.shape(), dtype=np.float32)
                buffer.update_inplace(draw)

    def _bind_state(self, state: dict[str, Any]) -> None:
        shape = [extent or self.capacity for extent in state["shape"]]
        first = _value(np.zeros(shape, dtype=np.float32))
        second = first if state["in_place"] else _value(np.zeros(shape, dtype=np.float32))
        self._states.append((first, second))
        for binding, past, present in zip(
            self._bindings, (first, second), (second, first), strict=True
        ):
            binding.bind_ortvalue_input(state["past"], past)
            binding.bind_ortvalue_output(state["present"], present)


def write_random_weights(model: Path) -> None:
    """Writes the data file that the model declares, drawn from its seed.

    Every tensor has bytes of its own: tensors that shared them would fit a cache and flatter the
    model. Two that are the same bytes in two shapes are drawn once.
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


def measure_workload(
    session: Session, phase: str, tokens: int, depth: int, seconds: float
) -> Samples:
    """Samples of one workload: at least three prompts, or `tokens` tokens; more until `seconds`."""
    generator = np.random.default_rng(0)
    vocabulary = session.description["vocab_size"]
    _forget_peak_memory()
    if phase == "prefill":
        at_once, steps, fewest, most = tokens, 1, _FEWEST_PROMPTS, _MOST_PROMPTS
    else:
        at_once, steps, fewest, most = 1, tokens, 1, _MOST_TEXTS
    session.prepare(generator.integers(vocabulary, size=at_once))
    session.fill(depth, generator)

    def sample(steps: int) -> list[int]:
        session.position = depth
        return _timed(session, at_once, steps)

    warmup = sample(min(steps, _WARMUP_TOKENS))
    samples = _repeat(lambda: sample(steps), fewest, most, seconds)
    return Samples(warmup_ns=warmup, samples_ns=samples, peak_memory_bytes=_peak_memory_bytes())


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What the request asks for, as plain data."""
    start = time.perf_counter_ns()
    model, workloads = Path(request["model"]), request["workloads"]
    cores = _choose_cores(request["threads"])
    capacity = max(workload["tokens"] + workload["depth"] for workload in workloads)
    drawn = not _data_file(model).exists()
    try:
        if drawn:
            write_random_weights(model)
        session = Session(model, cores=cores, capacity=capacity)
    finally:
        if drawn:  # the session has mapped what it needs
            _data_file(model).unlink(missing_ok=True)
    if sys.platform == "linux":
        os.sched_setaffinity(0, cores[:1])
    load_ns = time.perf_counter_ns() - start
    results = [
        measure_workload(session, **workload, seconds=request["seconds"]) for workload in workloads
    ]
    environment = read_environment(f"onnxruntime {ort.__version__}")
    return {
        "load_ns": load_ns,
        "cores": cores if sys.platform == "linux" else [],
        "results": [asdict(result) for result in results],
        "environment": asdict(environment),
    }


def main() -> None:
    _die_with_parent()
    request = json.load(sys.stdin)
    print(json.dumps(answer(request)))


def _die_with_parent() -> None:
    """A measurement that nobody waits for must not disturb the next one (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _choose_cores(threads: int) -> list[int]:
    if sys.platform != "linux":
        return list(range(threads))
    cores = sorted(os.sched_getaffinity(0), reverse=True)
    if threads > len(cores):
        raise ValueError(f"threads: {threads} is more than the {len(cores)} cores of this device")
    return cores[:threads]


def _data_file(model: Path) -> Path:
    return model.with_name(f"{model.name}.data")


def _timed(session: Session, tokens: int, repetitions: int) -> list[int]:
    samples = []
    for _ in range(repetitions):
        start = time.perf_counter_ns()
        session.run(tokens)
        samples.append(time.perf_counter_ns() - start)
    return samples


def _repeat(
    sample: Callable[[], Sequence[int]], fewest: int, most: int, seconds: float
) -> list[int]:
    samples: list[int] = []
    start = time.monotonic()
    for repetition in range(most):
        spent = time.monotonic() - start
        if repetition >= fewest and spent * (repetition + 1) / repetition > seconds:
            break
        samples += sample()
    return samples


def _draw(weight: dict[str, Any], count: int, generator: np.random.Generator) -> NDArray[Any]:
    if weight["dtype"] == "uint8":
        words = generator.integers(1 << 64, size=-(-count // 8), dtype=np.uint64)
        return words.view(np.uint8)[:count]
    draw = generator.random(count, dtype=np.float32)
    return draw * np.float32(weight["high"] - weight["low"]) + np.float32(weight["low"])


def _value(array: NDArray[Any]) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(array)


def _forget_peak_memory() -> None:
    """Lets the peak start anew (Linux); elsewhere it is the peak since the process began."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak_memory_bytes() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        import resource

        kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return kibibytes if sys.platform == "darwin" else 1024 * kibibytes
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main()
