"""Show whether unexpected losses of short trainings have larger errors than other losses.

    python benchmarks/expected_losses.py [--table benchmarks/data/technical_english.jsonl]

Each row of the table is a training; see token_budgets.py. The expected losses are those of
`studies.analysis.expected_losses`, from all layouts that were trained on the smallest budget. The
error of a short loss is its distance from a line through the short and the long losses.

For each longer budget, prints Spearman's correlation of the distance between short and expected
losses with the error, with its sign and without it, and how much larger the mean error of
unexpected losses is than that of the others. Expected losses depend on which candidates are left
out at the same time, so all numbers are means over ten orders of the candidates, with their range.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from proxy_training import matched
from scipy.stats import spearmanr

from search_space.architecture import Architecture
from studies.analysis.expected_losses import expected_losses
from studies.analysis.left_out_predictions import fitted_line

_TABLE = Path(__file__).parent / "data" / "technical_english.jsonl"
_ORDERS = 10
_FEWEST = 12  # layouts


def main() -> None:
    """Print the statistics for every longer budget."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--table", type=Path, default=_TABLE)
    by_budget: dict[int, dict[str, float]] = defaultdict(dict)
    for line in parser.parse_args().table.read_text().splitlines():
        row = json.loads(line)
        by_budget[row["tokens"]].setdefault(row["layout"], row["curve"][-1][1])
    short = by_budget[min(by_budget)]
    architectures = {layout: matched(layout) for layout in short}
    for tokens in sorted(by_budget)[1:]:
        long = by_budget[tokens]
        both = sorted(short.keys() & long.keys())
        if len(both) >= _FEWEST:
            print(f"{min(by_budget):,} tokens against {tokens:,}: {len(both)} layouts")
            _compare(both, short, long, architectures)


def _compare(
    both: Sequence[str],
    short: dict[str, float],
    long: dict[str, float],
    architectures: dict[str, Architecture],
) -> None:
    measured = np.array([short[layout] for layout in both])
    later = np.array([long[layout] for layout in both])
    slope, intercept = fitted_line(measured, later)
    errors = later - intercept - slope * measured
    found: dict[str, list[float]] = defaultdict(list)
    for seed in range(_ORDERS):
        layouts = np.random.default_rng(seed).permutation(sorted(short)).tolist()
        model = expected_losses(
            {layout: short[layout] for layout in layouts}, architectures.__getitem__
        )
        assert model is not None
        losses = [model.losses[layout] for layout in both]
        distances = np.array([loss.expected - loss.measured for loss in losses])
        unexpected = np.array([loss.is_unexpected for loss in losses])
        sizes = np.abs(errors)
        found["rank correlation of the model"].append(model.correlation)
        found["distance with error, with sign"].append(spearmanr(distances, errors).statistic)
        found["distance with error, sizes"].append(spearmanr(np.abs(distances), sizes).statistic)
        found["unexpected losses"].append(float(unexpected.sum()))
        if unexpected.any():
            ratio = sizes[unexpected].mean() / sizes[~unexpected].mean()
            found["error of unexpected to other losses"].append(float(ratio))
    for name, values in found.items():
        mean, low, high = np.mean(values), min(values), max(values)
        print(f"    {name:36} {mean:6.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
