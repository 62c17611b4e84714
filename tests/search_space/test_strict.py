import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_space.architecture import Architecture, to_json
from search_space.input_files import read_text
from search_space.preset_models import PRESETS
from search_space.space.rules import Rules
from search_space.strict import load_toml, parse_json, parse_strict
from tests.search_space.strategies import KINDS

GOOD = {
    "vocab_size": 512,
    "width": 64,
    "embedding_width": 64,
    "layers": [
        {"mixer": {"kind": "short_conv", "kernel": 3}, "feed_forward_width": 128},
        {"mixer": None, "feed_forward_width": 128},
    ],
}


def sentence(data: object, type_: type = Architecture) -> str:
    with pytest.raises(ValueError, match=r"^m\.json: ") as caught:
        parse_strict(type_, data, "m.json")
    return str(caught.value).removeprefix("m.json: ")


def with_mixer(mixer: object) -> object:
    data = copy.deepcopy(GOOD)
    data["layers"][0]["mixer"] = mixer
    return data


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_read_back_from_its_canonical_text(name):
    assert parse_json(Architecture, to_json(PRESETS[name]), "m.json") == PRESETS[name]


def test_lists_become_tuples_and_whole_numbers_stand_for_fractions():
    rules = parse_strict(Rules, {"attention_layers": [1, 2], "weight_mb": [1, 2.5]}, "m.json")
    assert rules == Rules(attention_layers=(1, 2), weight_mb=(1.0, 2.5))


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("width", "12", "width: '12' is not a whole number"),
        ("width", 12.0, "width: 12.0 is not a whole number"),
        ("width", True, "width: true is not a whole number"),
        ("width", None, "width: null is not a whole number"),
        ("width", 2**63, "width: a number of 65 bits does not fit in 64 bits"),
        ("width", 0, "width: 0 is not between 1 and 65,536"),
        ("norm_eps", True, "norm_eps: true is not a number"),
        ("norm_eps", float("nan"), "norm_eps: nan is not a finite number"),
        ("norm_eps", float("-inf"), "norm_eps: -inf is not a finite number"),
        ("tied_head", 1, "tied_head: 1 is not true or false"),
        ("activation", "relu", "activation: 'relu' is not one of silu, gelu_tanh"),
        ("layers", 3, "layers: 3 is not a list"),
        ("layers", [3], "layers[0]: 3 is not a table of named fields"),
        ("layers", [], "layers: a count of 0 is not between 1 and 256"),
        ("embedding_width", 65, "embedding_width: 65 is greater than the width, 64"),
        ("widht", 64, "widht is not a known field; did you mean width?"),
    ],
)
def test_an_invalid_value_raises_one_sentence_that_names_the_field(field, value, expected):
    assert sentence({**GOOD, field: value}) == expected


@pytest.mark.parametrize(
    ("mixer", "expected"),
    [
        (
            {"kind": "short_con", "kernel": 3},
            "layers[0].mixer.kind: 'short_con' is not one of " + ", ".join(KINDS),
        ),
        (
            {"kind": ["attention"]},
            'layers[0].mixer.kind: ["attention"] is not one of ' + ", ".join(KINDS),
        ),
        (
            {"kernel": "wide"},
            "layers[0].mixer.kind is missing; it must be one of " + ", ".join(KINDS),
        ),
        ("short_conv", "layers[0].mixer: 'short_conv' is not a table of named fields"),
        ({"kind": "short_conv"}, "layers[0].mixer.kernel is missing"),
        (
            {"kind": "short_conv", "kernel": 0},
            "layers[0].mixer.kernel: 0 is not between 1 and 256",
        ),
        (
            {"kind": "attention", "heads": 3, "kv_heads": 2, "head_dim": 16},
            "layers[0].mixer.kv_heads: 2 does not divide heads = 3",
        ),
        (
            {"kind": "attention", "heads": 4, "kv_heads": 2, "headdim": 16},
            "layers[0].mixer.headdim is not a known field; did you mean head_dim?",
        ),
        (
            {"kind": "short_conv", "kernel": 3, "heads": 3},
            "layers[0].mixer.heads is not a known field; expected one of kind, kernel",
        ),
    ],
)
def test_a_mixer_is_validated_by_its_kind_without_naming_classes(mixer, expected):
    assert sentence(with_mixer(mixer)) == expected


def test_suggested_names_are_those_of_the_table():
    data = copy.deepcopy(GOOD)
    data["layers"][1]["kernel"] = 3
    assert sentence(data) == (
        "layers[1].kernel is not a known field; expected one of mixer, feed_forward_width"
    )


def test_a_missing_field_is_named_unless_a_field_is_misspelt():
    data = {name: value for name, value in GOOD.items() if name != "width"}
    assert sentence(data) == "width is missing"
    assert sentence({**data, "widths": 64}) == "widths is not a known field; did you mean width?"


@pytest.mark.parametrize("bounds", [[1], [1, 2, 3], []])
def test_a_pair_is_two_values(bounds):
    expected = "attention_layers" if len(bounds) < 2 else "attention_layers: [1, 2, 3]"
    found = sentence({"attention_layers": bounds}, Rules)
    assert found == f"{expected} is not a list of 2 values"


@pytest.mark.parametrize("data", [[], "text", 3, None, True])
def test_a_whole_file_that_is_not_a_table(data):
    assert sentence(data).endswith("is not a table of named fields")


@pytest.mark.parametrize(
    "data",
    [
        {**GOOD, "width": 10**5000},
        {**GOOD, "width": "w" * 100_000},
        {**GOOD, "w" * 100_000: 3},
        {**GOOD, "layers": [list(range(100_000))]},
        with_mixer({"kind": "k" * 100_000}),
        {**GOOD, "activation": "\x1b[31m\n" * 1_000},
    ],
)
def test_a_huge_or_hostile_value_is_shortened(data):
    found = sentence(data)
    assert len(found) < 300
    assert found.isprintable()


def test_a_whole_file_that_is_not_finite():
    assert sentence(float("nan")) == "nan is not a finite number"


def test_endless_nesting_is_refused():
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    assert "levels" in sentence({**GOOD, "width": deep})
    with pytest.raises(ValueError, match="levels"):
        parse_json(Architecture, "[" * 100_000, "m.json")


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["kind", "kernel", "heads", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(field=st.sampled_from([*GOOD, "mixer", "norm_eps", "tied_head", "more"]), value=PLAIN)
def test_any_value_of_a_field_is_accepted_or_raises_one_printable_line(field, value):
    data = with_mixer(value) if field == "mixer" else {**GOOD, field: value}
    try:
        parsed = parse_strict(Architecture, data, "m.json")
    except ValueError as error:
        line = str(error)
    else:
        assert parse_json(Architecture, to_json(parsed), "m.json") == parsed
        return
    assert line.startswith("m.json: ")
    assert line.isprintable()


def test_a_path_that_cannot_be_read_is_an_error_with_the_reason(tmp_path):
    with pytest.raises(ValueError, match=r"none\.json: no such file or directory$"):
        read_text(tmp_path / "none.json")
    with pytest.raises(ValueError, match=r"is a directory$"):
        read_text(tmp_path)


def test_the_valid_example_is_canonical():
    # Ensures that the tests above start from data that to_json writes.
    architecture = parse_strict(Architecture, GOOD, "m.json")
    assert json.loads(to_json(architecture)) == GOOD


def test_toml_is_plain_data():
    text = 'a = 1\n[b]\n"c.d" = [1.5, "e"]'
    assert load_toml(text, "f.toml") == {"a": 1, "b": {"c.d": [1.5, "e"]}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = \n", "line 1 is not valid TOML: invalid value"),
        ("a = 1\na = 2\n", "line 2 is not valid TOML: cannot overwrite a value"),
        ("[a", "is not valid TOML"),
        (f"a = {'[' * 10_000}", "lists are nested deeper than any field allows"),
        (f"a = {'9' * 5_000}", "a number has too many digits"),
        (f"{'a.' * 100}b = 1", "a key has more parts than any field allows"),
        (f"{'a.' * 50_000}b = 1", "a key has more parts than any field allows"),
    ],
)
def test_what_is_not_toml_or_beyond_any_field_is_one_sentence(text, expected):
    with pytest.raises(ValueError, match=r"^f\.toml: ") as caught:
        load_toml(text, "f.toml")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
