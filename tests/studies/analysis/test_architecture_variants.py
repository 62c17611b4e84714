"""Tests of variants, each compared with the architecture that it was made from."""

from dataclasses import replace

import numpy as np
import pytest

from search_space.architecture import ATTENTION_LETTERS, Architecture, Attention, ShortConv
from search_space.costs import parameter_counts, weight_bytes
from search_space.space.encoding import RandomSuggester, draw
from search_space.space.rules import Rules
from search_space.space.space_definition import Space
from studies.analysis.architecture_variants import Contrast, VariantMaker, attention_layers

SPACE = Space(
    depth=(6, 9),
    width=(128, 192),
    mixers=("c", "a", "-"),
    feed_forward=(1.0, 2.0, 6.0),
    vocab_size=(1024, 4096),
    kernel=(3, 5),
    head_dim=(32,),
    kv_heads=(1,),
    rules=Rules(attention_layers=(1, 4)),
)


def _drawn(space: Space, count: int) -> list[Architecture]:
    suggester = RandomSuggester(np.random.default_rng(0))
    return [draw(space, suggester) for _ in range(count)]


@pytest.fixture(scope="module")
def architectures() -> list[Architecture]:
    return _drawn(SPACE, 30)


def _facts(architecture: Architecture) -> dict[str, object]:
    """Return the choices of an architecture, read from it alone."""
    kernels = {each.mixer.kernel for each in architecture.layers if _is_conv(each.mixer)}
    return {
        "depth": len(architecture.layers),
        "width": architecture.width,
        "feed_forward": architecture.layers[0].feed_forward_width / architecture.width,
        "vocab_size": architecture.vocab_size,
        "kernel": min(kernels, default=None),
    }


def _is_conv(mixer: object) -> bool:
    return isinstance(mixer, ShortConv)


def test_the_variants_of_a_choice_differ_in_it_alone(architectures: list[Architecture]) -> None:
    found = dict(VariantMaker(SPACE, "int4").of_choices(architectures))
    assert set(found) == {"depth", "width", "feed_forward", "vocab_size", "kernel"}
    for choice, contrasts in found.items():
        for contrast in contrasts:
            for one, other in contrast.pairs:
                before, after = _facts(one), _facts(other)
                assert f"{before[choice]:,}" == contrast.one
                assert f"{after[choice]:,}" == contrast.other
                rest = set(before) - {choice} - ({"kernel"} if choice == "depth" else set())
                assert {name: before[name] for name in rest} == {name: after[name] for name in rest}
                assert choice == "depth" or one.layout == other.layout
    (vocabulary,) = found["vocab_size"]
    assert len(vocabulary.pairs) == 30
    for one, other in vocabulary.pairs:
        more = parameter_counts(other).total - parameter_counts(one).total
        assert more == (4096 - 1024) * one.width


def test_architectures_without_convolutions_say_nothing_about_kernels(
    architectures: list[Architecture],
) -> None:
    (kernels,) = dict(VariantMaker(SPACE, "int4").of_choices(architectures))["kernel"]
    assert len(kernels.pairs) == sum("c" in each.layout for each in architectures)


def test_variants_obey_the_rules_about_sizes(architectures: list[Architecture]) -> None:
    most = sorted(parameter_counts(each).total for each in architectures)[20]
    bounded = replace(SPACE, rules=replace(SPACE.rules, parameters=(0, most)))
    known = [each for each in architectures if parameter_counts(each).total <= most]
    free = dict(VariantMaker(SPACE, "int4").of_choices(known))
    found = dict(VariantMaker(bounded, "int4").of_choices(known))
    for contrasts in found.values():
        for contrast in contrasts:
            assert all(
                parameter_counts(each).total <= most for pair in contrast.pairs for each in pair
            )
    assert len(found["width"][0].pairs) < len(free["width"][0].pairs)


def test_attention_moves_and_all_else_keeps_its_order(architectures: list[Architecture]) -> None:
    contrasts = VariantMaker(SPACE, "int4").of_positions(architectures)
    pairs = {(each.one, each.other): each for each in contrasts}
    ends = pairs["first third", "last third"]
    # Each third has two or three layers.
    assert len(ends.pairs) == sum(
        attention_layers(each) <= len(each.layers) // 3 for each in architectures
    )
    for first, last in ends.pairs:
        third = len(first.layers) // 3
        assert not set(ATTENTION_LETTERS) & set(first.layout[third:])
        assert not set(ATTENTION_LETTERS) & set(last.layout[:-third])
        assert first.layout.replace("a", "") == last.layout.replace("a", "")
        assert attention_layers(first) == attention_layers(last)
        assert parameter_counts(first).total == parameter_counts(last).total


def test_positions_that_break_a_rule_are_left_out(architectures: list[Architecture]) -> None:
    rules = replace(SPACE.rules, longest_run_without_attention=4, first=("c", "-"))
    bounded = replace(SPACE, rules=rules)
    for contrast in VariantMaker(bounded, "int4").of_positions(_drawn(bounded, 30)):
        for architecture in (each for pair in contrast.pairs for each in pair):
            assert architecture.layout[0] != "a"
            assert max(map(len, architecture.layout.split("a"))) <= 4


def _bytes(architecture: Architecture) -> float:
    return float(weight_bytes(architecture, "int8"))


def test_one_more_attention_layer_costs_the_same(architectures: list[Architecture]) -> None:
    maker, generator = VariantMaker(SPACE, "int4"), np.random.default_rng(0)
    found = [(each, maker.with_more_attention(each, _bytes, generator)) for each in architectures]
    pairs = [(one, more) for one, more in found if more is not None]
    assert len(pairs) >= 10
    for one, more in pairs:
        assert attention_layers(more) == attention_layers(one) + 1
        assert len(more.layers) == len(one.layers)
        assert sum(a != b for a, b in zip(one.layout, more.layout, strict=True)) == 1
        assert _bytes(more) == pytest.approx(_bytes(one), rel=0.01)
    assert all(more is None for one, more in found if attention_layers(one) == 4)
    added = next(more for _, more in pairs)
    mixers = [layer.mixer for layer in added.layers if isinstance(layer.mixer, Attention)]
    assert len(set(mixers)) == 1


def test_nothing_is_added_where_feed_forwards_cannot_make_up_for_it() -> None:
    fixed = replace(SPACE, feed_forward=(2.0,), mixers=("a", "-"))
    maker, generator = VariantMaker(fixed, "int4"), np.random.default_rng(0)
    for each in _drawn(fixed, 10):
        assert maker.with_more_attention(each, _bytes, generator) is None


def test_architectures_outside_the_space_have_no_variants(
    architectures: list[Architecture],
) -> None:
    other = replace(SPACE, width=(256,))
    maker = VariantMaker(other, "int4")
    assert list(maker.of_choices(architectures)) == []
    assert all(contrast.pairs == () for contrast in maker.of_positions(architectures))
    generator = np.random.default_rng(0)
    assert maker.with_more_attention(architectures[0], _bytes, generator) is None


def test_a_contrast_has_only_architectures_with_both_values() -> None:
    contrasts: tuple[Contrast, ...] = VariantMaker(SPACE, "int4").of_positions([])
    assert len(contrasts) == 6
    assert all(each.pairs == () for each in contrasts)
