import re
from dataclasses import replace

import pytest
from hypothesis import given, settings

from search_space.costs import parameter_counts, weight_bytes
from search_space.preset_models import PRESETS
from search_space.space.rules import Rules
from search_space.space.space_definition import (
    Space,
    broken_rule,
    check_weight_rule,
    parameter_range,
    weight_range,
)
from tests.search_space.spaces import all_architectures, spaces


@settings(max_examples=60)
@given(spaces())
def test_ranges_equal_those_of_a_list_of_all_architectures(space):
    listed = set(all_architectures(space))
    totals = [parameter_counts(architecture).total for architecture in listed]
    reached = parameter_range(space)
    assert (reached.least, reached.most) == (min(totals), max(totals))
    sizes = [weight_bytes(architecture, "int4") for architecture in listed]
    weights = weight_range(space, "int4")
    assert (weights.least, weights.most) == (min(sizes), max(sizes))


CHOICES = {"depth": (4, 6), "width": (64, 128), "mixers": ("c", "a")}
CHOICES |= {"feed_forward": (2.0,), "vocab_size": (512,)}


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("depth", (), "depth: [] is not a list of one or more choices"),
        ("depth", (0, 2), "depth: 0 is not between 1 and 128"),
        ("depth", (4, 4), "depth: [4, 4] is not in ascending order without duplicates"),
        ("width", (128, 64), "width: [128, 64] is not in ascending order without duplicates"),
        ("width", (100,), "width: 100 is not a multiple of 32"),
        ("width", (64, 96), "width: 96 is not a multiple of head_dim = 64"),
        ("mixers", (), "mixers: [] is not one or more distinct letters"),
        ("mixers", ("c", "c"), "mixers: ['c', 'c'] is not one or more distinct letters"),
        ("feed_forward", (float("nan"),), "feed_forward: nan is not between 0.1 and 16"),
        ("vocab_size", (16,), "vocab_size: 16 is not between 256 and 1,048,576"),
        ("head_dim", (24,), "head_dim: 24 is not a multiple of 16"),
        ("embedding_share", (0.5, 1.5), "embedding_share: 1.5 is not between 0.01 and 1"),
    ],
)
def test_an_invalid_choice_raises_an_error_that_names_it(field, value, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        Space(**{**CHOICES, field: value})


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ({"first": ("l",)}, "rules.first: 'l' is not one of the mixers c, a"),
        (
            {"attention_layers": (5, 9)},
            "rules.attention_layers: [5, 9] is not possible with 4 layers of c, a",
        ),
        (
            {"attention_layers": (0, 1), "longest_run_without_attention": 2},
            "rules.attention_layers: [0, 1] is not possible with 6 layers of c, a",
        ),
        (
            {"attention_layers": (4, 4), "first": ("c",)},
            "rules.attention_layers: [4, 4] is not possible with 4 layers of c, a",
        ),
        (
            {"parameters": (1, 1_000)},
            "rules.parameters: 1 to 1,000 is out of reach; the choices allow 197,696 to 1,052,544",
        ),
    ],
)
def test_a_rule_that_no_architecture_obeys_is_an_error_that_names_it(rules, named):
    with pytest.raises(ValueError, match=f"^{re.escape(named)}$"):
        Space(**CHOICES, rules=Rules(**rules))


def test_requiring_attention_without_such_mixers_is_an_error():
    with pytest.raises(ValueError, match=r"^rules\.attention_layers: \[1, 2\] is not possible"):
        Space(**{**CHOICES, "mixers": ("c", "l")}, rules=Rules(attention_layers=(1, 2)))


def test_a_rule_about_weights_depends_on_the_quantisation():
    space = Space(**CHOICES, rules=Rules(weight_mb=(0, 0.2)))
    check_weight_rule(space, "int4")
    with pytest.raises(ValueError, match=r"^rules\.weight_mb: 0 to 0\.2 is out of reach"):
        check_weight_rule(space, "fp32")


def test_the_first_broken_rule_is_described_in_a_sentence():
    model = PRESETS["lfm2-350m"]
    rules = Rules(attention_layers=(2, 6), last=("c",), parameters=(10**8, 3 * 10**8))
    space = Space(**{**CHOICES, "depth": (16,), "width": (1024,)}, rules=rules)
    sentence = "parameters: 354,483,968 is not between 100,000,000 and 300,000,000"
    assert broken_rule(model, space, "int4") == sentence
    narrower = replace(space, rules=replace(rules, attention_layers=(2, 5)))
    assert broken_rule(model, narrower, "int4") == "attention_layers: 6 is not between 2 and 5"
    assert broken_rule(model, replace(space, rules=Rules()), "int4") is None
