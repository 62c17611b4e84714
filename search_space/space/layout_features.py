"""Features of an architecture from which its quality is predicted.

What a layer contributes depends on the other layers. Predictions from the letters of a layout are
therefore poor, and those from proportions, positions and sizes are better: after 120 recorded
trainings, rank correlations for unseen architectures were 0.3 and 0.9
(docs/decisions/0009-samplers-with-known-costs.md).
"""

import itertools
import math

from search_space.architecture import ATTENTION_LETTERS, MIXERS, Architecture
from search_space.costs import parameter_counts


def layout_features(architecture: Architecture) -> tuple[float, ...]:
    """Return the features of an architecture.

    They are logarithms of sizes, the proportions of mixers and of changes between them, and the
    positions of attention as fractions of the depth.
    """
    layout = architecture.layout
    return (*_sizes(architecture), *_proportions(layout), *_positions(layout))


def _sizes(architecture: Architecture) -> tuple[float, ...]:
    counts = parameter_counts(architecture)
    hidden = sum(layer.feed_forward_width for layer in architecture.layers)
    hidden_per_layer = hidden / len(architecture.layers)
    first = {type(layer.mixer): layer.mixer for layer in reversed(architecture.layers)}
    shapes = [mixer for mixer in first.values() if mixer is not None]

    def of_mixers(name: str) -> float:
        return max((math.log(getattr(mixer, name, None) or 1) for mixer in shapes), default=0.0)

    return (
        math.log(counts.total),
        math.log(len(architecture.layers)),
        math.log(architecture.width),
        math.log(hidden_per_layer / architecture.width),
        math.log(architecture.vocab_size),
        math.log(architecture.embedding_width / architecture.width),
        of_mixers("kernel"),
        of_mixers("head_dim"),
        of_mixers("kv_heads"),
        of_mixers("window"),
    )


def _proportions(layout: str) -> tuple[float, ...]:
    groups = _simplified(layout)
    pairs = list(itertools.pairwise(groups))
    changes = sum(one != other for one, other in pairs)
    return (
        *(layout.count(letter) / len(layout) for letter in MIXERS),
        changes / max(1, len(pairs)),
        sum(one != "a" and other == "a" for one, other in pairs) / max(1, len(pairs)),
    )


def _positions(layout: str) -> tuple[float, ...]:
    depth = len(layout)
    attention = [index for index, letter in enumerate(layout) if letter in ATTENTION_LETTERS]
    runs = [len(run) for run in "".join(_simplified(layout)).split("a")]
    places = [index / max(1, depth - 1) for index in attention] or [1.0]
    full = [index / max(1, depth - 1) for index, letter in enumerate(layout) if letter == "a"]
    return (
        places[0],
        sum(places) / len(places),
        places[-1],
        full[-1] if full else 0.0,
        max(runs) / depth,
        float(layout[0] in ATTENTION_LETTERS),
        float(layout[0] == "-"),
    )


def _simplified(layout: str) -> list[str]:
    return ["a" if letter in ATTENTION_LETTERS else letter for letter in layout]
