"""Tests of effects in random studies with losses from a formula, so that the effects are known."""

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search_space.architecture import Architecture
from search_space.costs import weight_bytes
from search_space.space.encoding import RandomSuggester, draw
from search_space.space.matching import MatchedLatency
from search_space.space.rules import Rules
from search_space.space.space_definition import Space
from search_space.strict import parse_json
from studies.analysis.architecture_variants import attention_layers
from studies.analysis.choice_effects import (
    ANY_NUMBER,
    POSITION,
    ChoiceEffects,
    EffectCandidate,
    choice_effects,
    random_subset,
    trained_objective,
)
from studies.analysis.predicted_effects import PredictedDifference
from studies.spec.study_file import read_spec
from studies.spec.study_spec import StudySpec
from studies.spec.study_tables import Objective

SPACE = Space(
    depth=(6,),
    width=(128, 192, 256),
    mixers=("c", "a", "-"),
    feed_forward=(1.0, 2.0, 4.0),
    vocab_size=(1024, 4096),
    kernel=(3, 5),
    head_dim=(32, 64),
    rules=Rules(attention_layers=(1, 4)),
)
# The changes of the loss per doubling, and per attention layer. Other choices change nothing.
PER_DOUBLING = {"vocab_size": -0.03, "width": -0.06}
PER_ATTENTION = -0.03
WITHOUT_EFFECT = {"feed_forward", "kernel", "head_dim", POSITION}
STUDIES = 20
RECORDED = Path(__file__).parents[3] / "benchmarks" / "data" / "losses_quickstart.jsonl"


def _spec(space: Space, *objectives: str) -> StudySpec:
    return StudySpec(
        name="small",
        trials=100,
        space=space,
        objectives=tuple(Objective(name=name) for name in objectives or ("loss", "decode")),
    )


def _loss(architecture: Architecture) -> float:
    return (
        2.5
        + PER_DOUBLING["vocab_size"] * math.log2(architecture.vocab_size / 1024)
        + PER_DOUBLING["width"] * math.log2(architecture.width / 128)
        + PER_ATTENTION * attention_layers(architecture)
    )


def _decode(architecture: Architecture) -> float:
    return weight_bytes(architecture, "int8") / 1e6 + 0.1 * attention_layers(architecture)


def _candidates(
    seed: int, count: int = 60, space: Space = SPACE, noise: float = 0.015
) -> list[EffectCandidate]:
    generator = np.random.default_rng(seed)
    suggester = RandomSuggester(generator)
    found = []
    for _ in range(count):
        architecture = draw(space, suggester, _decode)
        values = {
            "loss": _loss(architecture) + noise * generator.standard_normal(),
            "decode": _decode(architecture),
        }
        found.append(EffectCandidate(architecture=architecture, values=values))
    return found


def _effects(candidates: list[EffectCandidate], space: Space = SPACE) -> ChoiceEffects:
    generator = np.random.default_rng(0)
    return choice_effects(_spec(space), candidates, "loss", "bits/byte", generator)


@pytest.fixture(scope="module")
def studies() -> list[ChoiceEffects]:
    return [_effects(_candidates(seed)) for seed in range(STUDIES)]


def _truth(choice: str, comparison: PredictedDifference) -> float:
    if choice in WITHOUT_EFFECT:
        return 0.0
    one, other = (int(text.replace(",", "")) for text in (comparison.one, comparison.other))
    return PER_DOUBLING[choice] * math.log2(other / one)


def test_intervals_contain_the_true_effects(studies: list[ChoiceEffects]) -> None:
    contained: Counter[str] = Counter()
    for study in studies:
        for effect in study.effects:
            contained[effect.choice] += all(
                each.low <= _truth(effect.choice, each) <= each.high for each in effect.comparisons
            )
    assert set(contained) == WITHOUT_EFFECT | set(PER_DOUBLING)
    assert min(contained.values()) >= 0.75 * STUDIES
    assert contained.total() >= 0.9 * STUDIES * len(contained)


def test_choices_without_effect_are_hardly_ever_claimed_to_have_one(
    studies: list[ChoiceEffects],
) -> None:
    claimed = Counter(
        effect.choice
        for study in studies
        for effect in study.effects
        if effect.summary.is_distinguishable
    )
    assert max((claimed[choice] for choice in WITHOUT_EFFECT), default=0) <= 0.1 * STUDIES
    assert all(claimed[choice] >= 0.9 * STUDIES for choice in PER_DOUBLING)


def test_one_more_attention_layer_at_equal_latency(studies: list[ChoiceEffects]) -> None:
    effects = [study.more_attention for study in studies]
    known = [effect for effect in effects if effect is not None]
    assert len(known) == STUDIES
    assert {(each.summary.one, each.summary.other) for each in known} == {ANY_NUMBER}
    contained = [
        each.low <= PER_ATTENTION <= each.high for effect in known for each in effect.comparisons
    ]
    assert np.mean(contained) >= 0.85
    found = np.mean([each.summary.difference for each in known])
    assert found == pytest.approx(PER_ATTENTION, abs=0.008)
    numbers = {each.one for effect in known for each in effect.comparisons}
    assert {"1", "2"} <= numbers <= {"n", "1", "2", "3"}


def test_without_times_nothing_is_said_about_equal_latency() -> None:
    candidates = [replace(each, values={"loss": each.values["loss"]}) for each in _candidates(0)]
    found = _effects(candidates)
    assert found.effects
    assert found.more_attention is None


def test_random_losses_have_no_effects() -> None:
    generator = np.random.default_rng(0)
    candidates = [
        replace(each, values={**each.values, "loss": generator.standard_normal()})
        for each in _candidates(0)
    ]
    found = _effects(candidates)
    assert not found.is_predictable
    assert found.all_effects == ()
    assert found.candidates == 60


def test_the_same_candidates_have_the_same_effects() -> None:
    candidates = _candidates(3, count=40)
    assert _effects(candidates) == _effects(candidates)


def test_at_a_matched_latency_choices_are_compared_at_that_latency() -> None:
    """A wider model of equal latency has narrower feed-forwards, on which the loss depends here."""
    matched = MatchedLatency(latency=4.0)
    space = replace(SPACE, feed_forward=(1.0, 16.0), vocab_size=(1024,), matched=matched)
    candidates = [
        replace(
            each,
            values={
                "loss": 2.5 - 2e-4 * each.architecture.layers[0].feed_forward_width,
                "decode": each.values["decode"],
            },
        )
        for each in _candidates(0, space=space)
    ]
    found = {each.choice: each for each in _effects(candidates, space).effects}
    steps = {(each.one, each.other): each for each in found["width"].comparisons}
    assert steps["128", "256"].low > 0
    assert "feed_forward" not in found
    untimed = [replace(each, values={"loss": each.values["loss"]}) for each in candidates]
    assert _effects(untimed, space).all_effects == ()


@pytest.mark.parametrize(
    ("objectives", "expected"),
    [
        (("decode", "loss"), "loss"),
        (("task", "loss", "decode"), "task"),
        (("decode", "memory"), None),
    ],
)
def test_the_first_trained_objective_is_explained(
    objectives: tuple[str, ...], expected: str | None
) -> None:
    spec = _spec(SPACE)
    named = tuple(Objective(name=name) for name in objectives)
    assert trained_objective(spec.model_copy(update={"objectives": named})) == expected


def test_random_items_keep_their_order() -> None:
    found = random_subset(range(100), 30, np.random.default_rng(0))
    assert len(set(found)) == 30
    assert found == sorted(found)
    assert random_subset("abc", 3, np.random.default_rng(0)) == ["a", "b", "c"]


def _comparisons(found: ChoiceEffects) -> dict[tuple[str, str, str], PredictedDifference]:
    return {
        (effect.choice, each.one, each.other): each
        for effect in found.effects
        for each in effect.comparisons
    }


def test_two_halves_of_recorded_trainings_agree() -> None:
    """The losses are those of 147 architectures that were trained."""
    losses: dict[Architecture, float] = {}
    for line in RECORDED.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text = json.dumps(row["architecture"])
        losses.setdefault(parse_json(Architecture, text, RECORDED.name), row["loss"])
    known = [
        EffectCandidate(architecture=each, values={"loss": loss}) for each, loss in losses.items()
    ]
    order = np.random.default_rng(0).permutation(len(known))
    halves = [[known[index] for index in order[start::2]] for start in range(2)]
    spec = read_spec("quickstart")
    found = [
        choice_effects(spec, half, "loss", "bits/byte", np.random.default_rng(0)) for half in halves
    ]
    one, other = map(_comparisons, found)
    shared = one.keys() & other.keys()
    assert len(shared) >= 20
    overlaps = [
        one[key].low <= other[key].high and other[key].low <= one[key].high for key in shared
    ]
    assert np.mean(overlaps) >= 0.95
    both = [key for key in shared if one[key].is_distinguishable and other[key].is_distinguishable]
    assert ("vocab_size", "16,384", "32,768") in both
    assert all(one[key].difference * other[key].difference > 0 for key in both)
