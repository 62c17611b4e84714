import json
import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from hardware.bench import Bench, Session, write_random_weights
from hardware.local import LocalRunner
from hardware.measurement import Workload
from search_space.onnx_model import write_onnx
from tests.search_space.strategies import ATTENTION, CONV, CORNERS, LINEAR, WINDOW, stack

EVERY_MIXER = stack(CONV, ATTENTION, LINEAR, WINDOW)


def write(folder, architecture=EVERY_MIXER, quantization="int4", seed=0):
    folder.mkdir(exist_ok=True)
    return write_onnx(architecture, folder, quantization=quantization, context_length=64, seed=seed)


def drawn(folder, **options):
    model = write(folder, **options)
    write_random_weights(model)
    return model


def session_of(model, **options) -> Session:
    return Session(model, **options)


def description_of(model):
    return json.loads(model.with_name("model.json").read_text())


def data_of(model) -> bytes:
    return model.with_name("model.onnx.data").read_bytes()


class TestRandomWeights:
    def test_a_seed_gives_the_same_bytes_and_another_gives_others(self, tmp_path):
        one, again, other = (
            drawn(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
        )
        assert data_of(one) == data_of(again) != data_of(other)
        assert len(data_of(one)) == description_of(one)["data_bytes"]

    @pytest.mark.parametrize("quantization", ["fp32", "int8", "int4"])
    def test_every_tensor_has_its_own_bytes_with_values_in_its_range(self, quantization, tmp_path):
        model = drawn(tmp_path / "model", quantization=quantization)
        data = data_of(model)
        tensors = {weight["offset"]: weight for weight in description_of(model)["weights"]}
        ends = []
        for offset, weight in sorted(tensors.items()):
            dtype = np.dtype(weight["dtype"])
            count = int(np.prod(weight["shape"]))
            values = np.frombuffer(data, dtype, count, offset)
            assert weight["low"] <= values.min() <= values.max() <= weight["high"]
            if count >= 1000:
                # The mean of a uniform draw is the middle, within five standard errors.
                highest = weight["high"] - (1 if weight["dtype"] == "uint8" else 0)
                middle = (weight["low"] + highest) / 2
                error = (weight["high"] - weight["low"]) / np.sqrt(12 * count)
                assert abs(values.mean(dtype=np.float64) - middle) < 5 * error
                assert len(np.unique(values)) > min(count, 256) / 2
            ends.append((offset, offset + values.nbytes))
        assert all(end <= start for (_, end), (start, _) in pairwise(ends))

    def test_large_tensors_do_not_repeat_values(self, tmp_path):
        # Weights are drawn in chunks of 4 million elements.
        architecture = stack(None, vocab_size=300_000)
        model = drawn(tmp_path / "model", architecture=architecture, quantization="fp32")
        table = next(w for w in description_of(model)["weights"] if w["shape"] == [300_000, 32])
        values = np.frombuffer(data_of(model), np.float32, 300_000 * 32, table["offset"])
        rows = values.reshape(300_000, 32)
        assert len(np.unique(rows[:, 0])) > 290_000

    @pytest.mark.parametrize("quantization", ["fp32", "int8", "int4"])
    def test_logits_are_finite_numbers_that_depend_on_the_tokens(self, quantization, tmp_path):
        model = drawn(tmp_path / "model", quantization=quantization)
        one, other = (
            session_of(model).read(np.array(tokens)) for tokens in ([1, 2, 3, 4], [1, 2, 7, 4])
        )
        assert one.shape == (64,)
        assert np.isfinite(one).all()
        assert one.std() > 0
        assert np.abs(one - other).max() > 0


class TestSession:
    @pytest.mark.parametrize("name", CORNERS)
    def test_reading_a_prompt_in_pieces_gives_the_same_logits(self, name, tmp_path):
        model = drawn(tmp_path / "model", architecture=CORNERS[name], quantization="fp32")
        tokens = np.arange(10) % CORNERS[name].vocab_size
        whole, pieces = session_of(model), session_of(model)
        expected = whole.read(tokens)
        for piece in (tokens[:4], tokens[4:5], tokens[5:6], tokens[6:]):
            logits = pieces.read(piece)
        assert whole.position == pieces.position == 10
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * max(1, expected.std()))

    def test_returned_logits_are_not_overwritten(self, tmp_path):
        session = session_of(drawn(tmp_path / "model"))
        first = session.read(np.array([1]))
        kept = first.copy()
        session.read(np.array([2]))
        np.testing.assert_array_equal(first, kept)

    def test_it_rewinds_to_an_earlier_position(self, tmp_path):
        # Only with full attention: the states of other mixers also depend on later tokens.
        session = session_of(drawn(tmp_path / "model", architecture=stack(ATTENTION, ATTENTION)))
        session.read(np.array([3, 1, 4, 1]))
        first = session.read(np.array([5, 9]))
        session.position = 4
        session.read(np.array([2, 6, 5]))
        session.position = 4
        np.testing.assert_array_equal(session.read(np.array([5, 9])), first)

    def test_a_filled_past_replaces_one_that_was_read(self, tmp_path):
        session = session_of(drawn(tmp_path / "model"))
        empty = session.read(np.array([1]))
        before = session.position
        session.fill(20, np.random.default_rng(0))
        assert before == 1
        filled = session.read(np.array([1]))
        assert session.position == 21
        assert np.isfinite(filled).all()
        assert np.abs(filled - empty).max() > 1e-3

    def test_capacity_bounds_the_context(self, tmp_path):
        model = drawn(tmp_path / "model", architecture=stack(ATTENTION))
        session_of(model, capacity=10).read(np.zeros(10, dtype=np.int64))
        with pytest.raises(ValueError, match=r"^capacity: 65 is above 64, the model's context"):
            session_of(model, capacity=65)


class TestWindows:
    """The position of the session after windows of a given number of samples."""

    @pytest.fixture
    def bench(self, tmp_path) -> Bench:
        return Bench(model=str(write(tmp_path / "model")), capacity=52, cores=None, threads=1)

    def test_decoding_continues_where_the_last_window_stopped_until_the_end(self, bench):
        positions = [
            position_after_window(bench, "decode", 12, depth=40, samples=5) for _ in range(4)
        ]
        assert positions == [45, 50, 43, 48]

    def test_a_prompt_is_always_read_after_the_context_depth(self, bench):
        positions = [
            position_after_window(bench, "prefill", 30, depth=10, samples=2) for _ in range(2)
        ]
        assert positions == [40, 40]

    def test_each_workload_has_its_own_position(self, bench):
        positions = [
            position_after_window(bench, *workload, samples=3)
            for workload in [("decode", 12, 40), ("prefill", 8, 0), ("decode", 9, 0)] * 2
        ]
        assert positions == [43, 8, 3, 46, 8, 6]

    @pytest.mark.parametrize("name", CORNERS)
    def test_no_state_grows_in_a_long_timing(self, name, tmp_path):
        model = write(tmp_path / "model", architecture=CORNERS[name], quantization="fp32")
        bench = Bench(model=str(model), capacity=64, cores=None, threads=1)
        position_after_window(bench, "decode", 12, depth=40, samples=2000)
        logits = bench.session.read(np.array([1]))
        assert np.isfinite(logits).all()
        assert logits.std() > 0

    def test_memory_of_weights_and_of_caches_is_distinguished(self, tmp_path):
        # 77 MB of weights, 68 MB of keys and values.
        architecture = stack(ATTENTION, vocab_size=300_000, width=64, embedding_width=64)
        folder = tmp_path / "large"
        folder.mkdir()
        length = 1 << 18
        model = write_onnx(architecture, folder, quantization="fp32", context_length=length)
        # In a new process, because this one may have free memory from earlier tests.
        with LocalRunner().load(model, length) as loaded:
            loading = loaded.loading
            window = loaded.time(Workload(phase="decode", tokens=12, depth=40), 1)
        weights = loading.model_bytes
        assert weights == model.stat().st_size + description_of(model)["data_bytes"] > 77e6
        assert loading.loaded_memory_bytes - loading.empty_memory_bytes > 77e6
        assert window.peak_memory_bytes - loading.loaded_memory_bytes > 66e6


def time_window(bench, phase, tokens, depth, samples):
    workload = {"phase": phase, "tokens": tokens, "depth": depth}
    return bench.answer({"time": workload, "samples": samples})


def position_after_window(bench, phase, tokens, depth, samples) -> int:
    assert len(time_window(bench, phase, tokens, depth, samples)["samples_ns"]) == samples
    return bench.session.position


class TestDialogue:
    """The dialogue of a person, or of a runner that reaches a device through a pipe."""

    def dialogue(self, *lines) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "hardware.bench"],
            input="".join(f"{json.dumps(line)}\n" for line in lines),
            capture_output=True,
            text=True,
            check=False,
        )

    def test_each_line_is_answered_and_the_end_of_input_ends_the_program(self, tmp_path):
        load = {
            "model": str(write(tmp_path / "model")),
            "capacity": 52,
            "cores": None,
            "threads": 1,
        }
        window = {"time": {"phase": "decode", "tokens": 4, "depth": 2}, "samples": 7}
        cores = sorted(os.sched_getaffinity(0))[-1:] if sys.platform == "linux" else []
        done = self.dialogue(load, window, {"snapshot": True}, {"move": cores}, window)
        assert done.returncode == 0
        assert done.stderr == ""
        loading, first, snapshot, moved, second = map(json.loads, done.stdout.splitlines())
        assert loading["runtime"] == "onnxruntime"
        assert moved == {}
        for answer in (first, second):
            assert len(answer["samples_ns"]) == len(answer["waited_ns"]) == 7
        assert snapshot["environment"]["runtime_version"].startswith("onnxruntime 1.")

    def test_output_of_a_library_is_not_mistaken_for_an_answer(self, tmp_path):
        script = (
            "import os, hardware.bench as bench\n"
            "def loud(version, read=bench.read_environment):\n"
            "    os.write(1, b'printed by a library')\n"
            "    return read(version)\n"
            "bench.read_environment = loud\n"
            "bench.main()\n"
        )
        load = {"model": str(write(tmp_path / "model")), "capacity": 52, "cores": None}
        done = subprocess.run(
            [sys.executable, "-P", "-c", script],
            input=f"{json.dumps(load | {'threads': 1})}\n{json.dumps({'snapshot': True})}\n",
            capture_output=True,
            text=True,
            check=True,
        )
        assert len([json.loads(line) for line in done.stdout.splitlines()]) == 2
        assert done.stderr == "printed by a library"

    def test_without_requests_there_is_no_output(self):
        done = self.dialogue()
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
