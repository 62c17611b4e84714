"""Removal of overlap: no passage of 200 characters is in both texts, and little else is removed."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.text.overlap import separate

PASSAGE = 200


def prose(seed: int, length: int) -> str:
    """Random text with characters of one to four bytes."""
    return "".join(random.Random(seed).choices("abcdefgh \néß漢🙂", k=length))


def passages(text: str) -> set[str]:
    return {text[start : start + PASSAGE] for start in range(len(text) - PASSAGE + 1)}


@st.composite
def texts(draw: st.DrawFn) -> list[str]:
    """Texts that quote passages of any length from a few sources."""
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
def test_no_long_passage_is_in_both_texts(held_out: list[str], training: list[str]) -> None:
    sides = separate(held_out, training)
    trained = set().union(*map(passages, sides.training))
    for text in sides.held_out:
        assert not passages(text) & trained
    # Every remaining text is a given one or a piece of one.
    assert len(training) == len(sides.training) + sides.copies
    assert set(sides.training) <= set(training)
    assert all(any(piece in text for text in held_out) for piece in sides.held_out)
    if not sides.unscored_bytes:
        assert sides.held_out == held_out


def test_texts_without_overlap_do_not_change() -> None:
    held_out = [prose(seed, 900) for seed in range(5)] + ["short", ""]
    training = [prose(seed, 900) for seed in range(5, 20)] + ["short", ""]
    sides = separate(held_out, training)
    assert (sides.held_out, sides.training) == (held_out, training)
    assert (sides.copies, sides.unscored_bytes) == (0, 0)


def test_a_copy_with_small_changes_is_not_trained_on() -> None:
    others = [prose(seed, 2_000) for seed in range(1, 30)]
    original = prose(0, 2_000)
    copy = original[:700] + "A change." + original[700:1_500] + "Another end."
    sides = separate([original], [*others, copy])
    assert sides.training == others
    assert sides.held_out == [original]
    assert (sides.copies, sides.unscored_bytes) == (1, 0)


@pytest.mark.parametrize("count", [4, 40])
def test_boilerplate_in_all_texts_does_not_make_them_copies(count: int) -> None:
    boilerplate = "This file is free software. " * 30
    bodies = [prose(seed, 400) for seed in range(count + 1)]
    training = [boilerplate + body for body in bodies[1:]]
    sides = separate([boilerplate + bodies[0]], training)
    assert sides.training == training
    assert bodies[0][150:] in "".join(sides.held_out)
    assert boilerplate[:PASSAGE] not in "".join(sides.held_out)
    assert len(boilerplate) - 192 <= sides.unscored_bytes <= len(boilerplate) + 192


def test_a_quotation_is_not_scored_but_still_trained_on() -> None:
    quoted = prose(0, 300)
    scored = prose(1, 1_000) + quoted + prose(2, 1_000)
    training = [prose(3, 3_000) + quoted + prose(4, 3_000), *(prose(s, 500) for s in range(9, 29))]
    sides = separate([scored], training)
    assert sides.training == training
    assert len(sides.held_out) == 2
    assert all(piece in scored for piece in sides.held_out)


def test_more_text_than_one_batch() -> None:
    training = [prose(seed, 30_000) for seed in range(30)]
    quoted = [text[20_000:20_400] for text in (training[0], training[17], training[29])]
    sides = separate([prose(99, 500) + passage for passage in quoted], training)
    assert len(sides.held_out) >= 3
    assert not any(passage[:PASSAGE] in "".join(sides.held_out) for passage in quoted)
