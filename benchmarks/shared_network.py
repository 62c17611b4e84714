"""Whether weights that candidates share, or pass on, rank layouts better than training each alone.

    python benchmarks/shared_network.py shared [--tokens 4800000] [--draws balanced|even] [--seed 0]
    python benchmarks/shared_network.py tuned [--tokens 4800000] [--own-tokens 51200] [--rate 0.5]
    python benchmarks/shared_network.py neighbours [--own-tokens 100000] [--rate 0.5]
    python benchmarks/shared_network.py report

Layouts of eight layers and width 96 with 0.9 million parameters outside the embedding, of
benchmarks/long_runs.py, whose table is the truth. `shared` trains one network and scores each
layout by what it inherits; `tuned` trains each on for a while; in `neighbours` five are trained
from scratch for 400,000 tokens, and the others begin with the weights of that one of the five whose
layout is nearest. Each adds a row to benchmarks/data/shared_network.jsonl, with its CPU seconds;
networks are kept in the cache. `report` compares them; its last line is one JSON document.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from long_runs import CHOSEN_BY, HELD_OUT, PARAMETERS, SHORT
from proxy_training import matched, spearman, text_of
from proxy_training import model as architecture_of
from ranking import Judged, judged, kind_of, ranks

from evaluators.evaluator import Progress
from evaluators.quality.shared_network import SharedNetwork, balanced_layouts, train_shared
from evaluators.text.tokenizer import cache_folder
from evaluators.training.fit import (
    TrainingSettings,
    bits_per_byte,
    computing,
    mixed_windows,
    train_model,
)
from evaluators.training.recipe import Recipe, make_optimizer, set_rate
from evaluators.training.step import TrainingStep
from search_space.architecture import Architecture
from search_space.torch_model import LanguageModel

FOUND = Path(__file__).parent / "data" / "shared_network.jsonl"
LETTERS = "casl-"
WIDTH, DEPTH = 96, 8
LAYOUTS = tuple(layout for layout, width in (*CHOSEN_BY, *HELD_OUT) if width == WIDTH)
PARENTS = ("cccccccc", "aaaaaaaa", "llllllll", "ssssssss", "cacacaca")
# What the longest of the long runs reads.
TEXT_TOKENS = 3_200_001


def shared(
    letters: str, tokens: int, draws: Literal["balanced", "even"], seed: int
) -> SharedNetwork:
    """letters: those that are drawn. even: all alike at every layer, whatever the others are."""

    def candidate(step: int) -> Architecture:
        turn, place = divmod(step, len(letters))
        generator = np.random.default_rng((seed, turn))
        if draws == "balanced":
            return sized(balanced_layouts(tuple(letters), DEPTH, generator)[place])
        columns = [generator.permutation(list(letters)) for _ in range(DEPTH)]
        return sized("".join(column[place] for column in columns))

    network = SharedNetwork([sized(letter * DEPTH) for letter in LETTERS])
    settings = TrainingSettings(token_budget=tokens, seed=seed)
    file = cache_folder() / f"benchmark-network-{letters}-{tokens}-{draws}-{seed}.safetensors"
    train_shared(network, candidate, text_of(TEXT_TOKENS), settings, file, told)
    return network


def sized(layout: str) -> Architecture:
    return architecture_of(layout, WIDTH, feed_forward_width("".join(sorted(layout))))


@cache
def feed_forward_width(letters: str) -> int:
    return matched(letters, WIDTH, PARAMETERS).layers[0].feed_forward_width


def train_on(model: LanguageModel, tokens: int, rate: float) -> None:
    """From the weights that it has, at a share of the recipe's rates, on text in another order."""
    recipe = Recipe()
    recipe = replace(
        recipe,
        matrix_rate=rate * recipe.matrix_rate,
        vector_rate=rate * recipe.vector_rate,
        embedding_rate=rate * recipe.embedding_rate,
        decay=0.0,
    )
    settings = TrainingSettings(token_budget=tokens, seed=5, recipe=recipe)
    optimizer = make_optimizer(model, recipe, settings.steps)
    take_step = TrainingStep(model, optimizer, settings.device, recipe.largest_gradient)
    with computing(settings, print):
        windows = mixed_windows(text_of(TEXT_TOKENS).training, settings)
        for step, batch in enumerate(windows, start=1):
            set_rate(optimizer, recipe, step, settings.steps)
            take_step(batch)


def neighbour(layout: str) -> str:
    return min(PARENTS, key=lambda parent: sum(a != b for a, b in zip(parent, layout, strict=True)))


def handed_on(parent: LanguageModel, layout: str) -> LanguageModel:
    """A model that begins with its parent's weights, as far as names and channels are the same."""
    model = LanguageModel(sized(layout))
    model.initialise(0)
    theirs = dict(parent.state_dict())
    for name, weight in model.state_dict().items():
        if name in theirs:
            part = tuple(map(slice, map(min, weight.shape, theirs[name].shape)))
            weight[part].copy_(theirs[name][part])
        elif name.endswith("out_proj.weight"):
            weight.zero_()  # as a new layer begins in the recipe
    return model


def score(model: LanguageModel) -> float:
    settings = TrainingSettings()
    with computing(settings, print) as yield_to_measurements:
        return bits_per_byte(model, text_of(TEXT_TOKENS), settings, yield_to_measurements)


def scored(model_of: Callable[[str], LanguageModel]) -> dict[str, float]:
    return {layout: round(score(model_of(layout)), 5) for layout in LAYOUTS}


def told(progress: Progress) -> None:
    print(f"{progress.done:6.1%} {progress.text}", flush=True)


def keep(row: dict[str, Any]) -> None:
    with FOUND.open("a") as table:
        table.write(json.dumps(row) + "\n")
    print(row)


def run(options: argparse.Namespace) -> None:
    started = time.process_time()
    named: dict[str, Any] = {"way": options.way}
    if options.way == "neighbours":
        named |= {"own_tokens": options.own_tokens, "rate": options.rate}
        parents = {}
        for layout in PARENTS:
            parents[layout] = LanguageModel(sized(layout))
            settings = TrainingSettings(token_budget=SHORT, rungs=())
            train_model(parents[layout], text_of(TEXT_TOKENS), settings, told)

        def model_of(layout: str) -> LanguageModel:
            if layout in parents:
                return parents[layout]
            model = handed_on(parents[neighbour(layout)], layout)
            train_on(model, options.own_tokens, options.rate)
            return model

    else:
        named |= {
            "letters": options.letters,
            "tokens": options.tokens,
            "draws": options.draws,
            "seed": options.seed,
        }
        network = shared(options.letters, options.tokens, options.draws, options.seed)
        if options.way == "tuned":
            named |= {"own_tokens": options.own_tokens, "rate": options.rate}

        def model_of(layout: str) -> LanguageModel:
            model = network.extract(sized(layout))
            if options.way == "tuned":
                train_on(model, options.own_tokens, options.rate)
            return model

    common = time.process_time() - started
    losses = scored(model_of)
    each = (time.process_time() - started - common) / len(LAYOUTS)
    costs = {"common_seconds": round(common, 1), "seconds_each": round(each, 2)}
    keep(named | costs | {"losses": losses})


def report() -> None:
    models = [each for each in judged() if each.family == "matched" and each.layout in LAYOUTS]
    short = {each.layout: each.short[0] for each in models}
    rows: list[dict[str, Any]] = [{"way": "scratch", "tokens": SHORT, "losses": short}]
    rows += [json.loads(line) for line in FOUND.read_text().splitlines()]
    for row in rows:
        row["spearman"] = {
            name: agreement(chosen, row["losses"])
            for name, chosen in (
                ("all", models),
                ("held out", [each for each in models if each.held_out]),
                ("chosen by", [each for each in models if not each.held_out]),
            )
        }
        row["misplaced"] = misplaced(models, row["losses"])
        facts = {
            key: value
            for key, value in row.items()
            if key not in ("losses", "spearman", "misplaced", "way")
        }
        print(f"{row['way']}  " + "  ".join(f"{key} {value}" for key, value in facts.items()))
        for name, value in row["spearman"].items():
            print(f"    Spearman, {name}: {value:.2f}")
        for kind, places in row["misplaced"].items():
            print(f"    {kind}: {places:+.1f} places")
    print(f"{'layout':10}{'long':>8}" + "".join(f"{row['way']:>12}" for row in rows))
    for each in sorted(models, key=lambda each: each.long[0]):
        losses = "".join(f"{row['losses'][each.layout]:12.4f}" for row in rows)
        print(f"{each.layout:10}{each.long[0]:8.4f}{losses}")
    print(json.dumps({"layouts": len(models), "rows": rows}))


def agreement(models: Sequence[Judged], losses: dict[str, float]) -> float:
    return spearman([each.long[0] for each in models], [losses[each.layout] for each in models])


def misplaced(models: Sequence[Judged], losses: dict[str, float]) -> dict[str, float]:
    """By kind of layout the places that it is told to be too far behind, in the mean."""
    too_far = ranks([losses[each.layout] for each in models]) - ranks(
        [each.long[0] for each in models]
    )
    kinds = np.array([kind_of(each.layout) for each in models])
    return {kind: float(too_far[kinds == kind].mean()) for kind in sorted(set(kinds))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("way", choices=["shared", "tuned", "neighbours", "report"])
    parser.add_argument("--letters", default=LETTERS)
    parser.add_argument("--tokens", type=int, default=4_800_000)
    parser.add_argument("--draws", choices=["balanced", "even"], default="balanced")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--own-tokens", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=0.5)
    options = parser.parse_args()
    if options.way == "report":
        report()
    else:
        run(options)


if __name__ == "__main__":
    main()
