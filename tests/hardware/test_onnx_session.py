import numpy as np
import pytest

from hardware.onnx_session import Session
from tests.hardware.onnx_models import drawn
from tests.search_space.strategies import ATTENTION, CORNERS, stack


class TestSession:
    @pytest.mark.parametrize("name", CORNERS)
    def test_reading_a_prompt_in_pieces_gives_the_same_logits(self, name, tmp_path):
        model = drawn(tmp_path / "model", architecture=CORNERS[name], quantization="fp32")
        tokens = np.arange(10) % CORNERS[name].vocab_size
        whole, pieces = Session(model), Session(model)
        expected = whole.read(tokens)
        for piece in (tokens[:4], tokens[4:5], tokens[5:6], tokens[6:]):
            logits = pieces.read(piece)
        assert whole.position == pieces.position == 10
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * max(1, expected.std()))

    def test_returned_logits_are_not_overwritten(self, tmp_path):
        session = Session(drawn(tmp_path / "model"))
        first = session.read(np.array([1]))
        kept = first.copy()
        session.read(np.array([2]))
        np.testing.assert_array_equal(first, kept)

    def test_it_rewinds_to_an_earlier_position(self, tmp_path):
        # Only with full attention: the states of other mixers also depend on later tokens.
        session = Session(drawn(tmp_path / "model", architecture=stack(ATTENTION, ATTENTION)))
        session.read(np.array([3, 1, 4, 1]))
        first = session.read(np.array([5, 9]))
        session.position = 4
        session.read(np.array([2, 6, 5]))
        session.position = 4
        np.testing.assert_array_equal(session.read(np.array([5, 9])), first)

    def test_a_filled_past_replaces_one_that_was_read(self, tmp_path):
        session = Session(drawn(tmp_path / "model"))
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
        Session(model, capacity=10).read(np.zeros(10, dtype=np.int64))
        with pytest.raises(ValueError, match=r"^capacity: 65 is above 64, the model's context"):
            Session(model, capacity=65)
