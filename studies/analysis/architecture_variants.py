"""Variants of architectures that differ in one respect: a choice, or where attention is."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search_space.architecture import (
    ATTENTION_LETTERS,
    MIXER_CHOICES,
    Architecture,
    MixerChoice,
    layout_letters,
)
from search_space.quantization import Quantization
from search_space.space.design_point import feed_forward_bounds, reads_choice
from search_space.space.encoding import (
    FixedSuggester,
    Parameters,
    draw,
    encode,
    is_layer_parameter,
    layer_parameter,
)
from search_space.space.matching import TOLERANCE, Cost, match_cost
from search_space.space.rules import all_kept, check_layout
from search_space.space.space_definition import Space, check_sizes

_THIRDS = ("first third", "middle third", "last third")
_PLACES = (*_THIRDS, "even")

_MIXER_CHOICES: Mapping[str, MixerChoice] = {choice: choice for choice in MIXER_CHOICES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Two values of one property, and architectures that differ only in it.

    Attributes:
        one: The first value, such as "8,192".
        other: The second value.
        pairs: Architectures with the first value, each with its variant that has the second.
    """

    one: str
    other: str
    pairs: tuple[tuple[Architecture, Architecture], ...]


class VariantMaker:
    """Makes variants of architectures that obey the rules of a space.

    Args:
        space: The space.
        quantization: The target's quantisation, which the rule about weights refers to.
        latency: Returns the predicted latency of an architecture, if the space has a latency to be
            matched.
    """

    def __init__(
        self, space: Space, quantization: Quantization, latency: Cost | None = None
    ) -> None:
        self._space = space
        self._quantization = quantization
        self._latency = latency

    def of_choices(
        self, architectures: Sequence[Architecture]
    ) -> Iterator[tuple[str, tuple[Contrast, ...]]]:
        """Yield each choice of the space that has several values, and its pairs of values.

        All other choices are kept. At another depth, the layout is truncated, or its pattern is
        continued, and then replaced by the nearest legal one. An architecture without the mixers
        that a choice refers to has no variants for it.

        Args:
            architectures: The architectures; those outside the space have no variants.
        """
        points = [(each, encode(self._space, each)) for each in architectures]
        known = [(each, point) for each, point in points if point is not None]
        names = [name for name in (known[0][1] if known else {}) if not is_layer_parameter(name)]
        for name in names:
            values = getattr(self._space, name)
            rows = [
                [self._drawn({**point, name: index}) for index in range(len(values))]
                for architecture, point in known
                if _reads(architecture, name)
            ]
            yield name, _contrasts([f"{value:,}" for value in values], rows)

    def of_positions(self, architectures: Sequence[Architecture]) -> tuple[Contrast, ...]:
        """Return pairs of places of all attention layers: one third, or spread evenly.

        The order of the attention layers among themselves is kept, and so is that of the others.

        Args:
            architectures: The architectures; those outside the space have no variants.
        """
        rows = []
        for architecture in architectures:
            point = encode(self._space, architecture)
            if point is not None:
                layouts = [self._placed(architecture.layout, place) for place in _PLACES]
                rows.append([self._with_layout(point, layout) for layout in layouts])
        return _contrasts(_PLACES, rows)

    def with_more_attention(
        self,
        architecture: Architecture,
        cost: Cost,
        generator: np.random.Generator,
    ) -> Architecture | None:
        """Return an architecture with one more attention layer at the same cost.

        The layer replaces a random one without attention, and the feed-forwards make up for its
        cost within the multiples of the width that the space has.

        Args:
            architecture: An architecture of the space.
            cost: Returns the cost of an architecture. It never falls when a feed-forward gets
                wider.
            generator: Chooses the layer.

        Returns:
            The architecture, or None if the rules or the range of feed-forwards permit none.
        """
        point = encode(self._space, architecture)
        letters = [letter for letter in ATTENTION_LETTERS if letter in self._space.mixers]
        if point is None or not letters:
            return None
        layout = architecture.layout
        least, most = feed_forward_bounds(architecture.width, self._space.feed_forward)
        for place in generator.permutation(len(layout)):
            if layout[place] in ATTENTION_LETTERS:
                continue
            more = self._with_layout(point, f"{layout[:place]}{letters[0]}{layout[place + 1 :]}")
            if more is None:
                continue
            target = cost(architecture)
            matched = match_cost(more, target, cost, least=least, most=most)
            is_equal = abs(cost(matched) - target) <= TOLERANCE * target
            if is_equal and self._has_legal_size(matched):
                return matched
        return None

    def _with_layout(self, point: Parameters, layout: str | None) -> Architecture | None:
        if layout is None or not all_kept(check_layout(layout, self._space.rules)):
            return None
        letters = {layer_parameter(place): letter for place, letter in enumerate(layout)}
        return self._drawn({**point, **letters})

    def _drawn(self, point: Parameters) -> Architecture | None:
        architecture = draw(self._space, FixedSuggester(point), self._latency)
        return architecture if self._has_legal_size(architecture) else None

    def _has_legal_size(self, architecture: Architecture) -> bool:
        checks = check_sizes(architecture, self._space, self._quantization, self._latency)
        return all_kept(checks)

    def _placed(self, layout: str, place: str) -> str | None:
        """Return the first legal arrangement with all attention in one place, or None."""
        attention = [letter for letter in layout if letter in ATTENTION_LETTERS]
        others = [letter for letter in layout if letter not in ATTENTION_LETTERS]
        if not attention or not others:
            return None
        depth, third, count = len(layout), _PLACES.index(place), len(attention)
        is_spread = third == len(_THIRDS)
        start, end = (0, depth) if is_spread else (depth * third // 3, depth * (third + 1) // 3)
        if count > end - start:
            return None
        arrangements = [
            [start + int((index + 0.5) * (end - start) / count) for index in range(count)]
        ]
        if not is_spread:
            arrangements += [[*range(start, start + count)], [*range(end - count, end)]]
        for places in arrangements:
            first, second = iter(attention), iter(others)
            spelled = "".join(next(first if layer in places else second) for layer in range(depth))
            if all_kept(check_layout(spelled, self._space.rules)):
                return spelled
        return None


def attention_layers(architecture: Architecture) -> int:
    """Return the number of layers with attention, full or windowed."""
    return sum(letter in ATTENTION_LETTERS for letter in architecture.layout)


def _contrasts(
    labels: Sequence[str], rows: Iterable[Sequence[Architecture | None]]
) -> tuple[Contrast, ...]:
    """Pair the variants of each architecture, one per label; None where the space has none."""
    rows = list(rows)
    return tuple(
        Contrast(
            one=labels[one],
            other=labels[other],
            pairs=tuple(
                (first, second)
                for row in rows
                for first, second in [(row[one], row[other])]
                if first is not None and second is not None
            ),
        )
        for one, other in itertools.combinations(range(len(labels)), 2)
    )


def _reads(architecture: Architecture, name: str) -> bool:
    """Return whether an architecture depends on a choice, as all do on those for whole models."""
    choice = _MIXER_CHOICES.get(name)
    return choice is None or reads_choice(layout_letters(architecture.layout), choice)
