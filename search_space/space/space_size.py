"""The number of architectures in a space."""

import itertools
import math
from collections.abc import Sequence

from search_space.architecture import MIXER_CHOICES, LayoutLetter
from search_space.space.design_point import (
    divisor_at_most,
    embedding_width,
    feed_forward_width,
    reads_choice,
)
from search_space.space.rules import layout_counts
from search_space.space.space_definition import Space


def space_size(space: Space) -> int:
    """Count the different architectures that can be drawn from a space, exactly.

    Rules about sizes are ignored. A choice multiplies the number only of layouts that use it, so
    layouts are counted separately for each set of letters.
    """
    subsets = [
        letters
        for size in range(1, len(space.mixers) + 1)
        for letters in itertools.combinations(space.mixers, size)
    ]
    within = {letters: layout_counts(space.depth, letters, space.rules) for letters in subsets}
    total = 0
    for letters in subsets:
        # The layouts that use all of these letters, by inclusion-exclusion.
        layouts = sum(
            (-1) ** (len(letters) - len(fewer)) * sum(counts.values())
            for fewer, counts in within.items()
            if set(fewer) <= set(letters)
        )
        total += layouts * sum(
            _feed_forwards(width, space)
            * len({embedding_width(width, share) for share in space.embedding_share})
            * len(space.vocab_size)
            * _mixer_choices(letters, width, space)
            for width in space.width
        )
    return total


def _feed_forwards(width: int, space: Space) -> int:
    """Return the number of feed-forward widths to choose from."""
    if space.matched is not None:
        return 1
    return len({feed_forward_width(width, multiple) for multiple in space.feed_forward})


def _mixer_choices(letters: Sequence[LayoutLetter], width: int, space: Space) -> int:
    """Return the number of combinations of the choices that mixers of these letters depend on."""
    counts = {
        choice: len(getattr(space, choice))
        for choice in MIXER_CHOICES
        if reads_choice(letters, choice)
    }
    if "kv_heads" in counts:
        # The size of a head decides which numbers of key/value heads are rounded to the same one.
        counts["head_dim"] = 1
        counts["kv_heads"] = sum(
            len({divisor_at_most(width // head_dim, count) for count in space.kv_heads})
            for head_dim in space.head_dim
        )
    return math.prod(counts.values())
