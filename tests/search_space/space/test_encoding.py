import itertools
from dataclasses import replace

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_space.architecture import Architecture
from search_space.preset_models import PRESETS
from search_space.space.encoding import (
    FixedSuggester,
    RandomSuggester,
    Suggester,
    draw,
    encode,
    neighbours,
)
from search_space.space.rules import Rules, check_layout
from search_space.space.space_definition import Space
from search_space.space.space_size import space_size

HYBRID = Space(
    depth=(3, 5, 8),
    width=(64, 128, 192),
    mixers=("c", "a", "s", "l", "-"),
    feed_forward=(1.5, 2.0, 4.0),
    vocab_size=(512, 1024),
    kernel=(1, 3, 7),
    head_dim=(16, 32),
    kv_heads=(1, 2, 4),
    window=(16, 64),
    embedding_share=(0.5, 1.0),
    rules=Rules(
        attention_layers=(1, 3), first=("c", "l"), last=("c", "a"), longest_run_without_attention=3
    ),
)

CORNER_SPACES = {
    "hybrid": HYBRID,
    "one layer, one point": Space(
        depth=(1,), width=(32,), mixers=("c",), feed_forward=(1.0,), vocab_size=(256,), kernel=(1,)
    ),
    "no attention": Space(
        depth=(2, 3), width=(64,), mixers=("c", "-"), feed_forward=(1.0, 2.0), vocab_size=(256,)
    ),
    "only attention": Space(
        depth=(2, 3), width=(64,), mixers=("a",), feed_forward=(1.0,), vocab_size=(256,)
    ),
    "only windows": Space(
        depth=(2,),
        width=(64,),
        mixers=("s",),
        feed_forward=(1.0,),
        vocab_size=(256,),
        window=(4, 8),
    ),
    "only linear": Space(
        depth=(1, 2), width=(64,), mixers=("l",), feed_forward=(1.0,), vocab_size=(256,)
    ),
    "no mixer at all": Space(
        depth=(1, 2), width=(64,), mixers=("-",), feed_forward=(1.0,), vocab_size=(256,)
    ),
}

each_space = pytest.mark.parametrize("space", CORNER_SPACES.values(), ids=CORNER_SPACES)


class Recorder:
    """A suggester that delegates to another one and records its calls and answers."""

    def __init__(self, inner: Suggester) -> None:
        self.inner = inner
        self.asked: list[tuple[object, ...]] = []
        self.answers: dict[str, int | str] = {}

    def suggest_int(self, name: str, low: int, high: int) -> int:
        self.asked.append((name, low, high))
        self.answers[name] = answer = self.inner.suggest_int(name, low, high)
        return answer

    def suggest_categorical(self, name, choices):
        self.asked.append((name, *choices))
        self.answers[name] = answer = self.inner.suggest_categorical(name, choices)
        return answer


def random(seed: int) -> RandomSuggester:
    return RandomSuggester(np.random.default_rng(seed))


def draws(space: Space, count: int) -> list[Architecture]:
    suggester = random(0)
    return [draw(space, suggester) for _ in range(count)]


@each_space
def test_every_draw_is_in_the_space_and_obeys_its_rules(space):
    for architecture in draws(space, 200):
        assert all(check.excess <= 0 for check in check_layout(architecture.layout, space.rules))
        assert set(architecture.layout) <= set(space.mixers)
        assert len(architecture.layers) in space.depth
        assert architecture.width in space.width
        assert architecture.vocab_size in space.vocab_size


@each_space
def test_the_dimension_never_changes(space):
    asked = set()
    for seed in range(50):
        recorder = Recorder(random(seed))
        draw(space, recorder)
        asked.add(tuple(recorder.asked))
    assert len(asked) == 1
    names = [name for name, *_ in asked.pop()]
    assert len(names) == len(set(names))


def test_only_choices_with_several_values_are_asked_for():
    recorder = Recorder(random(0))
    draw(CORNER_SPACES["no attention"], recorder)
    assert recorder.asked == [
        ("depth", 0, 1),
        ("feed_forward", 0, 1),
        ("mixer_00", "c", "-"),
        ("mixer_01", "c", "-"),
        ("mixer_02", "c", "-"),
    ]


@each_space
def test_encoding_a_draw_and_drawing_again_gives_the_same(space):
    for architecture in draws(space, 200):
        parameters = encode(space, architecture)
        assert parameters is not None
        assert draw(space, FixedSuggester(parameters)) == architecture


@given(st.integers(0, 2**32))
def test_encoding_returns_the_drawn_parameters_that_were_used(seed):
    recorder = Recorder(random(seed))
    architecture = draw(HYBRID, recorder)
    encoded = encode(HYBRID, architecture)
    genes = "".join(str(recorder.answers[f"mixer_{layer:02}"]) for layer in range(8))
    for name in ("depth", "width", "feed_forward", "vocab_size", "embedding_share"):
        assert encoded[name] == recorder.answers[name]
    if genes.startswith(architecture.layout):
        for layer, letter in enumerate(architecture.layout):
            assert encoded[f"mixer_{layer:02}"] == letter


@pytest.mark.parametrize("name", sorted(set(CORNER_SPACES) - {"hybrid"}))
def test_enough_draws_reach_the_whole_space(name):
    space = CORNER_SPACES[name]
    assert len(set(draws(space, 500))) == space_size(space)


class TestEncodeRefuses:
    SPACE = Space(
        depth=(14, 16),
        width=(1024,),
        mixers=("c", "a"),
        feed_forward=(2.5, 4.5),
        vocab_size=(65_536,),
    )

    MADE = ("lfm2.5-230m", "lfm2-350m", "lfm2-350m-all-conv", "lfm2-350m-all-attention")

    @pytest.mark.parametrize("name", MADE)
    def test_no_published_model_in_the_space(self, name):
        parameters = encode(self.SPACE, PRESETS[name])
        assert parameters is not None
        assert draw(self.SPACE, FixedSuggester(parameters)) == PRESETS[name]

    @pytest.mark.parametrize("name", sorted(set(PRESETS) - set(MADE)))
    def test_models_outside_the_space(self, name):
        assert encode(self.SPACE, PRESETS[name]) is None

    def test_a_layout_that_breaks_a_rule(self):
        ruled = Space(
            depth=(16,),
            width=(1024,),
            mixers=("c", "a"),
            feed_forward=(4.5,),
            vocab_size=(65_536,),
            rules=Rules(attention_layers=(1, 6)),
        )
        assert encode(ruled, PRESETS["lfm2-350m"]) is not None
        assert encode(ruled, PRESETS["lfm2-350m-all-attention"]) is None

    def test_layers_of_different_widths(self):
        (first, *rest), model = PRESETS["lfm2-350m"].layers, PRESETS["lfm2-350m"]
        wider = replace(first, feed_forward_width=2560)
        assert encode(self.SPACE, replace(model, layers=(wider, *rest))) is None


class TestNeighbours:
    SPACE = Space(
        depth=(2, 3),
        width=(32, 64),
        mixers=("c", "a"),
        feed_forward=(1.0, 2.0, 3.0),
        vocab_size=(256,),
        kernel=(1, 3),
        head_dim=(32,),
        rules=Rules(attention_layers=(0, 1)),
    )

    def layouts(self, layout: str) -> list[str]:
        parameters = {"depth": len(layout) - 2, "width": 0, "feed_forward": 0, "kernel": 0}
        genes = {f"mixer_{layer:02}": letter for layer, letter in enumerate(layout.ljust(3, "c"))}
        return [
            neighbour.layout
            for neighbour in neighbours(
                self.SPACE, draw(self.SPACE, FixedSuggester({**parameters, **genes}))
            )
        ]

    def test_they_differ_in_one_choice(self):
        # One other depth, one other width, two other feed-forwards, one other kernel, then layers.
        assert sorted(self.layouts("cc")) == sorted(["ccc", "cc", "cc", "cc", "cc", "ac", "ca"])
        # A second layer of attention would break the rule. A truncated layout keeps its start.
        assert sorted(self.layouts("cac")) == sorted(["ca", "cac", "cac", "cac", "cac", "ccc"])

    @settings(max_examples=20)
    @given(st.integers(0, 2**32))
    def test_they_are_distinct_and_in_the_space(self, seed):
        architecture = draw(HYBRID, random(seed))
        found = list(neighbours(HYBRID, architecture))
        assert len(set(found) | {architecture}) == len(found) + 1
        for neighbour in found:
            assert encode(HYBRID, neighbour) is not None
            if len(neighbour.layers) == len(architecture.layers):
                changed = sum(
                    a != b for a, b in zip(neighbour.layout, architecture.layout, strict=True)
                )
                assert changed <= 1

    def test_every_layer_can_change_to_every_letter_the_rules_allow(self):
        architecture = draw(HYBRID, random(3))
        found = {n.layout for n in neighbours(HYBRID, architecture)}
        for layer, letter in itertools.product(range(len(architecture.layers)), "casl-"):
            layout = architecture.layout[:layer] + letter + architecture.layout[layer + 1 :]
            legal = all(check.excess <= 0 for check in check_layout(layout, HYBRID.rules))
            assert legal == (layout in found)

    def test_an_architecture_outside_the_space_has_none(self):
        assert list(neighbours(self.SPACE, PRESETS["lfm2-350m"])) == []


class SuggesterContract:
    """The behaviour that `draw` relies on; the test class of every Suggester inherits it."""

    def suggester(self) -> Suggester:
        raise NotImplementedError

    def test_whole_numbers_are_within_their_bounds(self):
        assert 2 <= self.suggester().suggest_int("number", 2, 5) <= 5

    def test_a_range_may_contain_a_single_value(self):
        assert self.suggester().suggest_int("single", 3, 3) == 3

    def test_a_category_is_one_of_the_choices(self):
        assert self.suggester().suggest_categorical("letter", ("c", "a")) in ("c", "a")

    def test_it_draws_an_architecture_that_can_be_encoded(self):
        space = CORNER_SPACES["no attention"]
        assert encode(space, draw(space, self.suggester())) is not None


class TestRandomSuggester(SuggesterContract):
    def suggester(self):
        return random(1)

    def test_the_same_seed_draws_the_same(self):
        assert draw(HYBRID, random(7)) == draw(HYBRID, random(7))
        assert draws(HYBRID, 20) != [draw(HYBRID, random(seed)) for seed in range(20, 40)]

    def test_every_value_is_drawn(self):
        suggester = random(0)
        assert {suggester.suggest_int("depth", 1, 4) for _ in range(99)} == {1, 2, 3, 4}
        letters = {suggester.suggest_categorical("mixer_00", "casl-") for _ in range(99)}
        assert letters == set("casl-")


class TestFixedSuggester(SuggesterContract):
    def suggester(self):
        ordered = {"number": 4, "single": 3, "depth": 1, "feed_forward": 0}
        layers = {"letter": "a", "mixer_00": "c", "mixer_01": "-", "mixer_02": "c"}
        return FixedSuggester({**ordered, **layers})


class TestOptunaTrial(SuggesterContract):
    def suggester(self):
        return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()

    def test_an_encoded_architecture_can_be_enqueued(self):
        architecture = draw(HYBRID, random(5))
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        study.enqueue_trial(encode(HYBRID, architecture))
        trial = study.ask()
        assert draw(HYBRID, trial) == architecture
        assert trial.params == encode(HYBRID, architecture)
