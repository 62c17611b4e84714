"""Estimates how much each choice of a search space contributes to an objective."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_space.architecture import ATTENTION_LETTERS, MIXERS
from studies.analysis.shapes import Shape

# With fewer trials, a forest finds spurious importances.
FEWEST_TRIALS = 20
FEED_FORWARD = "feed-forward multiple"
METHOD = (
    "Percentages are permutation importances: a predictor (a forest of extremely randomised trees) "
    "is trained on a random half of the candidates, and the values of one choice are shuffled "
    "among the other half. The importance of that choice is the resulting increase in squared "
    "error, as a fraction of the sum over all choices, averaged over ten random splits. "
    "Correlated choices share their importance."
)

_HALVES = 10
_TREES = 25
_SMALLEST_LEAF = 2
# More candidates would take a long time and change little.
_MOST_TRIALS = 1_000

_Table = NDArray[np.float64]  # (candidates, choices)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceImportance:
    """The importance of one choice for an objective.

    Attributes:
        choice: The name of the choice; see `choices`.
        share: The fraction (0 to 1) of the predictable variation that depends on the choice.
        low: The 2.5 % quantile of that fraction over the random splits.
        high: The 97.5 % quantile.
    """

    choice: str
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Importances:
    """The importances of all choices for one objective.

    Attributes:
        explained: The fraction of the objective's variance that the choices predict for held-out
            candidates (R²), at least 0.
        weights: The importances, largest first; empty if the choices predict nothing.
    """

    explained: float
    weights: tuple[ChoiceImportance, ...]


def choices(shape: Shape) -> dict[str, float]:
    """Return the choices that led to a shape as numbers by name.

    A property that no layer has is 0. The position of attention is the mean index of the attention
    layers as a fraction of the depth.
    """
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
        "position of attention": float(np.mean(places)) / depth if places else 0.0,
    }


def importances(
    shapes: Sequence[Shape],
    values: Sequence[float],
    generator: np.random.Generator,
    excluded: Collection[str] = (),
) -> Importances:
    """Estimate how much an objective depends on each choice.

    The method is permutation importance (Breiman 2001, "Random forests", section 10): a forest is
    fitted to a random half of the candidates, and each choice is shuffled in turn among the other
    half.

    Args:
        shapes: The shapes of at least `FEWEST_TRIALS` candidates.
        values: Their values of the objective.
        generator: The source of randomness for the splits, the forests and the shuffling.
        excluded: Names that are not choices in this search space, because they follow from the
            others.
    """
    assert len(shapes) == len(values) >= FEWEST_TRIALS
    rows = [choices(shape) for shape in shapes]
    names = [
        name for name in rows[0] if name not in excluded and len({row[name] for row in rows}) > 1
    ]
    table = np.array([[row[name] for name in names] for row in rows], dtype=np.float64)
    target = np.asarray(values, dtype=np.float64)
    if not names or np.ptp(target) == 0:
        return Importances(explained=0.0, weights=())
    halves = [_half(table, target, generator) for _ in range(_HALVES)]
    explained = max(0.0, float(np.median([half.explained for half in halves])))
    shares = np.array(
        [half.increases / total for half in halves if (total := half.increases.sum()) > 0]
    )
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
    increases: NDArray[np.float64]  # of the squared error, (choices)


def _half(table: _Table, target: NDArray[np.float64], generator: np.random.Generator) -> _Half:
    """Fit a forest to one random half and permute the choices of the other."""
    # scikit-learn is slow to import, and most code that reads a study does not need it.
    from sklearn.ensemble import ExtraTreesRegressor

    order = generator.permutation(len(table))[:_MOST_TRIALS]
    fitted, held_out = np.array_split(order, 2)
    seed = int(generator.integers(2**31))
    forest = ExtraTreesRegressor(_TREES, min_samples_leaf=_SMALLEST_LEAF, random_state=seed)
    forest.fit(table[fitted], target[fitted])
    shuffled = np.repeat(table[held_out][None], table.shape[1] + 1, axis=0)
    for column in range(table.shape[1]):
        shuffled[column + 1, :, column] = generator.permutation(table[held_out, column])
    predicted = forest.predict(shuffled.reshape(-1, table.shape[1])).reshape(len(shuffled), -1)
    errors = ((predicted - target[held_out]) ** 2).mean(axis=1)
    variance = target[held_out].var()
    return _Half(
        explained=float(1 - errors[0] / variance) if variance > 0 else 0.0,
        increases=np.maximum(0.0, errors[1:] - errors[0]),
    )
