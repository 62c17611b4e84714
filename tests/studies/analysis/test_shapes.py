"""Tests of shapes that are read from JSON against the architectures that were written."""

from dataclasses import fields, replace

import pytest
from hypothesis import given

from search_space.architecture import MIXER_CHOICES, Architecture, Attention, to_json
from search_space.costs import parameter_counts
from search_space.preset_models import PRESETS
from studies.analysis.shapes import Shape, read_shape
from tests.search_space.strategies import architectures


def _check(architecture: Architecture) -> None:
    shape = read_shape(to_json(architecture), architecture.layout)
    assert shape.embedding_parameters == parameter_counts(architecture).embedding
    assert (shape.width, shape.vocab_size) == (architecture.width, architecture.vocab_size)
    assert shape.embedding_width == architecture.embedding_width
    attention = [each.mixer for each in architecture.layers if isinstance(each.mixer, Attention)]
    assert shape.attention_layers == len(attention)
    heads = [mixer.kv_heads for mixer in attention]
    assert shape.kv_heads == (heads[0] if heads else None)
    windows = [mixer.window for mixer in attention if mixer.window is not None]
    assert shape.window == (windows[0] if windows else None)


@given(architectures())
def test_a_shape_matches_its_architecture(architecture: Architecture) -> None:
    _check(architecture)


@pytest.mark.parametrize("name", PRESETS)
def test_the_shape_of_a_preset_matches_it(name: str) -> None:
    _check(PRESETS[name])
    _check(replace(PRESETS[name], tied_head=False, embedding_width=PRESETS[name].width // 2))


def test_a_shape_has_every_choice_of_a_mixer() -> None:
    assert {field.name for field in fields(Shape)} >= set(MIXER_CHOICES)
