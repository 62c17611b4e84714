"""A model in a session of onnxruntime, with its caches bound in place.

It needs only Python, numpy and onnxruntime.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

_PAST_ELEMENTS = 1 << 16


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


def _value(array: NDArray[Any]) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(array)
