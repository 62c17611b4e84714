"""No passage of 200 characters is on both sides, and no more is left out than has to be."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.text.overlap import separated

PASSAGE = 200


def prose(seed: int, length: int) -> str:
    """Of letters of one to four bytes."""
    return "".join(random.Random(seed).choices("abcdefgh \néß漢🙂", k=length))


def passages(text: str) -> set[str]:
    return {text[start : start + PASSAGE] for start in range(len(text) - PASSAGE + 1)}


@st.composite
def texts(draw: st.DrawFn) -> list[str]:
    """Texts that quote from a few sources, at any place and at any length."""
    sources = [prose(seed, 700) for seed in range(4)]
    found = []
    for number in range(draw(st.integers(1, 6))):
        parts = [prose(draw(st.integers(10, 10**6)), draw(st.integers(0, 300)))]
        for _ in range(draw(st.integers(0, 3))):
            source = draw(st.sampled_from(sources))
            start, length = draw(st.integers(0, 500)), draw(st.integers(0, 400))
            parts += [source[start : start + length], prose(number, draw(st.integers(0, 50)))]
        found.append("".join(parts))
    return found


@settings(max_examples=60)
@given(texts(), texts())
def test_no_long_passage_is_on_both_sides(held_out: list[str], training: list[str]) -> None:
    sides = separated(held_out, training)
    trained = set().union(*map(passages, sides.training))
    for text in sides.held_out:
        assert not passages(text) & trained
    # Every text is one of those that were given, or a piece of one.
    assert len(training) == len(sides.training) + sides.copies
    assert set(sides.training) <= set(training)
    assert all(any(piece in text for text in held_out) for piece in sides.held_out)
    if not sides.unscored_bytes:
        assert sides.held_out == held_out


def test_what_shares_nothing_is_left_as_it_is() -> None:
    held_out = [prose(seed, 900) for seed in range(5)] + ["short", ""]
    training = [prose(seed, 900) for seed in range(5, 20)] + ["short", ""]
    sides = separated(held_out, training)
    assert (sides.held_out, sides.training) == (held_out, training)
    assert (sides.copies, sides.unscored_bytes) == (0, 0)


def test_a_copy_with_changes_here_and_there_is_not_trained_on() -> None:
    others = [prose(seed, 2_000) for seed in range(1, 30)]
    original = prose(0, 2_000)
    copy = original[:700] + "A change." + original[700:1_500] + "Another end."
    sides = separated([original], [*others, copy])
    assert sides.training == others
    assert sides.held_out == [original]
    assert (sides.copies, sides.unscored_bytes) == (1, 0)


@pytest.mark.parametrize("count", [4, 40])
def test_a_form_that_all_texts_have_makes_no_copies_of_them(count: int) -> None:
    form = "This file is free software. " * 30
    bodies = [prose(seed, 400) for seed in range(count + 1)]
    training = [form + body for body in bodies[1:]]
    sides = separated([form + bodies[0]], training)
    assert sides.training == training
    assert bodies[0][150:] in "".join(sides.held_out)
    assert form[:PASSAGE] not in "".join(sides.held_out)
    assert len(form) - 192 <= sides.unscored_bytes <= len(form) + 192


def test_a_quotation_is_not_scored_and_its_text_is_still_trained_on() -> None:
    quoted = prose(0, 300)
    judged = prose(1, 1_000) + quoted + prose(2, 1_000)
    training = [prose(3, 3_000) + quoted + prose(4, 3_000), *(prose(s, 500) for s in range(9, 29))]
    sides = separated([judged], training)
    assert sides.training == training
    assert len(sides.held_out) == 2
    assert all(piece in judged for piece in sides.held_out)


def test_more_text_than_is_looked_at_at_once() -> None:
    training = [prose(seed, 30_000) for seed in range(30)]
    quoted = [text[20_000:20_400] for text in (training[0], training[17], training[29])]
    sides = separated([prose(99, 500) + passage for passage in quoted], training)
    assert len(sides.held_out) >= 3
    assert not any(passage[:PASSAGE] in "".join(sides.held_out) for passage in quoted)
