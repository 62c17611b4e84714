"""Which choices of a search an objective hangs on, as far as its candidates tell."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_space.architecture import ATTENTION_LETTERS, MIXERS
from studies.analysis.shapes import Shape

# Below this a forest finds what is not there.
FEWEST_TRIALS = 20
FEED_FORWARD = "feed-forward multiple"
METHOD = (
    "share of the rise in squared error when a choice is shuffled among candidates that a forest "
    "of extra trees has not seen, over ten random halves; related choices divide their share"
)

_HALVES = 10
_TREES = 25
_SMALLEST_LEAF = 2
# More candidates change little and take long.
_MOST_TRIALS = 1_000

_Table = NDArray[np.float64]  # (candidates, choices)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceImportance:
    """The share of what can be foretold that hangs on one choice; low, high: 95 % of the halves."""

    choice: str
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Importances:
    """Of one objective, the weightiest choice first.

    explained: the share of its variance that the choices foretell of unseen candidates (R²).
    weights: empty where nothing can be foretold.
    """

    explained: float
    weights: tuple[ChoiceImportance, ...]


def choices(shape: Shape) -> dict[str, float]:
    """What was chosen, as numbers; a property that no layer has is 0."""
    depth = len(shape.layout)
    places = [index for index, letter in enumerate(shape.layout) if letter in ATTENTION_LETTERS]
    return {
        "depth": depth,
        "width": shape.width,
        FEED_FORWARD: shape.feed_forward_width / shape.width,
        "vocabulary": shape.vocab_size,
        "embedding width": shape.embedding_width / shape.width,
        "kernel": shape.kernel or 0,
        "head size": shape.head_dim or 0,
        "key/value heads": shape.kv_heads or 0,
        "window": shape.window or 0,
        **{kind.layers: shape.layout.count(letter) for letter, kind in MIXERS.items()},
        "place of attention": float(np.mean(places)) / depth if places else 0.0,
    }


def importances(
    shapes: Sequence[Shape],
    values: Sequence[float],
    generator: np.random.Generator,
    left_out: Collection[str] = (),
) -> Importances:
    """Of one objective, whose values the shapes have; needs FEWEST_TRIALS of them.

    left_out: what is no choice there, but follows from the others.
    """
    assert len(shapes) == len(values) >= FEWEST_TRIALS
    rows = [choices(shape) for shape in shapes]
    names = [
        name for name in rows[0] if name not in left_out and len({row[name] for row in rows}) > 1
    ]
    table = np.array([[row[name] for name in names] for row in rows], dtype=np.float64)
    target = np.asarray(values, dtype=np.float64)
    if not names or np.ptp(target) == 0:
        return Importances(explained=0.0, weights=())
    halves = [_half(table, target, generator) for _ in range(_HALVES)]
    explained = max(0.0, float(np.median([half.explained for half in halves])))
    shares = np.array([half.rises / total for half in halves if (total := half.rises.sum()) > 0])
    if explained == 0.0 or len(shares) < _HALVES / 2:
        return Importances(explained=explained, weights=())
    low, high = np.quantile(shares, (0.025, 0.975), axis=0)
    means = shares.mean(axis=0)
    weights = [
        ChoiceImportance(choice=name, share=float(means[n]), low=float(low[n]), high=float(high[n]))
        for n, name in enumerate(names)
    ]
    weights.sort(key=lambda weight: -weight.share)
    return Importances(explained=explained, weights=tuple(weights))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Half:
    explained: float
    rises: NDArray[np.float64]  # (choices)


def _half(table: _Table, target: NDArray[np.float64], generator: np.random.Generator) -> _Half:
    """A forest of one half, tried on the other (permutation importance, Breiman 2001)."""
    # Slow to import, and most of what reads a study does without it.
    from sklearn.ensemble import ExtraTreesRegressor

    order = generator.permutation(len(table))[:_MOST_TRIALS]
    seen, unseen = np.array_split(order, 2)
    seed = int(generator.integers(2**31))
    forest = ExtraTreesRegressor(_TREES, min_samples_leaf=_SMALLEST_LEAF, random_state=seed)
    forest.fit(table[seen], target[seen])
    shuffled = np.repeat(table[unseen][None], table.shape[1] + 1, axis=0)
    for column in range(table.shape[1]):
        shuffled[column + 1, :, column] = generator.permutation(table[unseen, column])
    foretold = forest.predict(shuffled.reshape(-1, table.shape[1])).reshape(len(shuffled), -1)
    errors = ((foretold - target[unseen]) ** 2).mean(axis=1)
    variance = target[unseen].var()
    return _Half(
        explained=float(1 - errors[0] / variance) if variance > 0 else 0.0,
        rises=np.maximum(0.0, errors[1:] - errors[0]),
    )
