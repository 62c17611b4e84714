"""The encoding of architectures as parameters for samplers, in a space of fixed dimension.

A choice with an order is encoded as an integer, the index of its value; a mixer is a category.
Every draw asks for every parameter, including those of layers beyond the drawn depth, so that the
sampler always sees the same space. A layout that breaks a rule is replaced by the nearest legal
one, so that no draw is wasted on rules about layouts.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np

from search_space.architecture import MIXER_CHOICES, Architecture
from search_space.space.design_point import (
    DesignPoint,
    build,
    choice_indices,
    embedding_width,
    feed_forward_bounds,
    feed_forward_width,
    reads_choice,
)
from search_space.space.matching import (
    Cost,
    MatchedLatency,
    feed_forward_blocks,
    with_feed_forward_blocks,
)
from search_space.space.rules import all_kept, check_layout, nearest_layout
from search_space.space.space_definition import Space, with_matched_feed_forward

Parameters: TypeAlias = Mapping[str, int | str]

_LAYER_PREFIX = "mixer_"


class Suggester(Protocol):
    """An object that chooses values for named parameters, such as an Optuna trial.

    `draw` asks for each name once, and every draw from a space asks for the same names with the
    same bounds or choices:

        architecture = draw(space, optuna_study.ask())
        architecture = draw(space, RandomSuggester(np.random.default_rng(0)))
    """

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Choose an integer from `low` to `high`, both included."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        """Choose one of `choices`."""
        ...


class RandomSuggester:
    """A suggester that chooses all values with equal probability.

    Args:
        generator: The source of randomness.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Draw an integer from `low` to `high`, both included."""
        return int(self._generator.integers(low, high, endpoint=True))

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        """Draw one of `choices`."""
        return choices[int(self._generator.integers(len(choices)))]


class FixedSuggester:
    """A suggester that returns given values, and raises KeyError for any other name.

    Args:
        parameters: The value for each name.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Return the given integer, which must be from `low` to `high`."""
        value = self._parameters[name]
        assert isinstance(value, int)
        assert low <= value <= high
        return value

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        """Return the given category, which must be one of `choices`."""
        value = self._parameters[name]
        assert isinstance(value, str)
        assert value in choices
        return value


def layer_parameter(layer: int) -> str:
    """Return the name of the parameter that chooses the mixer of a layer, counted from 0."""
    return f"{_LAYER_PREFIX}{layer:02}"


def is_layer_parameter(name: str) -> bool:
    """Return whether a parameter chooses the mixer of a layer."""
    return name.startswith(_LAYER_PREFIX)


def draw(space: Space, suggester: Suggester, latency: Cost | None = None) -> Architecture:
    """Draw an architecture from a space.

    The layout obeys all rules about layouts. The rules about sizes (`parameters`, `weight_mb` and
    `matched`) are not enforced; check them with `check_sizes`.

    Args:
        space: The space to draw from.
        suggester: Chooses a value for each parameter.
        latency: Returns the predicted latency of an architecture, if the space has a latency to be
            matched. None if there is no prediction; then all feed-forwards have one width between
            their bounds, which a hash of the other choices selects.
    """
    return with_matched_feed_forward(_drawn(space, suggester), space, latency)


def _drawn(space: Space, suggester: Suggester) -> Architecture:
    """Draw an architecture, with the smallest feed-forwards if they are to be matched later."""
    index = dict.fromkeys(_ORDERED, 0)
    for name, count in _ordered(space).items():
        index[name] = suggester.suggest_int(name, 0, count - 1)
    letters = [
        suggester.suggest_categorical(name, space.mixers) for name in _layer_names(space)
    ] or list(space.mixers) * max(space.depth)
    layout = "".join(letters[: space.depth[index["depth"]]])
    if not all_kept(check_layout(layout, space.rules)):
        layout = nearest_layout(layout, space.mixers, space.rules)
    return build(
        DesignPoint(
            layout=layout,
            width=space.width[index["width"]],
            feed_forward=space.feed_forward[index["feed_forward"]],
            vocab_size=space.vocab_size[index["vocab_size"]],
            kernel=space.kernel[index["kernel"]],
            head_dim=space.head_dim[index["head_dim"]],
            kv_heads=space.kv_heads[index["kv_heads"]],
            window=space.window[index["window"]],
            embedding_share=space.embedding_share[index["embedding_share"]],
        )
    )


def encode(space: Space, architecture: Architecture) -> dict[str, int | str] | None:
    """Return parameters from which `draw` makes this architecture, or None if there are none.

    If the space has a latency to be matched, the widths of the feed-forwards are not a choice. They
    may be any between their bounds, and `draw` replaces them with those that its prediction needs.

    Choices that the architecture does not use have their first value. Layers beyond its depth
    repeat its layout, so that a deeper neighbour continues the same pattern.

    Args:
        space: The space that the parameters refer to.
        architecture: The architecture to encode, which may be outside the space.
    """
    width, layout = architecture.width, architecture.layout
    if not set(layout) <= set(space.mixers):
        return None
    index = dict.fromkeys(_ORDERED, 0)
    hidden = architecture.layers[0].feed_forward_width
    try:
        index["depth"] = space.depth.index(len(layout))
        index["width"] = space.width.index(width)
        index["vocab_size"] = space.vocab_size.index(architecture.vocab_size)
        if space.matched is None:
            index["feed_forward"] = [
                feed_forward_width(width, multiple) for multiple in space.feed_forward
            ].index(hidden)
        index["embedding_share"] = [
            embedding_width(width, share) for share in space.embedding_share
        ].index(architecture.embedding_width)
        choices = {choice: getattr(space, choice) for choice in MIXER_CHOICES}
        for mixer in {layer.mixer for layer in architecture.layers}:
            index.update(choice_indices(mixer, choices).items())
    except ValueError:
        return None
    layers = itertools.cycle(layout)
    parameters: dict[str, int | str] = {name: index[name] for name in _ordered(space)}
    parameters |= {name: next(layers) for name in _layer_names(space)}
    # Properties that no choice determines, such as another norm or layers of different widths, are
    # only found by comparing whole architectures.
    if not isinstance(space.matched, MatchedLatency):
        drawn = draw(space, FixedSuggester(parameters))
        return parameters if drawn == architecture else None
    least, most = feed_forward_bounds(width, space.feed_forward)
    if any(not least <= layer.feed_forward_width <= most for layer in architecture.layers):
        return None
    drawn = with_feed_forward_blocks(
        _drawn(space, FixedSuggester(parameters)), feed_forward_blocks(architecture)
    )
    return parameters if drawn == architecture else None


def neighbours(
    space: Space, architecture: Architecture, latency: Cost | None = None
) -> Iterator[Architecture]:
    """Yield all architectures that differ from the given one in a single choice, each of them once.

    A single choice is the mixer of one layer, or one choice for the whole model. All neighbours
    obey the rules about layouts: mixers that would break a rule are skipped. At another depth, the
    layout is truncated, or its pattern is continued, and then replaced by the nearest legal one.

    Args:
        space: The space that contains the neighbours.
        architecture: The architecture whose neighbours are wanted. If it is outside the space, it
            has none.
        latency: Returns the predicted latency of an architecture; see `draw`.
    """
    parameters = encode(space, architecture)
    if parameters is None:
        return
    seen = {architecture}
    for name, value in _alternatives(space, parameters):
        neighbour = draw(space, FixedSuggester({**parameters, name: value}), latency)
        layouts = zip(neighbour.layout, architecture.layout, strict=False)
        repaired = name != "depth" and sum(one != other for one, other in layouts) > 1
        if not repaired and neighbour not in seen:
            seen.add(neighbour)
            yield neighbour


# The ordered choices, in the order in which a suggester is asked for them.
_ORDERED = (
    "depth",
    "width",
    "feed_forward",
    "vocab_size",
    "embedding_share",
    *MIXER_CHOICES,
)


def _ordered(space: Space) -> dict[str, int]:
    """Return the number of values of each ordered choice that affects the architecture."""
    used = {"feed_forward": space.matched is None}
    for choice in MIXER_CHOICES:
        used[choice] = reads_choice(space.mixers, choice)
    counts = {name: len(getattr(space, name)) for name in _ORDERED if used.get(name, True)}
    return {name: count for name, count in counts.items() if count > 1}


def _layer_names(space: Space) -> list[str]:
    """Return the names of the layers' parameters (`mixer_00`, ...); none for a single mixer."""
    layers = range(max(space.depth)) if len(space.mixers) > 1 else range(0)
    return [layer_parameter(layer) for layer in layers]


def _alternatives(space: Space, parameters: Parameters) -> Iterator[tuple[str, int | str]]:
    choices: dict[str, Sequence[int | str]] = {
        name: range(count) for name, count in _ordered(space).items()
    }
    choices |= dict.fromkeys(_layer_names(space), space.mixers)
    for name, values in choices.items():
        yield from ((name, value) for value in values if value != parameters[name])
