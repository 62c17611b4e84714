import json
from itertools import pairwise

import numpy as np
import pytest

from hardware.bench import Session, measure_workload, write_random_weights
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
    return Session(model, cores=[0], **options)


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
        session.fill(20, np.random.default_rng(0))
        filled = session.read(np.array([1]))
        assert session.position == 21
        assert np.isfinite(filled).all()
        assert np.abs(filled - empty).max() > 1e-3

    def test_capacity_bounds_the_context(self, tmp_path):
        model = drawn(tmp_path / "model", architecture=stack(ATTENTION))
        session_of(model, capacity=10).read(np.zeros(10, dtype=np.int64))
        with pytest.raises(ValueError, match=r"^capacity: 65 is above 64, the model's context"):
            session_of(model, capacity=65)


class TestWorkloads:
    @pytest.fixture
    def session(self, tmp_path) -> Session:
        return session_of(drawn(tmp_path / "model"))

    def test_decoding_samples_every_token_behind_the_depth(self, session):
        samples = measure_workload(session, "decode", tokens=12, depth=40, seconds=0.0)
        assert len(samples.samples_ns) == 12
        assert len(samples.warmup_ns) == 8
        assert session.position == 40 + 12

    def test_more_time_writes_the_text_up_to_five_times(self, session):
        samples = measure_workload(session, "decode", tokens=12, depth=40, seconds=30.0)
        assert len(samples.samples_ns) == 5 * 12
        assert session.position == 40 + 12

    def test_a_prompt_is_one_sample(self, session):
        samples = measure_workload(session, "prefill", tokens=50, depth=10, seconds=0.0)
        assert len(samples.samples_ns) == 3
        assert len(samples.warmup_ns) == 1
        assert session.position == 60

    def test_memory_is_at_least_what_the_weights_take(self, tmp_path):
        architecture = stack(None, vocab_size=300_000, width=64, embedding_width=64)
        model = drawn(tmp_path / "large", architecture=architecture, quantization="fp32")
        samples = measure_workload(session_of(model), "decode", tokens=2, depth=0, seconds=0.0)
        assert samples.peak_memory_bytes > description_of(model)["data_bytes"] > 70e6
