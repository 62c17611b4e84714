"""Whether an architecture lies in a space, and the reason that is given if it does not."""

from dataclasses import replace

import numpy as np
import pytest

from search_space.architecture import Architecture, Attention, Layer, ShortConv
from search_space.preset_models import PRESETS
from search_space.space.encoding import RandomSuggester, draw, encode
from search_space.space.matching import Matched
from search_space.space.membership import why_outside
from search_space.space.rules import Rules
from search_space.space.space_definition import Space, broken_rule

SPACE = Space(
    depth=(3, 4),
    width=(128, 256),
    mixers=("c", "a"),
    feed_forward=(1.0, 2.0),
    vocab_size=(1_024,),
    kernel=(3, 5),
    head_dim=(32,),
    kv_heads=(1, 2),
)


def drawn(space: Space, count: int = 60) -> list[Architecture]:
    suggester = RandomSuggester(np.random.default_rng(0))
    return [draw(space, suggester) for _ in range(count)]


def test_what_is_drawn_from_a_space_is_in_it_if_it_obeys_the_rules() -> None:
    space = replace(SPACE, rules=Rules(parameters=(400_000, 1_200_000)))
    reasons = [why_outside(each, space, "int4") for each in drawn(space)]
    assert reasons == [broken_rule(each, space, "int4") for each in drawn(space)]
    assert 10 < reasons.count(None) < 50


def test_the_reason_is_given_exactly_if_there_are_no_parameters() -> None:
    wider = replace(SPACE, depth=(2, 3, 4), width=(128, 192, 256), mixers=("c", "a", "l"))
    others = [*drawn(wider, 200), *PRESETS.values()]
    inside = [why_outside(each, SPACE, "int4") is None for each in others]
    assert inside == [encode(SPACE, each) is not None for each in others]
    assert 5 < inside.count(True) < 150


MODEL = next(each for each in drawn(SPACE) if each.layout == "cac" and each.width == 128)


def with_first(layer: Layer) -> Architecture:
    return replace(MODEL, layers=(layer, *MODEL.layers[1:]))


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        (with_first(replace(MODEL.layers[0], mixer=None)), "mixers: '-' is not one of c, a"),
        (replace(MODEL, layers=MODEL.layers[:2]), "depth: 2 is not one of 3, 4"),
        (replace(MODEL, vocab_size=2_048), "vocab_size: 2048 is not one of 1024"),
        (replace(MODEL, embedding_width=64), "embedding_width: 64 is not one of 128"),
        (
            with_first(replace(MODEL.layers[0], feed_forward_width=160)),
            "layers[0].feed_forward_width: 160 is not one of 128, 256, which follow from "
            "feed_forward",
        ),
        (
            with_first(replace(MODEL.layers[0], mixer=ShortConv(kernel=4))),
            "layers[0].mixer: no value of kernel leads to it",
        ),
        (replace(MODEL, tied_head=False), "no choices of the space lead to it"),
    ],
)
def test_the_reason_names_the_choice(architecture: Architecture, reason: str) -> None:
    assert why_outside(MODEL, SPACE, "int4") is None
    assert why_outside(architecture, SPACE, "int4") == reason


def test_a_mixer_names_all_its_choices() -> None:
    (attention,) = (layer for layer in MODEL.layers if isinstance(layer.mixer, Attention))
    assert isinstance(attention.mixer, Attention)
    other = replace(attention, mixer=replace(attention.mixer, kv_heads=4))
    changed = replace(MODEL, layers=(MODEL.layers[0], other, MODEL.layers[2]))
    reason = why_outside(changed, SPACE, "int4")
    assert reason is not None
    assert reason.startswith("layers[1].mixer: no value of head_dim and kv_heads")


def test_a_size_that_does_not_match_is_the_reason() -> None:
    space = replace(SPACE, feed_forward=(1.0, 6.0), matched=Matched(parameters=900_000))
    (one, *_) = (each for each in drawn(space) if why_outside(each, space, "int4") is None)
    other = replace(
        one,
        layers=tuple(
            replace(each, feed_forward_width=each.feed_forward_width + 256) for each in one.layers
        ),
    )
    reason = why_outside(other, space, "int4")
    assert reason is not None
    assert reason.startswith("matched: ")
