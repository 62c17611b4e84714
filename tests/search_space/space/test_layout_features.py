"""Tests of the features of layouts: what they depend on, and what they do not."""

import math
from dataclasses import replace

from search_space.architecture import Architecture, Layer, ShortConv
from search_space.space.layout_features import layout_features


def _model(*hidden: int) -> Architecture:
    layers = tuple(Layer(mixer=ShortConv(kernel=3), feed_forward_width=each) for each in hidden)
    return Architecture(vocab_size=1024, width=64, embedding_width=64, layers=layers)


def test_uneven_feed_forwards_count_with_their_mean() -> None:
    """Widths that match a cost may differ by a block; their order changes no other feature."""
    for widths in ((160, 128, 128, 128), (128, 128, 128, 160)):
        features = layout_features(_model(*widths))
        assert math.log(136 / 64) in features
    assert layout_features(_model(160, 128)) == layout_features(_model(128, 160))


def test_each_size_changes_its_feature_and_the_number_of_parameters() -> None:
    model = _model(128, 128)
    larger = layout_features(replace(model, vocab_size=2048))
    changed = [
        (one, other)
        for one, other in zip(layout_features(model), larger, strict=True)
        if one != other
    ]
    assert len(changed) == 2
    assert (math.log(1024), math.log(2048)) in changed
