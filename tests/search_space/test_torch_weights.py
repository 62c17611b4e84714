"""Weights by name against the torch model that has them."""

import numpy as np
import pytest

from search_space.preset_models import preset
from search_space.torch_model import LanguageModel
from search_space.torch_weights import InitialWeights, weight_shapes, weights_of
from tests.search_space.strategies import CORNERS


@pytest.mark.parametrize("name", CORNERS)
def test_initial_weights_are_those_that_the_model_draws(name: str) -> None:
    model = LanguageModel(CORNERS[name])
    model.initialise(5)
    expected, drawn = weights_of(model), InitialWeights(CORNERS[name], 5)
    assert list(drawn) == list(expected)
    for weight, values in expected.items():
        assert np.array_equal(drawn[weight], values), weight


def test_shapes_of_a_model_that_no_memory_holds() -> None:
    shapes = weight_shapes(preset("lfm3-1.7b"))
    assert shapes["embedding.weight"] == (128_000, 2_048)
    assert shapes["layers.0.mixer.kernel_DW"] == (2_048, 7)
