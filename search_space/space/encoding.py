"""A point of a parameter space of fixed dimension <-> an Architecture.

A choice with an order is a whole number, its index; a mixer is a category. Every parameter is asked
for in every draw, those of layers beyond the drawn depth too, so that a sampler sees one space. A
layout that breaks a rule becomes the nearest legal one: no draw is lost to rules of layouts.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias, assert_never

import numpy as np

from search_space.architecture import Architecture, Attention, LinearAttention, ShortConv
from search_space.space.design_point import (
    DesignPoint,
    build,
    divisor_at_most,
    embedding_width,
    feed_forward_width,
    reads_choice,
)
from search_space.space.rules import check_layout, nearest_layout
from search_space.space.space_definition import Space, fitted

Parameters: TypeAlias = Mapping[str, int | str]


class Suggester(Protocol):
    """Chooses parameters by name; an Optuna trial is one.

    A name is asked for once a draw, always with the same bounds or choices.
    """

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str: ...


class RandomSuggester:
    """Every value equally likely."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return int(self._generator.integers(low, high, endpoint=True))

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        return choices[int(self._generator.integers(len(choices)))]


class FixedSuggester:
    """The values given; KeyError for a name that has none."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters

    def suggest_int(self, name: str, low: int, high: int) -> int:
        value = self._parameters[name]
        assert isinstance(value, int)
        assert low <= value <= high
        return value

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        value = self._parameters[name]
        assert isinstance(value, str)
        assert value in choices
        return value


def draw(space: Space, suggester: Suggester) -> Architecture:
    """An Architecture that keeps every rule of layouts; rules of sizes are for the caller."""
    index = dict.fromkeys(_ORDERED, 0)
    for name, count in _ordered(space).items():
        index[name] = suggester.suggest_int(name, 0, count - 1)
    letters = [
        suggester.suggest_categorical(name, space.mixers) for name in _layer_names(space)
    ] or list(space.mixers) * max(space.depth)
    layout = "".join(letters[: space.depth[index["depth"]]])
    if not _is_legal(layout, space):
        layout = nearest_layout(layout, space.mixers, space.rules)
    built = build(
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
    return fitted(built, space)


def encode(space: Space, architecture: Architecture) -> dict[str, int | str] | None:
    """Parameters that draw this very Architecture; None where none do.

    Choices that it does not use are the first, and layers beyond its depth repeat its layout, so
    that a deeper neighbour goes on in the same rhythm.
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
        for mixer in {layer.mixer for layer in architecture.layers}:
            match mixer:
                case None:
                    pass
                case ShortConv(kernel=kernel):
                    index["kernel"] = space.kernel.index(kernel)
                case Attention(heads=heads, kv_heads=kv_heads, head_dim=head_dim, window=window):
                    index["head_dim"] = space.head_dim.index(head_dim)
                    index["kv_heads"] = [
                        divisor_at_most(heads, choice) for choice in space.kv_heads
                    ].index(kv_heads)
                    if window is not None:
                        index["window"] = space.window.index(window)
                case LinearAttention(value_dim=value_dim):
                    index["head_dim"] = space.head_dim.index(value_dim)
                case _:
                    assert_never(mixer)
    except ValueError:
        return None
    layers = itertools.cycle(layout)
    parameters: dict[str, int | str] = {name: index[name] for name in _ordered(space)}
    parameters |= {name: next(layers) for name in _layer_names(space)}
    # What no choice stands for (another norm, layers that differ) shows only in the whole.
    drawn = draw(space, FixedSuggester(parameters))
    return parameters if drawn == architecture else None


def neighbours(space: Space, architecture: Architecture) -> Iterator[Architecture]:
    """Every Architecture that differs in one choice, each once; none for one outside the space.

    One choice is the mixer of one layer or one of the choices for the whole model. All keep the
    rules of layouts: a mixer that breaks one is left out, and another depth takes the legal layout
    nearest to this one cut short or carried on.
    """
    parameters = encode(space, architecture)
    if parameters is None:
        return
    seen = {architecture}
    for name, value in _alternatives(space, parameters):
        neighbour = draw(space, FixedSuggester({**parameters, name: value}))
        layouts = zip(neighbour.layout, architecture.layout, strict=False)
        repaired = name != "depth" and sum(one != other for one, other in layouts) > 1
        if not repaired and neighbour not in seen:
            seen.add(neighbour)
            yield neighbour


# In the order in which a sampler is asked for them.
_ORDERED = (
    "depth",
    "width",
    "feed_forward",
    "vocab_size",
    "embedding_share",
    "kernel",
    "head_dim",
    "kv_heads",
    "window",
)


def _ordered(space: Space) -> dict[str, int]:
    """How many values each ordered choice has; those that decide nothing are left out."""
    used = {
        "feed_forward": space.matched is None,
        **{
            choice: reads_choice(space.mixers, choice)
            for choice in ("kernel", "head_dim", "kv_heads", "window")
        },
    }
    counts = {name: len(getattr(space, name)) for name in _ORDERED if used.get(name, True)}
    return {name: count for name, count in counts.items() if count > 1}


def _layer_names(space: Space) -> list[str]:
    """The names of the layers' mixers, `mixer_00` the first; none where only one is on offer."""
    layers = range(max(space.depth)) if len(space.mixers) > 1 else range(0)
    return [f"mixer_{layer:02}" for layer in layers]


def _is_legal(layout: str, space: Space) -> bool:
    return all(check.excess <= 0 for check in check_layout(layout, space.rules))


def _alternatives(space: Space, parameters: Parameters) -> Iterator[tuple[str, int | str]]:
    choices: dict[str, Sequence[int | str]] = {
        name: range(count) for name, count in _ordered(space).items()
    }
    choices |= dict.fromkeys(_layer_names(space), space.mixers)
    for name, values in choices.items():
        yield from ((name, value) for value in values if value != parameters[name])
