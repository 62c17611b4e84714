import itertools

import pytest

from search_space.architecture import Attention
from search_space.costs import parameter_counts, weight_bytes
from search_space.preset_models import preset
from search_space.probes import (
    Kinds,
    layers_beyond_cache,
    make_probes,
    part_of,
    part_parameters,
    whole_models,
)

KINDS = Kinds(kernels=(3, 7), windows=(256, 512))


def test_each_probe_differs_from_the_first_only_in_the_part_it_is_named_after() -> None:
    first, *others = make_probes(1024, 12, KINDS)
    assert first.part == "convolution 3"
    assert [probe.part for probe in others] == [
        *("convolution 7", "attention", "window 256", "window 512", "linear attention"),
        *("no mixer", "feed-forward", "vocabulary"),
    ]
    base = first.architecture
    for probe in others:
        other = probe.architecture
        differs = {
            "mixer": [layer.mixer for layer in other.layers] != [x.mixer for x in base.layers],
            "feed-forward": other.layers[0].feed_forward_width != base.layers[0].feed_forward_width,
            "vocabulary": other.vocab_size != base.vocab_size,
        }
        assert list(differs.values()).count(True) == 1
        assert differs[probe.part if probe.letter is None else "mixer"]
        assert len(set(other.layers)) == 1
        assert (other.width, len(other.layers)) == (1024, 12)


def test_probes_include_the_mixers_of_the_published_model_of_that_width() -> None:
    published = {layer.mixer for layer in preset("lfm2-350m").layers}
    assert published <= {
        probe.architecture.layers[0].mixer for probe in make_probes(1024, 1, KINDS)
    }


def test_only_attention_has_a_kv_cache() -> None:
    names = [probe.part for probe in make_probes(512, 4, KINDS) if probe.has_kv_cache]
    assert names == ["attention", "window 256", "window 512"]


@pytest.mark.parametrize("quantization", ["fp32", "int8", "int4"])
@pytest.mark.parametrize("width", [256, 512, 1024, 2048])
def test_the_lightest_probe_does_not_fit_in_the_cache(width: int, quantization) -> None:
    cache = 32 << 20
    layers = layers_beyond_cache(width, quantization, cache)
    lightest = min(
        weight_bytes(probe.architecture, quantization)
        for probe in make_probes(width, layers, KINDS)
    )
    assert lightest > 2 * cache or layers == 64
    assert 8 <= layers <= 64


def test_the_number_of_layers_is_limited_for_any_cache() -> None:
    assert layers_beyond_cache(1024, "int4", 1 << 34) == 64


def test_whole_models_consist_of_the_probes_mixers_and_never_change() -> None:
    models = whole_models(1024, 3, KINDS)
    assert models == whole_models(1024, 3, KINDS)
    assert len(set(models)) == 3
    mixers = {probe.architecture.layers[0].mixer for probe in make_probes(1024, 1, KINDS)}
    for model in models:
        assert {layer.mixer for layer in model.layers} <= mixers
        assert 150e6 < parameter_counts(model).total < 400e6


def test_parameters_are_those_of_the_unit_whose_cost_is_reported() -> None:
    counts = {probe.part: part_parameters(probe) for probe in make_probes(1024, 4, KINDS)}
    assert counts["convolution 3"] == 4 * 1024**2 + 3 * 1024
    assert counts["attention"] == 3 * 1024**2
    assert counts["feed-forward"] == 3 * 1024**2
    assert counts["vocabulary"] == 65_536 * 1024
    assert counts["no mixer"] == 0


def test_different_mixers_have_different_names() -> None:
    attention = Attention(heads=2, kv_heads=1, head_dim=16)
    windows = [Attention(heads=2, kv_heads=1, head_dim=16, window=size) for size in (4, 8)]
    names = [part_of(mixer) for mixer in (attention, *windows, None)]
    assert all(one != other for one, other in itertools.combinations(names, 2))


@pytest.mark.parametrize("width", [0, 100, 32_768])
def test_a_width_that_heads_do_not_divide_is_an_error(width: int) -> None:
    with pytest.raises(ValueError, match=f"^width: {width} is not a multiple of 64"):
        make_probes(width, 4, KINDS)
