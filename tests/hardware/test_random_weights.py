from itertools import pairwise

import numpy as np
import pytest

from hardware.onnx_session import Session
from tests.hardware.onnx_models import description_of, drawn
from tests.search_space.strategies import stack


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
            Session(model).read(np.array(tokens)) for tokens in ([1, 2, 3, 4], [1, 2, 7, 4])
        )
        assert one.shape == (64,)
        assert np.isfinite(one).all()
        assert one.std() > 0
        assert np.abs(one - other).max() > 0
