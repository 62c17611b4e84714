"""How the short trainings of long_runs.py rank against the long ones, and whom they misjudge.

    python benchmarks/ranking.py [--picture docs/ranking.svg]

Spearman with its interval as `nas confirm` tells it; pairs told right; what seed noise allows at
most; the baselines of parameters; and by kind of layout how many places too good (+) or bad (-) it
is told to be.
The last line is one JSON document.
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

# Bits per byte: three times what seeds make of one long run.
TELLING = 0.02
KINDS = ("all attention", "no attention", "attention first", "other hybrids")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An architecture, with its loss after a short and after a long run, by seed."""

    layout: str
    family: str
    held_out: bool
    parameters: int
    non_embedding: int
    short: dict[int, float]
    long: dict[int, float]


def judged() -> list[Judged]:
    """Every architecture of the table that was trained for long."""
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
                Judged(
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
    """From 1 for the least; ties share the mean of their places."""
    places: Values = rankdata(values)
    return places


def with_interval(one: Sequence[float], other: Sequence[float]) -> str:
    found = rank_correlation(one, other)
    assert found is not None
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def told_right(short: Sequence[float], long: Sequence[float]) -> tuple[int, int]:
    """How many pairs whose long runs lie apart the short runs put in order, and how many there are.

    Of pairs that lie closer the long runs themselves cannot tell.
    """
    pairs = np.triu_indices(len(long), 1)
    short_gaps, long_gaps = (np.subtract.outer(each, each)[pairs] for each in (short, long))
    apart = np.abs(long_gaps) > TELLING
    right = np.sign(short_gaps) == np.sign(long_gaps)
    return int((apart & right).sum()), int(apart.sum())


def kind_of(layout: str) -> str:
    attention = [letter in "as" for letter in layout]
    if all(attention):
        return "all attention"
    if not any(attention):
        return "no attention"
    return "attention first" if attention[0] else "other hybrids"


def report(models: Sequence[Judged], title: str) -> dict[str, object]:
    long = [model.long[0] for model in models]
    short = [model.short[0] for model in models]
    print(f"{title}: {len(models)} architectures, Spearman of short with long", end=" ")
    print(with_interval(short, long))
    result: dict[str, object] = {"count": len(models), "short": spearman(short, long)}
    if all(1 in model.short for model in models):
        second = spearman([model.short[1] for model in models], long)
        mean = spearman([model.short[0] + model.short[1] for model in models], long)
        print(f"    seed 1 {second:.2f}, mean of both {mean:.2f}")
        result |= {"seed 1": second, "mean": mean}
    right, pairs = told_right(short, long)
    print(f"    {right} of {pairs} pairs with long runs more than {TELLING} apart are told right")
    result |= {"pairs": pairs, "pairs right": right}
    noise = seed_noise([model.short for model in models])
    if noise is not None:
        between = float(np.std(short, ddof=1))
        long_noise = seed_noise([model.long for model in models]) or noise
        ceiling = noise_ceiling(short, long, noise.sd, long_noise.sd)
        print(
            f"    seed sd {noise.sd:.4f} ({noise.low:.4f} to {noise.high:.4f}), of long runs "
            f"{long_noise.sd:.4f}, sd between architectures {between:.4f} bits/byte; "
            f"noise allows {ceiling or 0:.3f}"
        )
        result |= {"seed sd": noise.sd, "long sd": long_noise.sd, "sd": between, "ceiling": ceiling}
    for name, values in (
        ("parameters outside the embedding", [-float(model.non_embedding) for model in models]),
        ("all parameters", [-float(model.parameters) for model in models]),
    ):
        print(f"    by {name}: {with_interval(values, long)}")
        result[name] = spearman(values, long)
    return result


def places_by_kind(models: Sequence[Judged]) -> dict[str, float]:
    """How many places too good the short run tells a kind to be, on average."""
    off = ranks([model.long[0] for model in models]) - ranks([model.short[0] for model in models])
    by_kind: dict[str, list[float]] = defaultdict(list)
    for model, places in zip(models, off, strict=True):
        by_kind[kind_of(model.layout)].append(float(places))
    return {kind: float(np.mean(by_kind[kind])) for kind in KINDS if by_kind[kind]}


def picture(models: Sequence[Judged]) -> str:
    """Short against long, by kind, as an SVG."""
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
    models = judged()
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
            places = places_by_kind(of_family)
            print("    places too good: " + ", ".join(f"{k} {v:+.1f}" for k, v in places.items()))
            result[f"{family}, places"] = places
    if options.picture is not None:
        options.picture.write_text(picture([m for m in models if m.family == "matched"]))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
