"""Compare rankings from shared or inherited weights with those from training each layout alone.

    python benchmarks/shared_network.py shared [--tokens 4800000] [--draws balanced|even] [--seed 0]
    python benchmarks/shared_network.py tuned [--tokens 4800000] [--own-tokens 51200] [--rate 0.5]
    python benchmarks/shared_network.py neighbours [--own-tokens 100000] [--rate 0.5]
    python benchmarks/shared_network.py report

The layouts are those of benchmarks/long_runs.py with eight layers, width 96 and 0.9 million
non-embedding parameters; its table provides the correct ranking. `shared` trains one network and
scores each layout with the weights that it inherits. `tuned` trains each layout further for a
while. `neighbours` trains five layouts from scratch for 400,000 tokens; the others start with the
weights of the nearest of the five. Each of them adds a row with its CPU seconds to
benchmarks/data/shared_network.jsonl; trained networks are cached. `report` compares the rows; its
last line is one JSON document.
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
from ranking import RankedLayout, kind_of, ranked_layouts, ranks

from evaluators.evaluator import Progress
from evaluators.quality.shared_network import SharedNetwork, balanced_layouts, train_shared
from evaluators.text.cache_files import cache_folder
from evaluators.training.recipe import Recipe, make_optimizer, set_rate
from evaluators.training.step import TrainingStep
from evaluators.training.text_training import score, train_model
from evaluators.training.tokenized_text import mixed_windows
from evaluators.training.torch_context import computing
from evaluators.training.training_settings import TrainingSettings
from search_space.architecture import Architecture
from search_space.torch_model import LanguageModel

FOUND = Path(__file__).parent / "data" / "shared_network.jsonl"
LETTERS = "casl-"
WIDTH, DEPTH = 96, 8
LAYOUTS = tuple(layout for layout, width in (*CHOSEN_BY, *HELD_OUT) if width == WIDTH)
PARENTS = ("cccccccc", "aaaaaaaa", "llllllll", "ssssssss", "cacacaca")
# The tokens that a long run reads, and one to predict.
TEXT_TOKENS = 3_200_001


def shared(
    letters: str, tokens: int, draws: Literal["balanced", "even"], seed: int
) -> SharedNetwork:
    """Train a network that all layouts share, or load it from the cache.

    Args:
        letters: The mixers that are drawn.
        tokens: The token budget.
        draws: `balanced` uses `balanced_layouts`; `even` draws every layer independently, with all
            mixers equally often.
        seed: The seed of the training and the draws.
    """

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
    train_shared(network, candidate, text_of(TEXT_TOKENS), settings, file, print_progress)
    return network


def sized(layout: str) -> Architecture:
    return architecture_of(layout, WIDTH, feed_forward_width("".join(sorted(layout))))


@cache
def feed_forward_width(letters: str) -> int:
    return matched(letters, WIDTH, PARAMETERS).layers[0].feed_forward_width


def train_further(model: LanguageModel, tokens: int, rate: float) -> None:
    """Continue training at a fraction of the recipe's rates, on the text in another order."""
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


def inherit_weights(parent: LanguageModel, layout: str) -> LanguageModel:
    """Return a model that starts with its parent's weights where names and channels match."""
    model = LanguageModel(sized(layout))
    model.initialise(0)
    theirs = dict(parent.state_dict())
    for name, weight in model.state_dict().items():
        if name in theirs:
            part = tuple(map(slice, map(min, weight.shape, theirs[name].shape)))
            weight[part].copy_(theirs[name][part])
        elif name.endswith("out_proj.weight"):
            weight.zero_()  # as the recipe initialises a new layer
    return model


def loss_of(model: LanguageModel) -> float:
    return score(model, text_of(TEXT_TOKENS), TrainingSettings(), print).whole


def score_all(model_of: Callable[[str], LanguageModel]) -> dict[str, float]:
    return {layout: round(loss_of(model_of(layout)), 5) for layout in LAYOUTS}


def print_progress(progress: Progress) -> None:
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
            train_model(parents[layout], text_of(TEXT_TOKENS), settings, print_progress)

        def model_of(layout: str) -> LanguageModel:
            if layout in parents:
                return parents[layout]
            model = inherit_weights(parents[neighbour(layout)], layout)
            train_further(model, options.own_tokens, options.rate)
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
                train_further(model, options.own_tokens, options.rate)
            return model

    common = time.process_time() - started
    losses = score_all(model_of)
    each = (time.process_time() - started - common) / len(LAYOUTS)
    costs = {"common_seconds": round(common, 1), "seconds_each": round(each, 2)}
    keep(named | costs | {"losses": losses})


def report() -> None:
    models = [
        each for each in ranked_layouts() if each.family == "matched" and each.layout in LAYOUTS
    ]
    short = {each.layout: each.short[0] for each in models}
    rows: list[dict[str, Any]] = [{"way": "scratch", "tokens": SHORT, "losses": short}]
    rows += [json.loads(line) for line in FOUND.read_text().splitlines()]
    for row in rows:
        row["spearman"] = {
            name: agreement(part, row["losses"])
            for name, part in (
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
            print(f"    {kind}: ranked too low by {places:+.1f} places")
    print(f"{'layout':10}{'long':>8}" + "".join(f"{row['way']:>12}" for row in rows))
    for each in sorted(models, key=lambda each: each.long[0]):
        losses = "".join(f"{row['losses'][each.layout]:12.4f}" for row in rows)
        print(f"{each.layout:10}{each.long[0]:8.4f}{losses}")
    print(json.dumps({"layouts": len(models), "rows": rows}))


def agreement(models: Sequence[RankedLayout], losses: dict[str, float]) -> float:
    return spearman([each.long[0] for each in models], [losses[each.layout] for each in models])


def misplaced(models: Sequence[RankedLayout], losses: dict[str, float]) -> dict[str, float]:
    """Return by how many places each kind of layout is ranked too low, on average."""
    too_low = ranks([losses[each.layout] for each in models]) - ranks(
        [each.long[0] for each in models]
    )
    kinds = np.array([kind_of(each.layout) for each in models])
    return {kind: float(too_low[kinds == kind].mean()) for kind in sorted(set(kinds))}


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
