"""Tests of importances with objectives that depend on one choice, or on none."""

from dataclasses import replace

import numpy as np
import pytest

from search_space.architecture import to_json
from search_space.space.encoding import RandomSuggester, draw
from studies.analysis.choice_importance import FEED_FORWARD, choices, importances
from studies.analysis.shapes import Shape, read_shape
from studies.spec.study_file import read_spec


@pytest.fixture(scope="module")
def shapes() -> list[Shape]:
    suggester = RandomSuggester(np.random.default_rng(0))
    space = read_spec("edge-350m").space
    drawn = [draw(space, suggester) for _ in range(120)]
    return [read_shape(to_json(each), each.layout) for each in drawn]


def test_the_choice_that_decides_comes_first(shapes: list[Shape]) -> None:
    values = [2.0 * shape.vocab_size / 65_536 + shape.width / 1e5 for shape in shapes]
    found = importances(shapes, values, np.random.default_rng(0))
    first = found.weights[0]
    assert first.choice == "vocabulary"
    assert first.low <= first.share <= first.high
    assert first.low > 0.9
    assert found.explained > 0.9
    assert sum(weight.share for weight in found.weights) == pytest.approx(1)


def test_a_random_objective_depends_on_nothing(shapes: list[Shape]) -> None:
    values = list(np.random.default_rng(1).standard_normal(len(shapes)))
    assert importances(shapes, values, np.random.default_rng(0)).explained < 0.1


def test_one_value_or_one_shape_gives_no_importance(shapes: list[Shape]) -> None:
    for same in ([1.0] * 30, list(range(30))):
        found = importances(shapes[:1] * 30, same, np.random.default_rng(0))
        assert (found.explained, found.weights) == (0.0, ())


def test_what_no_layer_has_is_zero(shapes: list[Shape]) -> None:
    bare = replace(shapes[0], layout="--", kernel=None, kv_heads=None, head_dim=None, window=None)
    found = choices(bare)
    assert (found["layers without mixer"], found["position of attention"]) == (2, 0)
    assert (found["kernel"], found["window"]) == (0, 0)


def test_what_follows_from_the_others_is_no_choice(shapes: list[Shape]) -> None:
    values = [shape.feed_forward_width / shape.width for shape in shapes]
    found = importances(shapes, values, np.random.default_rng(0))
    assert found.weights[0].choice == FEED_FORWARD
    others = importances(shapes, values, np.random.default_rng(0), excluded=(FEED_FORWARD,))
    assert FEED_FORWARD not in {weight.choice for weight in others.weights}
