"""Every architecture has the matched size, or no feed-forward could give it that size."""

import math
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
from search_space.space.matching import (
    Matched,
    MatchedLatency,
    check_matched,
    counted_parameters,
    feed_forward_blocks,
    match_cost,
    match_size,
    with_feed_forward_blocks,
)
from search_space.space.rules import RuleCheck, Rules
from search_space.space.space_definition import (
    Space,
    broken_rule,
    check_sizes,
    parameter_range,
    weight_range,
    with_matched_feed_forward,
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


def checked(architecture: Architecture, matched: Matched) -> RuleCheck:
    (check,) = check_matched(architecture, matched, None)
    return check


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
        {with_matched_feed_forward(each, space) for each in all_architectures(space)},
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
    assert checked(found, matched).excess <= 0
    assert found.layout == architecture.layout


def test_a_missed_size_is_reported_with_the_feed_forward() -> None:
    small = stack(CONV, ATTENTION)
    for parameters, least, most, multiple in ((10_000, 64, 96, 2), (10**6, 64, 96, 3)):
        matched = Matched(parameters=parameters)
        found = match_size(small, matched, least, most)
        total = parameter_counts(found).total
        assert str(checked(found, matched)) == (
            f"matched: {total:,} parameters (with feed_forward = {multiple}) is not between "
            f"{round(parameters * 0.99):,} and {round(parameters * 1.01):,}"
        )
        assert checked(found, matched).excess == pytest.approx(
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


def nonlinear(architecture: Architecture, exponent: float, jump: float) -> float:
    """Return a cost that grows with every feed-forward, curved and with a step."""
    widths = [layer.feed_forward_width / 32 for layer in architecture.layers]
    curved = sum((number + 2) * width**exponent for number, width in enumerate(widths))
    return 5.0 + curved + (jump if sum(widths) > 20 else 0.0)


@given(
    depth=st.integers(1, 5),
    least=st.integers(1, 6),
    blocks=st.integers(0, 20),
    exponent=st.sampled_from([0.3, 1.0, 2.0, 5.0]),
    jump=st.sampled_from([0.0, 300.0]),
    share=st.floats(-0.2, 1.2),
)
def test_the_nearest_cost_is_found_whatever_its_curve(
    depth: int, least: int, blocks: int, exponent: float, jump: float, share: float
) -> None:
    model, most = stack(*[CONV] * depth), least + blocks
    asked: list[Architecture] = []

    def cost(architecture: Architecture) -> float:
        asked.append(architecture)
        return nonlinear(architecture, exponent, jump)

    def with_widths(total: int) -> Architecture:
        each, wider = divmod(total, depth)
        layers = (
            replace(layer, feed_forward_width=32 * (each + (number < wider)))
            for number, layer in enumerate(model.layers)
        )
        return replace(model, layers=tuple(layers))

    possible = [with_widths(total) for total in range(depth * least, depth * most + 1)]
    costs = [nonlinear(each, exponent, jump) for each in possible]
    target = max(0.1, costs[0] + share * (costs[-1] - costs[0]))
    found = match_cost(model, target, cost, least=32 * least, most=32 * most)
    off = abs(nonlinear(found, exponent, jump) - target)
    nearest_even = min(abs(each - target) for each in costs[::depth])
    if nearest_even <= 0.01 * target:
        assert off == nearest_even
        assert len({layer.feed_forward_width for layer in found.layers}) == 1
    else:
        assert off == min(abs(each - target) for each in costs)
    assert len(asked) <= 6 + 6 * math.log2(len(possible) + 1)


LATENCY = replace(LARGE, matched=MatchedLatency(latency=3.0))


def milliseconds(architecture: Architecture) -> float:
    return parameter_counts(architecture).total / 1e8 + architecture.layout.count("a") / 10


def test_draws_have_the_predicted_latency_or_are_reported() -> None:
    suggester = RandomSuggester(np.random.default_rng(0))
    drawn = [draw(LATENCY, suggester, milliseconds) for _ in range(60)]
    within = [abs(milliseconds(each) - 3.0) <= 0.03 for each in drawn]
    assert 10 < sum(within) < 60
    for architecture, is_within in zip(drawn, within, strict=True):
        widths = [layer.feed_forward_width for layer in architecture.layers]
        least, most = architecture.width, 6 * architecture.width
        assert all(least <= each <= most for each in widths)
        (check,) = check_sizes(architecture, LATENCY, "int4", milliseconds)
        assert (check.excess <= 0) == is_within
        if not is_within:
            slow = milliseconds(architecture) > 3.0
            assert set(widths) == {least if slow else most}
            assert str(check) == (
                f"matched: a predicted decode of {milliseconds(architecture):.6g} "
                f"(with feed_forward = {1 if slow else 6}) is not between 2.97 and 3.03"
            )


def test_draws_without_a_prediction_have_even_widths_between_the_bounds() -> None:
    drawn = draws(LATENCY, 300)
    shares = []
    for architecture in drawn:
        (width,) = {layer.feed_forward_width for layer in architecture.layers}
        shares.append((width / architecture.width - 1.0) / 5.0)
        assert check_sizes(architecture, LATENCY, "int4") == ()
    assert draws(LATENCY, 300) == drawn
    counts, _ = np.histogram(shares, bins=5, range=(0.0, 1.0))
    assert counts.sum() == 300
    assert counts.min() > 35


def test_architectures_of_one_latency_are_encoded_without_their_widths() -> None:
    suggester = RandomSuggester(np.random.default_rng(1))
    for _ in range(20):
        one = draw(LATENCY, suggester, milliseconds)
        parameters = encode(LATENCY, one)
        assert parameters is not None
        assert draw(LATENCY, FixedSuggester(parameters), milliseconds) == one
        wider = with_feed_forward_blocks(one, len(one.layers) * one.width // 32 + 1)
        assert feed_forward_blocks(wider) == len(one.layers) * one.width // 32 + 1
        assert encode(LATENCY, wider) == parameters
        assert encode(LATENCY, with_feed_forward_blocks(one, len(one.layers))) is None
        (first, *others) = one.layers
        narrow_first = replace(first, feed_forward_width=one.width)
        second = replace(first, feed_forward_width=one.width + 64)
        odd = replace(one, layers=(narrow_first, second, *others[1:]))
        assert encode(LATENCY, odd) is None
        found = list(neighbours(LATENCY, one, milliseconds))
        assert found
        nearest = [match_cost_of(each) for each in found]
        assert nearest == found


def match_cost_of(architecture: Architecture) -> Architecture:
    bounds = {"least": architecture.width, "most": 6 * architecture.width}
    return match_cost(architecture, 3.0, milliseconds, **bounds)


def test_a_latency_leaves_the_ranges_of_a_space_as_they_are() -> None:
    free = replace(LATENCY, matched=None)
    assert parameter_range(LATENCY) == parameter_range(free)
    assert weight_range(LATENCY, "int4") == weight_range(free, "int4")
    single = replace(free, feed_forward=(1.0,))
    assert space_size(LATENCY) == space_size(single)


@pytest.mark.parametrize("latency", [0.0, -1.0, math.inf, math.nan])
def test_a_latency_must_be_positive(latency: float) -> None:
    with pytest.raises(ValueError, match=rf"^latency: {latency} is not above 0$"):
        MatchedLatency(latency=latency)
