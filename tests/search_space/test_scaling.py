"""Scaled architectures: their size, their pattern, and the properties that are kept."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_space.architecture import Architecture, Attention, Layer, LinearAttention, ShortConv
from search_space.costs import parameter_counts
from search_space.preset_models import PRESETS, preset
from search_space.scaling import TOLERANCE, parse_parameters, scale_architecture
from tests.search_space.strategies import CORNERS, architectures, stack

_ATTENTION = Attention(heads=8, kv_heads=2, head_dim=64)


def total(architecture: Architecture) -> int:
    return parameter_counts(architecture).total


@pytest.mark.parametrize("target", [400_000_000, 700_000_000, 2_600_000_000, 7_000_000_000])
@pytest.mark.parametrize("name", PRESETS)
def test_presets_reach_larger_targets_within_two_percent(name: str, target: int) -> None:
    assert total(scale_architecture(preset(name), target)) == pytest.approx(target, rel=TOLERANCE)


@given(architecture=architectures(), factor=st.floats(0.3, 30.0))
def test_properties_that_do_not_depend_on_size_are_kept(
    architecture: Architecture, factor: float
) -> None:
    found = scale_architecture(architecture, max(1_000, round(total(architecture) * factor)))
    assert found.vocab_size == architecture.vocab_size
    assert found.factorised <= architecture.factorised
    kinds = {_kept(layer) for layer in architecture.layers}
    assert {_kept(layer) for layer in found.layers} == kinds
    for option in ("tied_head", "sandwich_norm", "activation", "norm_eps"):
        assert getattr(found, option) == getattr(architecture, option)


@pytest.mark.parametrize("name", [*PRESETS, *CORNERS])
def test_scaling_to_the_same_size_changes_nothing(name: str) -> None:
    architecture = (PRESETS | CORNERS)[name]
    assert scale_architecture(architecture, total(architecture)) == architecture


@pytest.mark.parametrize("name", PRESETS)
def test_a_larger_target_gives_a_larger_and_no_shallower_model(name: str) -> None:
    # The targets differ by more than two models may deviate from them.
    sizes = [scale_architecture(preset(name), round(300e6 * 1.3**step)) for step in range(12)]
    assert [total(size) for size in sizes] == sorted(total(size) for size in sizes)
    depths = [len(size.layers) for size in sizes]
    assert depths == sorted(depths)


@pytest.mark.parametrize(
    ("layout", "factor", "expected"),
    [
        ("ccaccaccacacacac", 2, "ccaccaccaccacacacac"),  # one more `cca`; the end is kept
        ("ccacacacac", 16, "ccacacacacacacacacac"),
        ("ccacacacac", 1 / 16, "ccacac"),
        ("aaaa", 16, "aaaaaaaa"),
        ("aaaa", 1 / 256, "a"),
        ("cal-s", 16, "cal-s"),  # nothing repeats
        ("caa-sl", 16, "caa-sl"),  # the part that repeats is less than half
    ],
)
def test_layers_are_added_and_removed_in_units_that_repeat(layout, factor, expected) -> None:
    mixers = {
        "c": ShortConv(kernel=3),
        "a": _ATTENTION,
        "s": replace(_ATTENTION, window=64),
        "l": LinearAttention(heads=8, key_dim=32, value_dim=64),
        "-": None,
    }
    model = stack(
        *(mixers[letter] for letter in layout), vocab_size=1, width=512, embedding_width=512
    )
    assert scale_architecture(model, round(total(model) * factor)).layout == expected


def test_layers_with_different_feed_forwards_are_different() -> None:
    wide, narrow = (Layer(mixer=_ATTENTION, feed_forward_width=width) for width in (2048, 1024))
    model = replace(stack(None, width=512, embedding_width=512), layers=(wide, narrow) * 3)
    found = scale_architecture(model, 16 * total(model))
    assert len(found.layers) == 12
    assert found.layers == found.layers[:2] * 6
    ratio = found.layers[0].feed_forward_width / found.layers[1].feed_forward_width
    assert ratio == pytest.approx(2, rel=0.02)


def test_a_scaled_model_is_similar_to_the_published_model_of_that_size() -> None:
    """Scale LFM2-350M to the size of LFM2-1.2B, which is 2,048 wide and 16 layers deep."""
    found = scale_architecture(preset("lfm2-350m"), total(preset("lfm2-1.2b")))
    assert found.width % 64 == 0
    assert 1_536 <= found.width <= 2_048
    assert 16 <= len(found.layers) <= 22


@pytest.mark.parametrize(
    ("text", "count"),
    [("700M", 700e6), ("0.7B", 700e6), ("350000000", 350e6), ("1,200,000", 1.2e6), ("90k", 90e3)],
)
def test_sizes_are_parsed_in_common_notations(text: str, count: float) -> None:
    assert parse_parameters(text) == count


@pytest.mark.parametrize("text", ["", "7x", "-1M", "0.0", "nan", "1e9", "M", "99999B", "1.5.5M"])
def test_an_invalid_size_raises_one_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=f"scale: '{text}' is not a number of parameters"):
        parse_parameters(text)


def _kept(layer: Layer) -> object:
    """Return a mixer without its number of heads."""
    match layer.mixer:
        case Attention() as mixer:
            return replace(mixer, heads=mixer.kv_heads)
        case LinearAttention() as mixer:
            return replace(mixer, heads=1)
        case mixer:
            return mixer
