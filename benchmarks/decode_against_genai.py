"""Compare decoding with our graph and with onnxruntime-genai's graph of the same model.

    python benchmarks/decode_against_genai.py [--preset lfm2-350m] [--folder KEPT]

Everything runs in one process, int4 in blocks of 32 with int8 activations, on one pinned thread.
`graph` is the graph of onnxruntime-genai's model builder in a plain onnxruntime session whose
caches are bound in place, like ours; `generate` is its own `generate_next_token`, sampling
included. Windows of decode steps are interleaved, so that drift of the machine affects all of them
alike; the spread of the ratios shows how much of it remains. With `hardware.local.STEADY_HEAP` in
the environment, all weights lie in huge pages, as in our measurements.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
import onnxruntime as ort

from hardware.environment import read_environment
from hardware.onnx_session import Session
from hardware.random_weights import write_random_weights
from search_space.architecture import Architecture, Attention, ShortConv
from search_space.onnx_model import write_onnx
from search_space.preset_models import preset

_CONTEXT = 1024
_HEAD_DIM = 64  # the same in every LFM2
_DEPTH = 512
_STEPS = 15
_WINDOWS = 15
_ROUNDS = 6  # the placement of the weights in memory changes the time of a session by 2 %
_NEEDED = ("onnx_ir", "onnxruntime_genai", "transformers")


# Decodes one token after the given number of earlier ones.
Decode: TypeAlias = Callable[[int], None]


class GeneratingSession:
    """onnxruntime-genai's own generation loop over the folder of its builder, on one thread."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime_genai

        config = onnxruntime_genai.Config(str(folder))
        options = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
        model = onnxruntime_genai.Model(config)
        parameters = onnxruntime_genai.GeneratorParams(model)
        parameters.set_search_options(max_length=_CONTEXT, min_length=_CONTEXT, do_sample=False)
        self._generator = onnxruntime_genai.Generator(model, parameters)
        self._generator.append_tokens(np.ones((1, _DEPTH), dtype=np.int32))

    def run(self, position: int) -> None:
        """Generate the next token; the first one comes from the logits of the prompt."""
        del position  # the generator counts tokens itself
        self._generator.generate_next_token()


class BuiltSession:
    """A graph of onnxruntime-genai's model builder with its caches bound in place.

    An attention cache is one buffer for past and present; convolution states alternate between two.
    """

    def __init__(self, model: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._bindings = [self._session.io_binding(), self._session.io_binding()]
        self._masks = [
            ort.OrtValue.ortvalue_from_numpy(np.ones((1, length), dtype=np.int64))
            for length in range(_CONTEXT + 1)
        ]
        token = ort.OrtValue.ortvalue_from_numpy(np.ones((1, 1), dtype=np.int64))
        for binding in self._bindings:
            binding.bind_ortvalue_input("input_ids", token)
            binding.bind_output("logits")
        for past in self._session.get_inputs():
            if past.name.startswith("past"):
                self._bind_state(past.name, past.shape)

    def run(self, position: int) -> None:
        """Decode one token after `position` earlier ones."""
        binding = self._bindings[0]
        binding.bind_ortvalue_input("attention_mask", self._masks[position + 1])
        self._session.run_with_iobinding(binding)
        self._bindings.reverse()

    def _bind_state(self, past: str, shape: list[int | str]) -> None:
        lengths = {"batch_size": 1, "past_sequence_length": _CONTEXT, "kv_cache_dim": _HEAD_DIM}
        extents = [lengths[extent] if isinstance(extent, str) else extent for extent in shape]
        zeros = np.zeros(extents, dtype=np.float32)
        in_place = past.endswith((".key", ".value"))
        first = ort.OrtValue.ortvalue_from_numpy(zeros)
        second = first if in_place else ort.OrtValue.ortvalue_from_numpy(zeros)
        present = past.replace("past_key_values", "present").replace("past", "present")
        for binding, before, after in zip(
            self._bindings, (first, second), (second, first), strict=True
        ):
            binding.bind_ortvalue_input(past, before)
            binding.bind_ortvalue_output(present, after)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", default="lfm2-350m", help="an LFM2 with both mixers")
    parser.add_argument("--folder", type=Path, help="folder that keeps both models between runs")
    arguments = parser.parse_args()
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit("This comparison needs `pip install transformers onnxruntime-genai onnx-ir`.")
    with tempfile.TemporaryDirectory(prefix="nas-") as temporary:
        folder = arguments.folder or Path(temporary)
        architecture = preset(arguments.preset)
        ours, theirs = folder / "ours" / "model.onnx", folder / "theirs" / "model.onnx"
        if not ours.exists():
            _build_ours(architecture, ours.parent)
        if not theirs.exists():
            _build_theirs(architecture, theirs.parent, folder / "checkpoint")
        _compare(ours, theirs, arguments.preset)


def _build_ours(architecture: Architecture, folder: Path) -> None:
    folder.mkdir(parents=True)
    write_random_weights(
        write_onnx(architecture, folder, quantization="int4", context_length=_CONTEXT)
    )


def _build_theirs(architecture: Architecture, folder: Path, checkpoint: Path) -> None:
    """Write a random checkpoint of the same shape, and run the model builder's command on it."""
    _write_checkpoint(architecture, checkpoint)
    options = ["accuracy_level=4", "block_size=32", "prune_lm_head=true"]
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", checkpoint]
    command += ["-o", folder, "-p", "int4", "-e", "cpu", "-c", checkpoint / "cache"]
    built = subprocess.run(
        [*map(str, command), "--extra_options", *options],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        sys.exit(f"the model builder failed:\n{built.stderr[-2000:]}")


def _write_checkpoint(architecture: Architecture, folder: Path) -> None:
    import tokenizers
    import transformers

    mixers = [layer.mixer for layer in architecture.layers]
    attention = next(mixer for mixer in mixers if isinstance(mixer, Attention))
    convolution = next(mixer for mixer in mixers if isinstance(mixer, ShortConv))
    config = transformers.Lfm2Config(
        vocab_size=architecture.vocab_size,
        hidden_size=architecture.width,
        intermediate_size=architecture.layers[0].feed_forward_width,
        block_auto_adjust_ff_dim=False,
        num_hidden_layers=len(mixers),
        num_attention_heads=attention.heads,
        num_key_value_heads=attention.kv_heads,
        conv_L_cache=convolution.kernel,
        layer_types=[
            "conv" if isinstance(mixer, ShortConv) else "full_attention" for mixer in mixers
        ],
        rope_parameters={"rope_type": "default", "rope_theta": attention.rope_base},
        max_position_embeddings=_CONTEXT,
    )
    transformers.utils.logging.disable_progress_bar()
    transformers.Lfm2ForCausalLM(config).save_pretrained(folder)
    # The builder requires a tokenizer, but any tokenizer will do.
    empty = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={"a": 0}, merges=[]))
    transformers.PreTrainedTokenizerFast(tokenizer_object=empty, eos_token="a").save_pretrained(
        folder
    )


def _compare(ours: Path, theirs: Path, name: str) -> None:
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, [core])
    starts: dict[str, Callable[[], Decode]] = {
        "ours": lambda: _start_ours(ours),
        "graph": lambda: BuiltSession(theirs).run,
        "generate": lambda: GeneratingSession(theirs.parent).run,
    }
    windows: dict[str, list[float]] = {label: [] for label in starts}
    for _ in range(_ROUNDS):
        starts = dict(reversed(starts.items()))
        running = {label: start() for label, start in starts.items()}
        for decode in running.values():
            _window_ms(decode, _DEPTH)  # warm-up
        for window in range(1, _WINDOWS + 1):
            for label, decode in running.items():
                windows[label].append(_window_ms(decode, _DEPTH + window * _STEPS))
    environment = read_environment(f"onnxruntime {ort.__version__}")
    print(
        f"{name} int4, decode from depth {_DEPTH} on: {_ROUNDS} rounds with new sessions, each "
        f"with {_WINDOWS} interleaved windows of {_STEPS} steps"
    )
    print(
        f"{environment.cpu}, {environment.cores} cores, {environment.system}, "
        f"{environment.runtime_version}, load {environment.load_1min}"
    )
    for label, model in (("ours", ours), ("graph", theirs), ("generate", theirs)):
        print(
            f"{label:9}{np.median(windows[label]):7.2f} ms per token, at best "
            f"{min(windows[label]):.2f}; {_operators(model)}"
        )
    for label in ("graph", "generate"):
        ratios = np.divide(windows["ours"], windows[label])
        rounds = np.median(ratios.reshape(_ROUNDS, _WINDOWS), axis=1)
        low, median, high = np.quantile(ratios, (0.25, 0.5, 0.75))
        print(
            f"ours / {label}: {median:.3f}; quartiles of the windows {low:.3f} to {high:.3f}, "
            f"medians of the rounds {rounds.min():.3f} to {rounds.max():.3f}"
        )


def _start_ours(model: Path) -> Decode:
    session = Session(model)
    session.prepare(np.ones(1, dtype=np.int64))

    def decode(position: int) -> None:
        session.position = position
        session.run(1)

    return decode


def _window_ms(decode: Decode, depth: int) -> float:
    samples = []
    for step in range(_STEPS):
        start = time.perf_counter_ns()
        decode(depth + step)
        samples.append(time.perf_counter_ns() - start)
    return float(np.median(samples)) / 1e6


def _operators(model: Path) -> str:
    nodes = onnx.load(model, load_external_data=False).graph.node
    counts = Counter(node.op_type for node in nodes)
    return f"{len(nodes)} nodes, {counts['MatMulNBits']} MatMulNBits"


if __name__ == "__main__":
    main()
