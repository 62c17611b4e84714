"""Compare the rankings of the short and the long training runs of long_runs.py.

    python benchmarks/ranking.py [--picture docs/ranking.svg]

Prints the Spearman correlation with its 95 % confidence interval, computed as in `nas confirm`; the
number of pairs ordered correctly; the correlation that a perfect proxy would reach, given the seed
noise; baselines that rank by the number of parameters; and, by kind of layout, by how many places
the short training ranks it too high (+) or too low (-). The last line is one JSON document.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from xml.sax.saxutils import escape

import numpy as np
from chart import Axis, Chart
from long_runs import LONG, SHORT, rows
from numpy.typing import NDArray
from proxy_training import spearman
from scipy.stats import rankdata

from search_space.architecture import Architecture
from search_space.costs import parameter_counts
from search_space.strict import parse_strict
from studies.confirmation.confirmation_statistics import noise_ceiling, rank_correlation, seed_noise

Values: TypeAlias = NDArray[np.float64]

# In bits per byte: about three times the seed standard deviation of a long run.
LEAST_GAP = 0.02
KINDS = ("all attention", "no attention", "attention first", "other hybrids")


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedLayout:
    """An architecture with its losses after a short and after a long run, by seed."""

    layout: str
    family: str
    held_out: bool
    parameters: int
    non_embedding: int
    short: dict[int, float]
    long: dict[int, float]


def ranked_layouts() -> list[RankedLayout]:
    """Return every architecture of the table that has a long run."""
    runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows():
        runs[row["key"][0]].append(row)
    found = []
    for group in runs.values():
        short, long = (
            {row["seed"]: row["curve"][-1][1] for row in group if row["tokens"] == tokens}
            for tokens in (SHORT, LONG)
        )
        if 0 in short and 0 in long:
            counts = parameter_counts(parse_strict(Architecture, group[0]["proxy"], "proxy"))
            found.append(
                RankedLayout(
                    layout=group[0]["layout"],
                    family=group[0]["family"],
                    held_out=group[0]["held_out"],
                    parameters=counts.total,
                    non_embedding=counts.total - counts.embedding,
                    short=short,
                    long=long,
                )
            )
    return found


def ranks(values: Sequence[float]) -> Values:
    """Return the ranks, 1 for the lowest value; ties get their mean rank."""
    ranked: Values = rankdata(values)
    return ranked


def correlation_with_interval(one: Sequence[float], other: Sequence[float]) -> str:
    found = rank_correlation(one, other)
    assert found is not None
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def pairs_in_order(short: Sequence[float], long: Sequence[float]) -> tuple[int, int]:
    """Count the pairs that the short runs order correctly, and all pairs that count.

    A pair counts if its long runs differ by more than LEAST_GAP; the order of closer ones is noise.
    """
    pairs = np.triu_indices(len(long), 1)
    short_gaps, long_gaps = (np.subtract.outer(each, each)[pairs] for each in (short, long))
    apart = np.abs(long_gaps) > LEAST_GAP
    right = np.sign(short_gaps) == np.sign(long_gaps)
    return int((apart & right).sum()), int(apart.sum())


def kind_of(layout: str) -> str:
    attention = [letter in "as" for letter in layout]
    if all(attention):
        return "all attention"
    if not any(attention):
        return "no attention"
    return "attention first" if attention[0] else "other hybrids"


def report(models: Sequence[RankedLayout], title: str) -> dict[str, object]:
    long = [model.long[0] for model in models]
    short = [model.short[0] for model in models]
    print(f"{title}: {len(models)} architectures, Spearman correlation of short with long", end=" ")
    print(correlation_with_interval(short, long))
    result: dict[str, object] = {"count": len(models), "short": spearman(short, long)}
    if all(1 in model.short for model in models):
        second = spearman([model.short[1] for model in models], long)
        mean = spearman([model.short[0] + model.short[1] for model in models], long)
        print(f"    seed 1 {second:.2f}, mean of both {mean:.2f}")
        result |= {"seed 1": second, "mean": mean}
    right, pairs = pairs_in_order(short, long)
    print(
        f"    {right} of {pairs} pairs with long runs more than {LEAST_GAP} apart ordered correctly"
    )
    result |= {"pairs": pairs, "pairs right": right}
    noise = seed_noise([model.short for model in models])
    if noise is not None:
        between = float(np.std(short, ddof=1))
        long_noise = seed_noise([model.long for model in models]) or noise
        ceiling = noise_ceiling(short, long, noise.sd, long_noise.sd)
        print(
            f"    seed sd {noise.sd:.4f} ({noise.low:.4f} to {noise.high:.4f}), of long runs "
            f"{long_noise.sd:.4f}, sd between architectures {between:.4f} bits/byte; "
            f"a perfect proxy would reach {ceiling or 0:.3f}"
        )
        result |= {"seed sd": noise.sd, "long sd": long_noise.sd, "sd": between, "ceiling": ceiling}
    for name, values in (
        ("parameters outside the embedding", [-float(model.non_embedding) for model in models]),
        ("all parameters", [-float(model.parameters) for model in models]),
    ):
        print(f"    by {name}: {correlation_with_interval(values, long)}")
        result[name] = spearman(values, long)
    return result


def places_too_high(models: Sequence[RankedLayout]) -> dict[str, float]:
    """Return by how many places the short run ranks a kind of layout too high, on average."""
    off = ranks([model.long[0] for model in models]) - ranks([model.short[0] for model in models])
    by_kind: dict[str, list[float]] = defaultdict(list)
    for model, places in zip(models, off, strict=True):
        by_kind[kind_of(model.layout)].append(float(places))
    return {kind: float(np.mean(by_kind[kind])) for kind in KINDS if by_kind[kind]}


def picture(models: Sequence[RankedLayout]) -> str:
    """Plot the losses of short and long runs, coloured by kind of layout, as an SVG."""
    colours = dict(zip(KINDS, ("#d55e00", "#56b4e9", "#cc79a7", "#009e73"), strict=True))
    chart = Chart(
        x_axis=Axis(
            values=[model.short[0] for model in models], label=f"bits/byte after {SHORT:,} tokens"
        ),
        y_axis=Axis(
            values=[model.long[0] for model in models], label=f"bits/byte after {LONG:,} tokens"
        ),
    )
    marks = []
    for model in models:
        kind = kind_of(model.layout)
        x, y = chart.x(model.short[0]), chart.y(model.long[0])
        filled = colours[kind] if not model.held_out else "white"
        marks.append(
            f'<circle cx="{x}" cy="{y}" r="4.5" fill="{filled}" stroke="{colours[kind]}" '
            f'stroke-width="1.5"><title>{escape(model.layout)}</title></circle>'
        )
        if kind in KINDS[:2]:
            marks.append(
                f'<text x="{x - 8}" y="{y + 4}" text-anchor="end">{escape(model.layout)}</text>'
            )
    return chart.svg(marks, colours, "open: held out")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    models = ranked_layouts()
    result: dict[str, object] = {}
    for family in ("matched", "drawn"):
        of_family = [model for model in models if model.family == family]
        for title, part in (
            (family, of_family),
            (f"{family}, held out", [model for model in of_family if model.held_out]),
        ):
            if len(part) > 3:
                result[title] = report(part, title)
        if len(of_family) > 3:
            places = places_too_high(of_family)
            print(
                "    places ranked too high: "
                + ", ".join(f"{k} {v:+.1f}" for k, v in places.items())
            )
            result[f"{family}, places"] = places
    if options.picture is not None:
        options.picture.write_text(picture([m for m in models if m.family == "matched"]))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
