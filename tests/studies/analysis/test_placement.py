"""Tests of the placement of mixers with layouts that are small enough to count."""

import numpy as np
import pytest

from search_space.architecture import to_json
from search_space.preset_models import preset
from studies.analysis.placement import attention_counts, placement, residuals_at_speed
from studies.analysis.shapes import Shape, read_shape


def _shape(layout: str) -> Shape:
    return read_shape(to_json(preset("lfm2-350m")), layout)


def test_the_best_fifth_and_the_rest_are_compared() -> None:
    shapes = [_shape("ca")] * 2 + [_shape("ac")] * 4 + [_shape("cc")] * 4
    found = placement(shapes, [-1.0] * 2 + [1.0] * 8)
    assert (found.letters, found.best_count, found.rest_count) == ("ca", 2, 8)
    assert found.best[1] == pytest.approx((0,) * 5 + (1,) * 5)
    assert found.rest[1] == pytest.approx((0.5,) * 5 + (0,) * 5)


@pytest.mark.parametrize("depth", [1, 3, 7, 16, 33])
def test_every_tenth_of_the_depth_is_filled(depth: int) -> None:
    shapes = [_shape(("casl-" * depth)[:depth])] * 5
    found = placement(shapes, [0.0] * 5)
    for shares in (found.best, found.rest):
        assert np.sum(shares, axis=0) == pytest.approx(np.ones(10))


def test_residuals_exclude_the_effect_of_speed() -> None:
    speeds = [1.0, 2.0, 4.0, 8.0, 16.0]
    typical = [3 - 0.1 * np.log(speed) for speed in speeds]
    assert residuals_at_speed(typical, speeds) == pytest.approx([0.0] * 5, abs=1e-9)
    assert residuals_at_speed([1.0, 3.0], [5.0, 5.0]) == pytest.approx([-1.0, 1.0])


def test_layouts_are_counted_with_their_intervals() -> None:
    shapes = [_shape("cc")] * 3 + [_shape("as")]
    none, two = attention_counts(shapes, [0.0, 1.0, 2.0, -5.0])
    assert (none.layers, none.count, none.difference) == (0, 3, 1.0)
    # The 97.5 % quantile of Student's t with two degrees of freedom is 4.303.
    assert none.high == pytest.approx(1 + 4.3027 / 3**0.5, rel=1e-4)
    assert (two.layers, two.difference, two.low, two.high) == (2, -5.0, None, None)
