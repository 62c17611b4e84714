"""Every architecture has the matched size, or no feed-forward could give it that size."""

import re
from dataclasses import replace

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_space.architecture import Architecture
from search_space.costs import parameter_counts, weight_bytes
from search_space.preset_models import PRESETS
from search_space.space.encoding import FixedSuggester, RandomSuggester, draw, encode, neighbours
from search_space.space.matching import Matched, check_matched, counted_parameters, match_size
from search_space.space.rules import Rules
from search_space.space.space_definition import (
    Space,
    broken_rule,
    check_sizes,
    parameter_range,
    weight_range,
    with_matched_size,
)
from search_space.space.space_size import space_size
from tests.search_space.spaces import all_architectures, spaces
from tests.search_space.strategies import ATTENTION, CONV, CORNERS, stack

LARGE = Space(
    depth=(6, 10, 16),
    width=(512, 1024, 1536),
    mixers=("c", "a", "s", "l", "-"),
    feed_forward=(1.0, 6.0),
    vocab_size=(32_768, 65_536),
    kernel=(3, 7),
    kv_heads=(1, 8),
    embedding_share=(0.5, 1.0),
    matched=Matched(parameters=350_000_000),
    rules=Rules(attention_layers=(0, 6)),
)
SMALL = replace(
    LARGE,
    depth=(6, 8, 10),
    width=(256, 320, 384, 448),
    vocab_size=(8_192, 16_384),
    matched=Matched(parameters=15_000_000, count="non_embedding"),
)
each_space = pytest.mark.parametrize("space", [LARGE, SMALL], ids=["350M", "15M"])


def draws(space: Space, count: int) -> list[Architecture]:
    suggester = RandomSuggester(np.random.default_rng(0))
    return [draw(space, suggester) for _ in range(count)]


def size(architecture: Architecture, count: str) -> int:
    counts = parameter_counts(architecture)
    return counts.total if count == "total" else counts.total - counts.embedding


def reachable(architecture: Architecture, space: Space) -> set[int]:
    """Return the sizes that whole blocks can give, by trying every number of blocks."""
    depth, width = len(architecture.layers), architecture.width
    least, most = (max(1, round(width * each / 32)) for each in space.feed_forward)
    thin = replace(
        architecture,
        layers=tuple(replace(layer, feed_forward_width=32) for layer in architecture.layers),
    )
    rest = size(thin, space.matched.count)
    return {rest + (n - depth) * 32 * 3 * width for n in range(depth * least, depth * most + 1)}


@st.composite
def matched_spaces(draw: st.DrawFn) -> Space:
    """Draw spaces with a matched size that lies within the range of their choices."""
    space = replace(draw(spaces()), feed_forward=draw(st.sampled_from([(1.0, 2.5), (0.5, 6.0)])))
    count = draw(st.sampled_from(["total", "non_embedding"]))
    least, most = (
        size(min(all_architectures(space), key=lambda each: size(each, count)), count),
        size(max(all_architectures(space), key=lambda each: size(each, count)), count),
    )
    return replace(space, matched=Matched(parameters=draw(st.integers(least, most)), count=count))


@settings(max_examples=60)
@given(matched_spaces())
def test_each_architecture_has_the_size_or_cannot_have_it(space: Space) -> None:
    asked, listed = (
        space.matched,
        {with_matched_size(each, space) for each in all_architectures(space)},
    )
    assert space_size(space) == len(listed)
    parameters, weights = parameter_range(space), weight_range(space, "int4")
    for architecture in listed:
        found = size(architecture, asked.count)
        possible = reachable(architecture, space)
        off = abs(found - asked.parameters)
        assert off == min(abs(each - asked.parameters) for each in possible) or off <= (
            asked.parameters * 0.01
        )
        sentence = broken_rule(architecture, space, "int4")
        assert (sentence is None) == (off <= 0.01 * asked.parameters)
        if sentence is None:
            assert parameters.least <= parameter_counts(architecture).total <= parameters.most
            assert weights.least <= weight_bytes(architecture, "int4") <= weights.most
        else:
            assert sentence.startswith(f"matched: {found:,} parameters")
        widths = [layer.feed_forward_width for layer in architecture.layers]
        least, most = (max(1, round(architecture.width * each / 32)) for each in space.feed_forward)
        assert all(width % 32 == 0 and 32 * least <= width <= 32 * most for width in widths)
        assert widths == sorted(widths, reverse=True)
        assert widths[0] - widths[-1] in (0, 32)


@each_space
def test_draws_have_the_size_unless_the_bounds_prevent_it(space: Space) -> None:
    asked = space.matched
    kept = 0
    for architecture in draws(space, 300):
        off = abs(size(architecture, asked.count) - asked.parameters)
        within = off <= 0.01 * asked.parameters
        assert within == (broken_rule(architecture, space, "int4") is None)
        widths = {layer.feed_forward_width for layer in architecture.layers}
        at_a_bound = widths <= {architecture.width, 6 * architecture.width}
        assert within or at_a_bound
        kept += within
    assert kept > 60


@each_space
def test_matched_architectures_can_be_encoded_and_have_neighbours(space: Space) -> None:
    for architecture in draws(space, 100):
        parameters = encode(space, architecture)
        assert parameters is not None
        assert "feed_forward" not in parameters
        assert draw(space, FixedSuggester(parameters)) == architecture
    found = list(neighbours(space, architecture))
    assert len(found) > len(architecture.layers)
    assert all(encode(space, neighbour) is not None for neighbour in found)


def test_a_sampler_always_sees_the_same_parameters() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    asked = []
    for _ in range(20):
        trial = study.ask()
        draw(SMALL, trial)
        asked.append(trial.distributions)
    assert all(each == asked[0] for each in asked)
    assert "feed_forward" not in asked[0]


def test_another_feed_forward_is_outside_the_space() -> None:
    (architecture,) = draws(LARGE, 1)
    wider = tuple(
        replace(layer, feed_forward_width=layer.feed_forward_width + 32)
        for layer in architecture.layers
    )
    assert encode(LARGE, replace(architecture, layers=wider)) is None


def test_a_published_model_is_its_own_match() -> None:
    model = PRESETS["lfm2-350m"]
    matched = Matched(parameters=parameter_counts(model).total)
    space = Space(
        depth=(16,),
        width=(1024,),
        mixers=("c", "a"),
        feed_forward=(2.0, 6.0),
        vocab_size=(65_536,),
        matched=matched,
    )
    parameters = encode(space, model)
    assert parameters is not None
    # Convolutions have more parameters than attention, so their feed-forward is narrower.
    narrow = draw(space, FixedSuggester(parameters | dict.fromkeys(parameters, "c")))
    wide = draw(space, FixedSuggester(parameters | dict.fromkeys(parameters, "a")))
    widths = [each.layers[0].feed_forward_width for each in (narrow, model, wide)]
    assert widths == sorted(set(widths))


@pytest.mark.parametrize("architecture", CORNERS.values(), ids=CORNERS)
@pytest.mark.parametrize("count", ["total", "non_embedding"])
def test_corner_cases_reach_the_size(architecture: Architecture, count: str) -> None:
    matched = Matched(parameters=5_000_000, count=count)
    found = match_size(architecture, matched, 32, 262_144)
    assert abs(size(found, count) - 5_000_000) <= 50_000
    assert counted_parameters(found, matched) == size(found, count)
    assert check_matched(found, matched).excess <= 0
    assert found.layout == architecture.layout


def test_a_missed_size_is_reported_with_the_feed_forward() -> None:
    small = stack(CONV, ATTENTION)
    for parameters, least, most, multiple in ((10_000, 64, 96, 2), (10**6, 64, 96, 3)):
        matched = Matched(parameters=parameters)
        found = match_size(small, matched, least, most)
        total = parameter_counts(found).total
        assert str(check_matched(found, matched)) == (
            f"matched: {total:,} parameters (with feed_forward = {multiple}) is not between "
            f"{round(parameters * 0.99):,} and {round(parameters * 1.01):,}"
        )
        assert check_matched(found, matched).excess == pytest.approx(
            (abs(total - parameters) - parameters * 0.01) / total
        )


def test_the_matched_size_is_checked_before_other_rules_about_sizes() -> None:
    space = replace(SMALL, rules=Rules(parameters=(10**7, 10**8)))
    (architecture,) = draws(space, 1)
    checks = check_sizes(architecture, space, "int4")
    assert [check.rule for check in checks] == ["matched", "parameters"]
    assert check_sizes(architecture, replace(space, matched=None), "int4") == checks[1:]


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        (
            {"feed_forward": (2.0,)},
            "feed_forward: [2.0] is not a list of two values, which matched requires: the smallest "
            "and the largest multiple of the width",
        ),
        (
            {"matched": Matched(parameters=10**9)},
            "matched.parameters: 1,000,000,000 is out of reach; the choices allow ",
        ),
        (
            {"rules": Rules(parameters=(400_000_000, 500_000_000))},
            "rules.parameters: 400,000,000 to 500,000,000 is out of reach; the choices "
            "allow 346,500,000 to 353,500,000",
        ),
    ],
)
def test_sizes_out_of_reach_are_errors(choices: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        replace(LARGE, **choices)


def test_a_size_of_zero_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^parameters: 0 is not at least 1$"):
        Matched(parameters=0)
