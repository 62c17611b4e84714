"""Show how well short trainings rank layouts like longer ones, and what a model of them adds.

    python benchmarks/token_budgets.py [--table benchmarks/data/technical_english.jsonl]

Each row of the table is a training: its layout, its token budget, its seed, and the losses at a
quarter, half and the whole of the budget. All layouts have eight layers, a width of 96 and 0.9
million parameters outside the embedding (`matched` in proxy_training.py). The text is technical
English and Python, of which none is read twice.

For each pair of budgets, prints the Spearman correlation with the longer training, with its 95 %
confidence interval, of the losses at each point of the shorter one; of a Gaussian process on layout
features, fitted to the longer trainings of all other layouts (leave one out); and of the shorter
training corrected by such a process. By kind of layout, prints by how many places the shorter
training ranks it too high (+) or too low (-). The last line is one JSON document.
"""

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from proxy_training import matched
from ranking import KINDS, correlation_with_interval, kind_of, pairs_in_order, ranks

from search_space.space.layout_features import layout_features
from studies.samplers.outcome_model import OutcomeModel

Values: TypeAlias = NDArray[np.float64]
Curve: TypeAlias = tuple[tuple[int, float], ...]

TABLE = Path(__file__).parent / "data" / "technical_english.jsonl"
_FEWEST = 8  # layouts


def main() -> None:
    """Print the correlations for every pair of budgets."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--table", type=Path, default=TABLE)
    by_budget = _curves(parser.parse_args().table)
    results = []
    for short in sorted(by_budget):
        for long in sorted(by_budget):
            both = sorted(by_budget[short].keys() & by_budget[long].keys())
            if short < long and len(both) >= _FEWEST:
                results.append(_compare(short, long, both, by_budget))
    print(json.dumps(results))


def _curves(table: Path) -> dict[int, dict[str, Curve]]:
    """Return the first learning curve of each layout, by token budget."""
    found: dict[int, dict[str, Curve]] = defaultdict(dict)
    for line in table.read_text().splitlines():
        row = json.loads(line)
        curve = tuple((tokens, loss) for tokens, loss in row["curve"])
        found[row["tokens"]].setdefault(row["layout"], curve)
    return found


def _compare(
    short: int, long: int, layouts: Sequence[str], by_budget: Mapping[int, Mapping[str, Curve]]
) -> dict[str, object]:
    curves = [by_budget[short][layout] for layout in layouts]
    ends = [by_budget[long][layout][-1][1] for layout in layouts]
    losses = [curve[-1][1] for curve in curves]
    print(f"{short:,} tokens against {long:,}: {len(layouts)} layouts")
    predictors = {
        f"loss after {points[0][0]:,} tokens": [loss for _, loss in points]
        for points in zip(*curves, strict=True)
    }
    predictors["model of the longer trainings"] = _left_out(layouts, ends)
    predictors["shorter training, corrected"] = _corrected(layouts, losses, ends)
    found = {}
    for name, values in predictors.items():
        found[name] = correlation_with_interval(values, ends)
        right, pairs = pairs_in_order(values, ends)
        print(f"    {name:32} {found[name]}, {right} of {pairs} pairs in order")
    displacements = ranks(ends) - ranks(losses)
    by_kind = {}
    for kind in KINDS:
        of_kind = [displacements[n] for n, each in enumerate(layouts) if kind_of(each) == kind]
        if of_kind:
            by_kind[kind] = round(float(np.mean(of_kind)), 1)
            print(f"    {kind:32} {by_kind[kind]:+.1f} places ({len(of_kind)} layouts)")
    return {
        "short": short,
        "long": long,
        "layouts": len(layouts),
        "spearman": found,
        "displacement": by_kind,
    }


def _left_out(layouts: Sequence[str], outcomes: Sequence[float]) -> list[float]:
    """Predict the outcome of each layout from those of all others."""
    features = np.array([layout_features(matched(layout)) for layout in layouts])
    values = np.array(outcomes)
    predicted = []
    for index in range(len(layouts)):
        others = np.arange(len(layouts)) != index
        model = OutcomeModel(
            features[others],
            values[others],
            np.zeros(len(layouts) - 1),
            np.random.default_rng(0),
        )
        mean, _ = model.predict(features[index : index + 1])
        predicted.append(float(mean[0]))
    return predicted


def _corrected(
    layouts: Sequence[str], losses: Sequence[float], ends: Sequence[float]
) -> list[float]:
    """Predict the ends from a line through the losses, and what it misses from the features."""
    predicted = []
    for index in range(len(layouts)):
        others = [n for n in range(len(layouts)) if n != index]
        known, wanted = np.array(losses)[others], np.array(ends)[others]
        line = np.polynomial.Polynomial.fit(known, wanted, 1)
        rest = wanted - line(known)
        kept = [layouts[n] for n in others]
        features = np.array([layout_features(matched(layout)) for layout in kept])
        model = OutcomeModel(features, rest, np.zeros(len(rest)), np.random.default_rng(0))
        mean, _ = model.predict(np.array([layout_features(matched(layouts[index]))]))
        predicted.append(float(line(losses[index])) + float(mean[0]))
    assert all(map(math.isfinite, predicted))
    return predicted


if __name__ == "__main__":
    main()
