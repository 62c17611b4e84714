import json
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
    def test_every_tensor_has_bytes_of_its_own_within_its_range(self, quantization, tmp_path):
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
                # An even draw: its mean is the middle, within five standard errors.
                highest = weight["high"] - (1 if weight["dtype"] == "uint8" else 0)
                middle = (weight["low"] + highest) / 2
                error = (weight["high"] - weight["low"]) / np.sqrt(12 * count)
                assert abs(values.mean(dtype=np.float64) - middle) < 5 * error
                assert len(np.unique(values)) > min(count, 256) / 2
            ends.append((offset, offset + values.nbytes))
        assert all(end <= start for (_, end), (start, _) in pairwise(ends))

    def test_large_tensors_do_not_repeat_themselves(self, tmp_path):
        # They are drawn in chunks of 4 million elements.
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
    def test_a_prompt_is_its_pieces(self, name, tmp_path):
        model = drawn(tmp_path / "model", architecture=CORNERS[name], quantization="fp32")
        tokens = np.arange(10) % CORNERS[name].vocab_size
        whole, pieces = session_of(model), session_of(model)
        expected = whole.read(tokens)
        for piece in (tokens[:4], tokens[4:5], tokens[5:6], tokens[6:]):
            logits = pieces.read(piece)
        assert whole.position == pieces.position == 10
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * max(1, expected.std()))

    def test_logits_that_were_read_stay(self, tmp_path):
        session = session_of(drawn(tmp_path / "model"))
        first = session.read(np.array([1]))
        kept = first.copy()
        session.read(np.array([2]))
        np.testing.assert_array_equal(first, kept)

    def test_it_rewinds_to_an_earlier_position(self, tmp_path):
        # Full attention only: other mixers' states hold what came after, too.
        session = session_of(drawn(tmp_path / "model", architecture=stack(ATTENTION, ATTENTION)))
        session.read(np.array([3, 1, 4, 1]))
        first = session.read(np.array([5, 9]))
        session.position = 4
        session.read(np.array([2, 6, 5]))
        session.position = 4
        np.testing.assert_array_equal(session.read(np.array([5, 9])), first)

    def test_a_filled_past_stands_for_one_that_was_read(self, tmp_path):
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
    """Where the session stands after windows of so many samples."""

    @pytest.fixture
    def bench(self, tmp_path) -> Bench:
        return Bench(model=str(write(tmp_path / "model")), capacity=52, cores=None, threads=1)

    def test_decoding_goes_on_where_the_last_window_stopped_until_the_end(self, bench):
        positions = [windowed(bench, "decode", 12, depth=40, samples=5) for _ in range(4)]
        assert positions == [45, 50, 43, 48]

    def test_a_prompt_is_always_read_behind_the_depth(self, bench):
        positions = [windowed(bench, "prefill", 30, depth=10, samples=2) for _ in range(2)]
        assert positions == [40, 40]

    def test_each_workload_has_a_place_of_its_own(self, bench):
        positions = [
            windowed(bench, *workload, samples=3)
            for workload in [("decode", 12, 40), ("prefill", 8, 0), ("decode", 9, 0)] * 2
        ]
        assert positions == [43, 8, 3, 46, 8, 6]

    @pytest.mark.parametrize("name", CORNERS)
    def test_no_state_grows_however_long_is_timed(self, name, tmp_path):
        model = write(tmp_path / "model", architecture=CORNERS[name], quantization="fp32")
        bench = Bench(model=str(model), capacity=64, cores=None, threads=1)
        windowed(bench, "decode", 12, depth=40, samples=2000)
        logits = bench.session.read(np.array([1]))
        assert np.isfinite(logits).all()
        assert logits.std() > 0

    def test_memory_is_told_apart(self, tmp_path):
        # 77 MB of weights, 68 MB of keys and values.
        architecture = stack(ATTENTION, vocab_size=300_000, width=64, embedding_width=64)
        folder = tmp_path / "large"
        folder.mkdir()
        length = 1 << 18
        model = write_onnx(architecture, folder, quantization="fp32", context_length=length)
        # A process of its own: this one may have memory to spare from the tests before.
        with LocalRunner().load(model, length) as loaded:
            loading = loaded.loading
            window = loaded.time(Workload(phase="decode", tokens=12, depth=40), 1)
        weights = loading.model_bytes
        assert weights == model.stat().st_size + description_of(model)["data_bytes"] > 77e6
        assert loading.loaded_memory_bytes - loading.empty_memory_bytes > 77e6
        assert window.peak_memory_bytes - loading.loaded_memory_bytes > 66e6


def answered(bench, phase, tokens, depth, samples):
    workload = {"phase": phase, "tokens": tokens, "depth": depth}
    return bench.answer({"time": workload, "samples": samples})


def windowed(bench, phase, tokens, depth, samples) -> int:
    assert len(answered(bench, phase, tokens, depth, samples)["samples_ns"]) == samples
    return bench.session.position


class TestDialogue:
    """As a person may hold it, or a runner that reaches a device by a pipe."""

    def said(self, *lines) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "hardware.bench"],
            input="".join(f"{json.dumps(line)}\n" for line in lines),
            capture_output=True,
            text=True,
            check=False,
        )

    def test_each_line_has_an_answer_and_the_end_of_input_ends_it(self, tmp_path):
        load = {
            "model": str(write(tmp_path / "model")),
            "capacity": 52,
            "cores": None,
            "threads": 1,
        }
        window = {"time": {"phase": "decode", "tokens": 4, "depth": 2}, "samples": 7}
        done = self.said(load, window, {"snapshot": True}, window)
        assert done.returncode == 0
        assert done.stderr == ""
        loading, first, snapshot, second = map(json.loads, done.stdout.splitlines())
        assert loading["runtime"] == "onnxruntime"
        assert len(first["samples_ns"]) == len(second["samples_ns"]) == 7
        assert snapshot["environment"]["runtime_version"].startswith("onnxruntime 1.")

    def test_what_a_library_prints_is_no_answer(self, tmp_path):
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
            input=f"{json.dumps(load | {'threads': 1})}\n{json.dumps({'look': True})}\n",
            capture_output=True,
            text=True,
            check=True,
        )
        assert len([json.loads(line) for line in done.stdout.splitlines()]) == 2
        assert done.stderr == "printed by a library"

    def test_nothing_asked_is_nothing_said(self):
        done = self.said()
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
