"""Show how well short trainings rank layouts like longer ones, and what a model of them adds.

    python benchmarks/token_budgets.py [--picture docs/budgets.svg]

Each row of the tables is a training: its layout, its token budget, its seed, and the losses at a
quarter, half and the whole of the budget. All layouts have eight layers, a width of 96 and 0.9
million parameters outside the embedding (`matched` in proxy_training.py). The text is technical
English, of which none is read twice. The trainings in technical_english.jsonl were made on a GPU
and read some Python, too; those in english_runs.jsonl were made by english_runs.py with the corpus,
the budget and the scoring of a study.

For each pair of budgets, prints the Spearman correlation with the longer training, with its 95 %
confidence interval, of the losses at each point of the shorter one, and of parts of its loss; of a
Gaussian process on layout features, fitted to the longer trainings of all other layouts (leave one
out); and of the shorter training corrected by such a process. By kind of layout, prints by how many
places the shorter one ranks it too high (+) or too low (-). The last line is one JSON document.
"""

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from xml.sax.saxutils import escape

import numpy as np
from chart import Axis, Chart
from numpy.typing import NDArray
from proxy_training import matched
from ranking import KINDS, correlation_with_interval, kind_of, pairs_in_order, ranks

from search_space.space.layout_features import layout_features
from studies.samplers.outcome_model import OutcomeModel

Values: TypeAlias = NDArray[np.float64]
Curve: TypeAlias = tuple[tuple[int, float], ...]

_DATA = Path(__file__).parent / "data"
TABLES = (_DATA / "technical_english.jsonl", _DATA / "english_runs.jsonl")
_FEWEST = 8  # layouts
_PICTURED = 800_000, 6_400_000


def main() -> None:
    """Print the correlations for every pair of budgets."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    by_budget = _trainings()
    results = []
    for short in sorted(by_budget):
        for long in sorted(by_budget):
            both = sorted(by_budget[short].keys() & by_budget[long].keys())
            if short < long and len(both) >= _FEWEST:
                results.append(_compare(short, long, both, by_budget))
    if options.picture is not None:
        options.picture.write_text(_picture(*(by_budget[tokens] for tokens in _PICTURED)))
    print(json.dumps(results))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Training:
    curve: Curve
    parts: Mapping[str, float]

    @property
    def end(self) -> float:
        return self.curve[-1][1]


def _trainings() -> dict[int, dict[str, _Training]]:
    """Return the first training of each layout in the tables, by token budget."""
    found: dict[int, dict[str, _Training]] = defaultdict(dict)
    for table in TABLES:
        for line in table.read_text().splitlines():
            row = json.loads(line)
            training = _Training(
                curve=tuple((tokens, loss) for tokens, loss in row["curve"]),
                parts={name: loss for name, loss in row.get("loss", {}).items() if name != "whole"},
            )
            found[row["tokens"]].setdefault(row["layout"], training)
    return found


def _compare(
    short: int, long: int, layouts: Sequence[str], by_budget: Mapping[int, Mapping[str, _Training]]
) -> dict[str, object]:
    trainings = [by_budget[short][layout] for layout in layouts]
    curves = [training.curve for training in trainings]
    ends = [by_budget[long][layout].end for layout in layouts]
    losses = [training.end for training in trainings]
    print(f"{short:,} tokens against {long:,}: {len(layouts)} layouts")
    predictors = {
        f"loss after {points[0][0]:,} tokens": [loss for _, loss in points]
        for points in zip(*curves, strict=True)
    }
    for part in trainings[0].parts:
        if all(part in training.parts for training in trainings):
            predictors[f"{part} loss"] = [training.parts[part] for training in trainings]
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


def _picture(short: Mapping[str, _Training], long: Mapping[str, _Training]) -> str:
    """Plot the losses of short and long trainings, coloured by kind of layout, as an SVG."""
    colours = dict(zip(KINDS, ("#d55e00", "#56b4e9", "#cc79a7", "#009e73"), strict=True))
    layouts = sorted(short.keys() & long.keys())
    ends = [(short[layout].end, long[layout].end) for layout in layouts]
    labels = [f"bits/byte after {tokens:,} tokens" for tokens in _PICTURED]
    chart = Chart(
        x_axis=Axis(values=[x for x, _ in ends], label=labels[0]),
        y_axis=Axis(values=[y for _, y in ends], label=labels[1]),
    )
    marks = []
    for layout, (x, y) in zip(layouts, ends, strict=True):
        colour = colours[kind_of(layout)]
        marks.append(
            f'<circle cx="{chart.x(x)}" cy="{chart.y(y)}" r="4.5" fill="{colour}">'
            f"<title>{escape(layout)}</title></circle>"
        )
    return chart.svg(marks, colours, "one training each")


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
