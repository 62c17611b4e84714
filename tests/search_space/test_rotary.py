import numpy as np
import pytest

from search_space.architecture import Attention
from search_space.rotary import rotary_table


def attention(**options) -> Attention:
    return Attention(heads=1, kv_heads=1, head_dim=16, **options)


def turns(table) -> np.ndarray:
    """Return each pair's rotation at each position as a complex number."""
    return table.cos_TR.astype(np.float64) + 1j * table.sin_TR.astype(np.float64)


def test_the_angle_between_two_rotated_vectors_depends_only_on_their_distance():
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
def test_pairs_beyond_the_share_do_not_rotate(share, turning):
    part, whole = (rotary_table(attention(rope_share=value), 50) for value in (share, 1.0))
    np.testing.assert_array_equal(part.cos_TR[:, :turning], whole.cos_TR[:, :turning])
    np.testing.assert_array_equal(part.sin_TR[:, :turning], whole.sin_TR[:, :turning])
    assert (part.cos_TR[:, turning:] == 1).all()
    assert (part.sin_TR[:, turning:] == 0).all()


def test_distant_positions_are_as_exact_as_near_ones():
    # Angles in float32 would be off by a few thousandths at this position.
    table = rotary_table(attention(rope_base=1e4), 100_001)
    assert table.cos_TR[100_000, 0] == np.float32(np.cos(100_000.0))
