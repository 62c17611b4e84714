"""The true scores of architectures in simulated searches: losses, times, memory and sizes.

Losses come from a table of recorded trainings, either through a forest that is fitted to it or, if
it contains every architecture of the space, directly. Times and memory come from a regression that
is fitted to measurements on a device, and that is not the one with which samplers predict. Each
architecture deviates from it by a fixed random factor, as large as the errors of the regression in
cross-validation, which no sampler knows.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import KFold, cross_val_predict

from evaluators.evaluator import Score
from evaluators.scores import LOSS, definition_of, is_additive, is_timed, make_score
from evaluators.speed.latency_model import LatencyModel
from evaluators.speed.workload_parts import Deployment, Parts, parts_of
from search_space.architecture import MIXERS, Architecture, architecture_hash, to_json
from search_space.costs import parameter_counts, weight_bytes
from search_space.quantization import Quantization
from search_space.strict import parse_json
from studies.analysis.choice_importance import choices
from studies.analysis.shapes import read_shape

LATENCIES = Path(__file__).parent / "data" / "latencies_edge_350m.jsonl"

# The table of latencies contains ratios to lfm2.5-230m. Its own times are those in docs/log.md.
_REFERENCE_MS = {"decode": 11.18, "prefill": 433.0}  # the prompt there has twice as many tokens
# The standard deviation of losses of one architecture, in bits per byte, if the table has no
# architecture with several seeds.
_DEFAULT_SEED_NOISE = 0.01
# The relative standard deviation of a measured time or memory.
MEASUREMENT_NOISE = 0.01
_INTERVAL = 1.96  # standard deviations in half a 95 % interval

# The scores that follow from an architecture.
_CLOSED_FORM = ("parameters", "size")

_TREES = 300
_SMALLEST_LEAF = 2
_FOLDS = 10
_PLACES = 10

_Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossTable:
    """The recorded losses.

    Attributes:
        losses: The losses of every architecture, one per training.
        rows: The number of trainings.
        seed_noise: The standard deviation of the losses of one architecture, in bits per byte.
        is_recorded: Whether this deviation was computed from the table.
    """

    losses: Mapping[Architecture, Sequence[float]]
    rows: int
    seed_noise: float
    is_recorded: bool


class LossTruth(Protocol):
    """The noiseless losses of architectures.

    Example:
        losses = RecordedLosses(read_losses(Path("losses.jsonl")))
        loss, *_ = losses.of([architecture])
    """

    def of(self, architectures: Sequence[Architecture]) -> _Numbers:
        """Return the loss of each architecture in bits per byte, (N,)."""
        ...


class ForestLosses:
    """A forest of extremely randomised trees that is fitted to the recorded losses.

    Its features are the choices that led to an architecture and the mixer at every tenth of the
    depth. They differ from those of the samplers in this project.
    """

    def __init__(self, table: LossTable) -> None:
        """Fit the forest.

        Args:
            table: The losses of at least ten architectures.

        Raises:
            ValueError: The table has fewer architectures.
        """
        if len(table.losses) < _FOLDS:
            raise ValueError(
                f"table: {len(table.losses)} architectures are fewer than the {_FOLDS} that the "
                "cross-validation of the forest requires"
            )
        self._features = np.array([forest_features(each) for each in table.losses])
        self._means = np.array([np.mean(each) for each in table.losses.values()])
        self._forest = ExtraTreesRegressor(_TREES, min_samples_leaf=_SMALLEST_LEAF, random_state=0)
        self._forest.fit(self._features, self._means)

    def rank_correlation(self) -> float:
        """Return Spearman's correlation of predicted and recorded losses in cross-validation."""
        folds = KFold(_FOLDS, shuffle=True, random_state=0)
        predicted = cross_val_predict(self._forest, self._features, self._means, cv=folds)
        return float(spearmanr(predicted, self._means).statistic)

    def of(self, architectures: Sequence[Architecture]) -> _Numbers:
        return np.asarray(self._forest.predict([forest_features(each) for each in architectures]))


class RecordedLosses:
    """The mean recorded losses, for tables that contain every architecture of a space."""

    def __init__(self, table: LossTable) -> None:
        self._means = {each: float(np.mean(losses)) for each, losses in table.losses.items()}

    def of(self, architectures: Sequence[Architecture]) -> _Numbers:
        """Return the recorded losses.

        Raises:
            ValueError: The table does not contain one of the architectures.
        """
        for each in architectures:
            if each not in self._means:
                raise ValueError(
                    f"table: it has no loss of {each.layout} at width {each.width}; if it does not "
                    "contain the whole space, use --truth forest"
                )
        return np.array([self._means[each] for each in architectures])


class ChanceLosses:
    """Random losses with the mean and the standard deviation of the losses in a table.

    They show how a sampler performs if no model can predict the loss.
    """

    def __init__(self, table: LossTable) -> None:
        means = [float(np.mean(losses)) for losses in table.losses.values()]
        self._mean, self._deviation = float(np.mean(means)), float(np.std(means))

    def of(self, architectures: Sequence[Architecture]) -> _Numbers:
        normals = np.array([fixed_normal(LOSS, each) for each in architectures])
        return np.asarray(self._mean + self._deviation * normals)


class Truth:
    """The true scores of architectures, and their noisy measurements."""

    def __init__(
        self,
        names: Sequence[str],
        losses: LossTruth,
        seed_noise: float,
        deployment: Deployment,
        latencies: Path = LATENCIES,
    ) -> None:
        """Fit the regressions of times and memory.

        Args:
            names: The names of the scores.
            losses: The noiseless losses.
            seed_noise: The standard deviation of a loss between seeds, in bits per byte.
            deployment: How the models of the search are deployed.
            latencies: A table that benchmarks/predictor.py made.

        Raises:
            ValueError: A score can be neither computed nor predicted.
        """
        self._names = tuple(names)
        self._losses = losses
        self._seed_noise = seed_noise
        self._deployment = deployment
        self._regressions: dict[str, _Regression] = {}
        for name in names:
            if is_additive(name):
                self._regressions[name] = _fitted(name, latencies)
            elif name not in (LOSS, *_CLOSED_FORM):
                raise ValueError(
                    f"{name}: only loss, {', '.join(_CLOSED_FORM)} and scores that are sums over "
                    "the parts of a model can be simulated"
                )

    @property
    def cost_errors(self) -> dict[str, float]:
        """The relative standard deviation of architectures from the regression, by score."""
        return {name: each.relative_deviation for name, each in self._regressions.items()}

    def true_scores(self, architectures: Sequence[Architecture]) -> dict[str, _Numbers]:
        """Return the noiseless values of every score by name, (N,) each."""
        return {name: self._values(name, architectures) for name in self._names}

    def measure(
        self, true_scores: Mapping[str, float], generator: np.random.Generator
    ) -> tuple[Score, ...]:
        """Return noisy scores of one architecture.

        Args:
            true_scores: Its noiseless values by name.
            generator: The source of the noise.
        """
        scores = []
        for name, value in true_scores.items():
            normal = float(generator.standard_normal())
            if name == LOSS:
                scores.append(make_score(name, value + self._seed_noise * normal))
                continue
            if name in _CLOSED_FORM:
                scores.append(make_score(name, value))
                continue
            noisy = value * (1 + MEASUREMENT_NOISE * normal)
            margin = _INTERVAL * MEASUREMENT_NOISE * noisy
            interval = (noisy - margin, noisy + margin) if is_timed(name) else ()
            scores.append(make_score(name, noisy, *interval))
        return tuple(scores)

    def _values(self, name: str, architectures: Sequence[Architecture]) -> _Numbers:
        if name == LOSS:
            return self._losses.of(architectures)
        if name in _CLOSED_FORM:
            quantization = self._deployment.quantization
            return np.array([_closed_form(name, each, quantization) for each in architectures])
        regression = self._regressions[name]
        parts = [parts_of(name, each, self._deployment) for each in architectures]
        values = np.array([regression.model.predict(each).value for each in parts])
        normals = np.array([fixed_normal(name, each) for each in architectures])
        return np.asarray(values * np.exp(regression.relative_deviation * normals))


def read_losses(path: Path) -> LossTable:
    """Read a table of losses.

    Args:
        path: A file with one JSON object per line. `architecture` is the full-size architecture and
            `loss` its loss in bits per byte; other keys are ignored.

    Raises:
        ValueError: A row is not valid, or there is none.
    """
    losses: dict[Architecture, list[float]] = defaultdict(list)
    rows = 0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            row = json.loads(line)
            text, loss = json.dumps(row["architecture"]), float(row["loss"])
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"{path}, line {number}: it is not an object with 'architecture' and 'loss'"
            ) from None
        losses[parse_json(Architecture, text, f"{path}, line {number}")].append(loss)
        rows += 1
    if not rows:
        raise ValueError(f"{path}: it has no rows")
    noise = repeat_deviation(list(losses.values()))
    return LossTable(
        losses=dict(losses),
        rows=rows,
        seed_noise=_DEFAULT_SEED_NOISE if noise is None else noise,
        is_recorded=noise is not None,
    )


def repeat_deviation(groups: Sequence[Sequence[float]]) -> float | None:
    """Return the standard deviation within groups; None if no group has two values.

    The variances of the groups are pooled, weighted with their degrees of freedom.
    """
    repeated = [np.asarray(group) for group in groups if len(group) > 1]
    if not repeated:
        return None
    squares = sum(float(np.square(each - each.mean()).sum()) for each in repeated)
    return float(np.sqrt(squares / sum(len(each) - 1 for each in repeated)))


def forest_features(architecture: Architecture) -> tuple[float, ...]:
    """Return the choices that led to an architecture, and the mixer at every tenth of its depth.

    A mixer is encoded as one number per letter, which is 1 for the letter of the mixer and 0 for
    the others.
    """
    layout = architecture.layout
    depth = len(layout)
    letters = [layout[place * depth // _PLACES] for place in range(_PLACES)]
    return (
        *choices(read_shape(to_json(architecture), layout)).values(),
        *(float(letter == other) for letter in letters for other in MIXERS),
    )


def fixed_normal(name: str, architecture: Architecture) -> float:
    """Return a standard normal number that depends only on a score and an architecture."""
    seeds = [int(architecture_hash(architecture), 16), *name.encode()]
    return float(np.random.default_rng(seeds).standard_normal())


def _closed_form(name: str, architecture: Architecture, quantization: Quantization) -> float:
    """Return a score that follows from an architecture: its parameters, or its size in MB."""
    if name == "parameters":
        return float(parameter_counts(architecture).total)
    assert name == "size", name
    return weight_bytes(architecture, quantization) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Regression:
    model: LatencyModel
    relative_deviation: float


def _fitted(name: str, latencies: Path) -> _Regression:
    definition = definition_of(name)
    assert definition is not None
    key = definition.phase or "memory"
    heading, *rows = (json.loads(line) for line in latencies.read_text().splitlines())
    deployment = Deployment(**heading["deployment"])
    known = [row for row in rows if key in row]
    architectures = [
        parse_json(Architecture, json.dumps(row["architecture"]), str(latencies)) for row in known
    ]
    # All depths are fitted to the depth of the table; only the predictions differ.
    parts = [parts_of(key, each, deployment) for each in architectures]
    unit = _REFERENCE_MS.get(key, 1.0)
    values = [unit * row[key] for row in known]
    return _Regression(
        model=LatencyModel(parts, values), relative_deviation=_deviation(parts, values)
    )


def _deviation(parts: Sequence[Parts], values: Sequence[float]) -> float:
    """Return the standard deviation of the regression's relative error in cross-validation."""
    errors = []
    for fitted, held_out in KFold(_FOLDS, shuffle=True, random_state=0).split(values):
        model = LatencyModel(
            [parts[index] for index in fitted], [values[index] for index in fitted]
        )
        errors += [values[index] / model.predict(parts[index]).value - 1 for index in held_out]
    return float(np.sqrt(np.mean(np.square(errors))))
