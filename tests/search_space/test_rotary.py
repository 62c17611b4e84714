import numpy as np
import pytest

from search_space.architecture import Attention
from search_space.rotary import rotary_table


def attention(**options) -> Attention:
    return Attention(heads=1, kv_heads=1, head_dim=16, **options)


def turns(table) -> np.ndarray:
    """Each pair's rotation at each position as a complex number."""
    return table.cos_TR.astype(np.float64) + 1j * table.sin_TR.astype(np.float64)


def test_two_turned_vectors_meet_at_an_angle_of_their_distance_alone():
    turn_TR = turns(rotary_table(attention(rope_base=1e4), 64))
    for distance in (0, 1, 7, 30):
        between = turn_TR[distance:] * turn_TR[: 64 - distance].conj()
        np.testing.assert_allclose(
            between, np.broadcast_to(turn_TR[distance], between.shape), atol=1e-6
        )


def test_angles_are_those_of_the_paper():
    turn_TR = turns(rotary_table(attention(rope_base=500.0), 10))
    for pair in range(8):
        expected = np.exp(1j * np.arange(10) * 500.0 ** (-2 * pair / 16))
        np.testing.assert_allclose(turn_TR[:, pair], expected, atol=1e-6)


@pytest.mark.parametrize(("share", "turning"), [(0.0, 0), (0.25, 2), (0.5, 4), (1.0, 8)])
def test_pairs_beyond_the_share_do_not_turn(share, turning):
    part, whole = (rotary_table(attention(rope_share=value), 50) for value in (share, 1.0))
    np.testing.assert_array_equal(part.cos_TR[:, :turning], whole.cos_TR[:, :turning])
    np.testing.assert_array_equal(part.sin_TR[:, :turning], whole.sin_TR[:, :turning])
    assert (part.cos_TR[:, turning:] == 1).all()
    assert (part.sin_TR[:, turning:] == 0).all()


def test_a_far_position_is_as_exact_as_a_near_one():
    # Angles in float32 would be off by some thousandths there.
    table = rotary_table(attention(rope_base=1e4), 100_001)
    assert table.cos_TR[100_000, 0] == np.float32(np.cos(100_000.0))
