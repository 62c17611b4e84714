import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from search_space.preset_models import PRESETS
from search_space.space.rules import (
    Rules,
    check_layout,
    check_size_rules,
    layout_counts,
    least_costs,
    nearest_layout,
)

LETTERS = "cas-l"

letters_offered = st.lists(st.sampled_from(LETTERS), min_size=1, unique=True).map(tuple)


def optional(strategy):
    return st.none() | strategy


layout_rules = st.builds(
    Rules,
    attention_layers=optional(
        st.tuples(st.integers(0, 5), st.integers(0, 5)).map(sorted).map(tuple)
    ),
    first=optional(letters_offered),
    last=optional(letters_offered),
    longest_run_without_attention=optional(st.integers(0, 4)),
)


def obeys(layout: str, rules: Rules) -> bool:
    """Check the rules one by one, as a reader of the study file understands them."""
    attention = [letter in "as" for letter in layout]
    fewest, most = rules.attention_layers or (0, len(layout))
    longest = rules.longest_run_without_attention
    return (
        fewest <= sum(attention) <= most
        and (rules.first is None or layout[0] in rules.first)
        and (rules.last is None or layout[-1] in rules.last)
        and (
            longest is None
            or not any(
                not any(attention[start : start + longest + 1])
                for start in range(len(layout) - longest)
            )
        )
    )


def legal_layouts(depth: int, letters, rules: Rules) -> list[str]:
    layouts = map("".join, itertools.product(letters, repeat=depth))
    return [layout for layout in layouts if obeys(layout, rules)]


def changes(one: str, other: str) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


@given(layout=st.text(LETTERS, min_size=1, max_size=7), rules=layout_rules)
def test_a_layout_fails_a_check_if_and_only_if_it_breaks_a_rule(layout, rules):
    assert all(check.excess <= 0 for check in check_layout(layout, rules)) == obeys(layout, rules)


@given(depths=st.sets(st.integers(1, 5), min_size=1), letters=letters_offered, rules=layout_rules)
def test_the_number_of_layouts_equals_that_of_a_list(depths, letters, rules):
    listed = {depth: len(legal_layouts(depth, letters, rules)) for depth in depths}
    assert layout_counts(depths, letters, rules) == {
        depth: count for depth, count in listed.items() if count
    }


@given(
    depth=st.integers(1, 5),
    costs=st.dictionaries(st.sampled_from(LETTERS), st.integers(-9, 9), min_size=1),
    rules=layout_rules,
)
def test_the_lowest_cost_equals_that_of_a_list(depth, costs, rules):
    layouts = legal_layouts(depth, costs, rules)
    prices = [sum(costs[letter] for letter in layout) for layout in layouts]
    assert least_costs([depth], costs, rules) == ({depth: min(prices)} if prices else {})


@given(data=st.data(), letters=letters_offered, rules=layout_rules)
def test_the_nearest_layout_is_legal_and_no_other_is_nearer(data, letters, rules):
    layout = data.draw(st.text(letters, min_size=1, max_size=5))
    layouts = legal_layouts(len(layout), letters, rules)
    assume(layouts)
    nearest = nearest_layout(layout, letters, rules)
    assert nearest in layouts
    assert changes(layout, nearest) == min(changes(layout, other) for other in layouts)
    assert nearest_layout(layout, letters, rules) == nearest
    if layout in layouts:
        assert nearest == layout


def test_equally_near_layouts_are_selected_equally_often():
    rules = Rules(attention_layers=(1, 1))
    repaired = {}
    for layout in map("".join, itertools.product("c-l", repeat=6)):
        position = nearest_layout(layout, ("c", "a", "l", "-"), rules).index("a")
        repaired[position] = repaired.get(position, 0) + 1
    # 729 layouts over six positions are 121.5 each; 50 is five standard deviations.
    assert sorted(repaired) == list(range(6))
    assert all(abs(count - 121.5) < 50 for count in repaired.values())


def test_the_nearest_layout_never_changes_between_machines_and_versions():
    rules = Rules(attention_layers=(2, 3), last=("c",), longest_run_without_attention=3)
    assert nearest_layout("cccccccccc", ("c", "a", "s", "-"), rules) == "cccacccacc"


def test_a_deep_layout_is_repaired():
    rules = Rules(attention_layers=(30, 40), longest_run_without_attention=4)
    nearest = nearest_layout("c" * 128, ("c", "a"), rules)
    assert obeys(nearest, rules)
    assert changes("c" * 128, nearest) == 30


def test_a_layout_that_cannot_be_repaired_is_an_error():
    with pytest.raises(ValueError, match="no layout of 2 layers"):
        nearest_layout("cc", ("c",), Rules(attention_layers=(1, 2)))


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("attention_layers", (3, 2)),
        ("attention_layers", (-1, 2)),
        ("parameters", (2, 1)),
        ("weight_mb", (0.5, 0.25)),
        ("weight_mb", (0.5, float("inf"))),
        ("first", ()),
        ("last", ("c", "c")),
        ("longest_run_without_attention", -1),
    ],
)
def test_an_invalid_rule_raises_an_error_that_names_it(rule, value):
    with pytest.raises(ValueError, match=f"^{rule}: .* is not "):
        Rules(**{rule: value})


class TestSizes:
    model = PRESETS["lfm2.5-230m"]  # 229,693,184 parameters

    @pytest.mark.parametrize(
        ("bounds", "excess"),
        [
            ((200_000_000, 229_693_184), 0.0),
            ((229_693_184, 229_693_184), 0.0),
            ((0, 459_386_368), -1.0),
            ((0, 114_846_592), 0.5),
            ((459_386_368, 500_000_000), 1.0),
        ],
    )
    def test_excess_is_the_fraction_by_which_a_limit_is_exceeded(self, bounds, excess):
        (check,) = check_size_rules(self.model, Rules(parameters=bounds), "int4")
        assert check.excess == excess

    def test_megabytes_depend_on_the_quantisation(self):
        rules = Rules(weight_mb=(0, 200))
        (int4,) = check_size_rules(self.model, rules, "int4")
        (fp32,) = check_size_rules(self.model, rules, "fp32")
        assert int4.excess <= 0 < fp32.excess
        assert str(fp32) == "weight_mb: 918.773 is not between 0 and 200"
