"""Examine short training runs: the best learning rates by model size, and how well they rank.

    python benchmarks/proxy_training.py rates [--widths 64 96 160 256] [--factors 0.25 0.5 1 2 4]
    python benchmarks/proxy_training.py corners [--factors 0.5 0.7 1 1.4 2]
    python benchmarks/proxy_training.py ranking [--short 400000] [--long 2800000]

`rates` multiplies one learning rate of the recipe at a time and prints the mean loss over five
layouts. `corners` multiplies all rates together, for small and large, shallow and deep models with
different mixers, and prints the factor between the recipe's rates and the best ones of each model.
`ranking` trains fourteen layouts of eight layers and 0.9 million non-embedding parameters, twice
with a short budget and once with a long one, and prints how well the two rankings agree.

All of them accept `--device cuda` and `--processes N`. One CPU core needs about 25 s for 400,000
tokens. The last line is one JSON document.
"""

import argparse
import json
import multiprocessing
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.stats import spearmanr

from evaluators.text.corpus import PYTHON, read_corpus
from evaluators.text.tokenizer import encode, train_tokenizer
from evaluators.training.recipe import Recipe
from evaluators.training.text_training import train
from evaluators.training.tokenized_text import TokenizedText
from evaluators.training.torch_device import Device
from evaluators.training.training_settings import TrainingSettings
from search_space.architecture import (
    Architecture,
    Attention,
    Layer,
    LinearAttention,
    Mixer,
    ShortConv,
)
from search_space.costs import parameter_counts

VOCABULARY = 1_024
HEAD_DIM = 16
FIVE = ("aaaaaaaa", "acacccsc", "ccaccaca", "cccccccc", "llclcclc")
FOURTEEN = (
    *("cscscsca", "ccccccaa", "cclcclca", "cacacaca", "ccsccscc", "aaaacccc", "ccaccacc"),
    *("aacccccc", "ccccccca", "ccccaccc", "accccccc", "aaaaaaaa", "cccccccc", "llllllll"),
)
RATES = ("matrix_rate", "vector_rate", "embedding_rate", "decay")
CORNERS = (
    *(("aaaaaa", 64), ("cccccccccc", 64), ("acccacccca", 64), ("llllll", 112), ("aaaaaaaaaa", 112)),
    *(("ccacca", 112), ("ccacccaccsca", 160), ("ccacccaccaccscca", 128)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    architecture: Architecture
    settings: TrainingSettings


def model(
    layout: str, width: int, feed_forward_width: int, head_dim: int = HEAD_DIM
) -> Architecture:
    heads = width // head_dim
    kv_heads = heads if heads % 2 else heads // 2
    attention = Attention(heads=heads, kv_heads=kv_heads, head_dim=head_dim)
    mixers: dict[str, Mixer | None] = {
        "-": None,
        "c": ShortConv(kernel=3),
        "a": attention,
        "s": replace(attention, window=64),
        "l": LinearAttention(heads=heads, key_dim=head_dim, value_dim=head_dim),
    }
    return Architecture(
        vocab_size=VOCABULARY,
        width=width,
        embedding_width=width,
        layers=tuple(
            Layer(mixer=mixers[letter], feed_forward_width=feed_forward_width) for letter in layout
        ),
    )


def matched(layout: str, width: int = 96, parameters: int = 900_000) -> Architecture:
    """Return the architecture whose number of non-embedding parameters is closest to `parameters`.

    Only the feed-forward width is adjusted.
    """

    def distance(architecture: Architecture) -> int:
        counts = parameter_counts(architecture)
        return abs(counts.total - counts.embedding - parameters)

    return min((model(layout, width, 8 * eighth) for eighth in range(1, 100)), key=distance)


@cache
def text_of(tokens: int, vocab_size: int = VOCABULARY) -> TokenizedText:
    """Return that many tokens of the sources of the standard library, with held-out text."""
    corpus = read_corpus(PYTHON)
    tokenizer = train_tokenizer(corpus.training, vocab_size, print)
    return TokenizedText(
        training=encode(tokenizer, corpus.training, print, at_least=tokens),
        validation=encode(tokenizer, corpus.held_out[:24], print),
        token_bytes=tokenizer.token_bytes,
    )


def final_loss(job: Job) -> float:
    text = text_of(job.settings.steps * job.settings.step_tokens + 1)
    return train(job.architecture, text, job.settings, lambda _: None).loss.whole


def losses(jobs: Sequence[Job], processes: int) -> list[float]:
    # Fill the cache of tokenised text first, so that the processes do not all do it.
    for budget in {job.settings.token_budget for job in jobs}:
        text_of(TrainingSettings(token_budget=budget).steps * jobs[0].settings.step_tokens + 1)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        return list(pool.map(final_loss, jobs))


def sweep_rates(
    widths: Sequence[int],
    factors: Sequence[float],
    layouts: Sequence[str],
    settings: TrainingSettings,
    processes: int,
) -> list[dict[str, object]]:
    grid = [(width, rate, factor) for width in widths for rate in RATES for factor in factors]
    jobs = [
        Job(
            architecture=model(layout, width, 16 * round(width / 6)),
            settings=replace(
                settings, recipe=Recipe(**{rate: factor * getattr(settings.recipe, rate)})
            ),
        )
        for width, rate, factor in grid
        for layout in layouts
    ]
    results = losses(jobs, processes)
    rows: list[dict[str, object]] = []
    print(f"{'width':>6}  {'rate':16}{'times':>7}{'mean':>9}   {'   '.join(layouts)}")
    for index, (width, rate, factor) in enumerate(grid):
        here = results[index * len(layouts) : (index + 1) * len(layouts)]
        each = "   ".join(f"{loss:8.3f}" for loss in here)
        print(f"{width:6}  {rate:16}{factor:7g}{statistics.fmean(here):9.4f}   {each}")
        rows.append({"width": width, "rate": rate, "factor": factor, "losses": here})
    return rows


def sweep_corners(
    factors: Sequence[float], settings: TrainingSettings, processes: int
) -> list[dict[str, object]]:
    jobs = [
        Job(
            architecture=model(layout, width, 16 * round(width / 6)),
            settings=replace(settings, recipe=with_rates_times(settings.recipe, factor)),
        )
        for layout, width in CORNERS
        for factor in factors
    ]
    results = losses(jobs, processes)
    rows: list[dict[str, object]] = []
    print(f"{'layout':14}{'width':>6}" + "".join(f"{factor:>9g}" for factor in factors) + "   best")
    for index, (layout, width) in enumerate(CORNERS):
        here = results[index * len(factors) : (index + 1) * len(factors)]
        best = best_factor(factors, here)
        print(f"{layout:14}{width:6}" + "".join(f"{loss:9.4f}" for loss in here) + f"{best:7.2f}")
        rows.append({"layout": layout, "width": width, "losses": here, "best": best})
    return rows


def with_rates_times(recipe: Recipe, factor: float) -> Recipe:
    return replace(
        recipe,
        matrix_rate=factor * recipe.matrix_rate,
        vector_rate=factor * recipe.vector_rate,
        embedding_rate=factor * recipe.embedding_rate,
    )


def best_factor(factors: Sequence[float], results: Sequence[float]) -> float:
    """Return the minimum of a parabola fitted over log factors, clipped to the factors tried."""
    curvature, slope, _ = np.polyfit(np.log(factors), results, 2)
    if curvature <= 0:
        return factors[int(np.argmin(results))]
    return float(np.clip(np.exp(-slope / 2 / curvature), min(factors), max(factors)))


def rank(
    short: int, long: int, settings: TrainingSettings, processes: int
) -> dict[str, dict[str, float]]:
    runs = {
        "long": replace(settings, token_budget=long),
        "seed 0": replace(settings, token_budget=short),
        "seed 1": replace(settings, token_budget=short, seed=1),
    }
    jobs = [
        Job(architecture=matched(layout), settings=run)
        for run in runs.values()
        for layout in FOURTEEN
    ]
    results = losses(jobs, processes)
    columns = {
        name: results[index * len(FOURTEEN) : (index + 1) * len(FOURTEEN)]
        for index, name in enumerate(runs)
    }
    print(f"{'layout':10}" + "".join(f"{name:>9}" for name in columns))
    for row in sorted(zip(FOURTEEN, *columns.values(), strict=True), key=lambda row: row[1]):
        print(f"{row[0]:10}" + "".join(f"{loss:9.4f}" for loss in row[1:]))
    long_run, first, second = columns.values()
    noise = statistics.fmean((a - b) ** 2 / 2 for a, b in zip(first, second, strict=True)) ** 0.5
    print(
        f"Spearman correlation of the long run with seed 0 {spearman(long_run, first):.2f} and "
        f"with seed 1 {spearman(long_run, second):.2f}, of seed 0 with seed 1 "
        f"{spearman(first, second):.2f}; seed sd {noise:.4f} bits/byte"
    )
    return {name: dict(zip(FOURTEEN, column, strict=True)) for name, column in columns.items()}


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    return float(spearmanr(one, other).statistic)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("question", choices=["rates", "corners", "ranking"])
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 96, 160, 256])
    parser.add_argument("--factors", type=float, nargs="+", default=[0.25, 0.5, 1.0, 2.0, 4.0])
    parser.add_argument("--layouts", nargs="+", default=FIVE)
    parser.add_argument("--short", type=int, default=400_000)
    parser.add_argument("--long", type=int, default=2_800_000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args()
    device: Device = options.device
    settings = TrainingSettings(token_budget=options.short, device=device)
    result: object
    if options.question == "rates":
        result = sweep_rates(
            options.widths, options.factors, options.layouts, settings, options.processes
        )
    elif options.question == "corners":
        result = sweep_corners(options.factors, settings, options.processes)
    else:
        result = rank(options.short, options.long, settings, options.processes)
    print(json.dumps({options.question: result}))


if __name__ == "__main__":
    main()
