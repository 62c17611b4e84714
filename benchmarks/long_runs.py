"""Record short and long training runs of many architectures in a table, to evaluate ideas against.

    python benchmarks/long_runs.py [--processes 2]

There are two sets: `matched`, layouts with the same number of non-embedding parameters, so that
only the choice and order of the mixers makes a difference; and `drawn`, architectures of all sizes,
drawn at random from the quickstart space. Every row of benchmarks/data/long_runs.jsonl is one
training: the model trained, the full-size architecture that it represents, the token budget, the
seed and the whole learning curve. A training that is in the table is not repeated, so the command
resumes where it stopped. Rows marked `held_out` must not be used for any design decision.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from proxy_training import matched, model, text_of

from evaluators.training.text_training import train
from evaluators.training.training_settings import TrainingSettings
from search_space.architecture import Architecture, architecture_hash, to_json
from search_space.proxy import proxy_of
from search_space.space.encoding import RandomSuggester, draw
from search_space.space.space_definition import broken_rule
from studies.spec.study_file import read_spec

TABLE = Path(__file__).parent / "data" / "long_runs.jsonl"
SHORT, LONG = 400_000, 3_200_000
RUNGS = tuple(eighth / 8 for eighth in range(1, 8))
PARAMETERS = 900_000

# Layouts and widths. The first were used for design decisions, the others were held out.
CHOSEN_BY = (
    *(("ccccccaa", 96), ("cclcclca", 96), ("cacacaca", 96), ("ccsccscc", 96), ("aaaacccc", 96)),
    *(("ccaccacc", 96), ("aacccccc", 96), ("accccccc", 96), ("aaaaaaaa", 96), ("cccccccc", 96)),
    *(("llllllll", 96), ("ccccccca", 96)),
)
HELD_OUT = (
    *(("acacccsc", 96), ("ccccaccc", 96), ("cscscsca", 96), ("llallall", 96), ("ssssssss", 96)),
    *(("c-a-c-a-", 96), ("aclsaclc", 96), ("sccsccsa", 96)),
    *(("ccacca", 112), ("acca", 144), ("ccacaccaccac", 80), ("aacclcclccca", 80)),
)
DRAWN, DRAWN_FOR_LONG = 40, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An architecture at full size and its proxy; family: `matched` or `drawn`."""

    family: str
    held_out: bool
    deployed: Architecture
    proxy: Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    model: Model
    tokens: int
    seed: int

    @property
    def key(self) -> tuple[str, int, int]:
        return architecture_hash(self.model.proxy), self.tokens, self.seed


def matched_models() -> list[Model]:
    models = []
    for held_out, layouts in ((False, CHOSEN_BY), (True, HELD_OUT)):
        for layout, width in layouts:
            proxy = matched(layout, width, PARAMETERS)
            feed_forward_width = proxy.layers[0].feed_forward_width
            deployed = model(layout, 4 * width, 4 * feed_forward_width, head_dim=64)
            models.append(
                Model(family="matched", held_out=held_out, deployed=deployed, proxy=proxy)
            )
    return models


def drawn_models() -> list[Model]:
    """Draw architectures that break no rule of the quickstart study; every second is held out."""
    spec = read_spec("quickstart")
    suggester = RandomSuggester(np.random.default_rng(0))
    deployed: list[Architecture] = []
    while len(deployed) < DRAWN:
        architecture = draw(spec.space, suggester)
        if broken_rule(architecture, spec.space, spec.target.quantization) is None:
            deployed.append(architecture)
    return [
        Model(
            family="drawn",
            held_out=number % 2 == 1,
            deployed=architecture,
            proxy=proxy_of(architecture, spec.proxy.width_share),
        )
        for number, architecture in enumerate(deployed)
    ]


def runs() -> Iterator[Run]:
    """Yield all training runs, the most informative ones first."""
    of_one_size, drawn = matched_models(), drawn_models()
    for tokens, seed, models in (
        (SHORT, 0, of_one_size),
        (LONG, 0, of_one_size),
        (SHORT, 1, of_one_size),
        (SHORT, 0, drawn),
        (LONG, 0, drawn[:DRAWN_FOR_LONG]),
        (LONG, 1, of_one_size[::2]),
        (SHORT, 1, drawn[:DRAWN_FOR_LONG]),
    ):
        for trained in models:
            yield Run(model=trained, tokens=tokens, seed=seed)


def train_row(run: Run) -> dict[str, Any]:
    """Train a model and return its row of the table."""
    proxy = run.model.proxy
    settings = TrainingSettings(token_budget=run.tokens, seed=run.seed, rungs=RUNGS)
    text = text_of(settings.steps * settings.step_tokens + 1, proxy.vocab_size)
    started = time.perf_counter()
    curve = train(proxy, text, settings, lambda _: None).curve
    return {
        "family": run.model.family,
        "held_out": run.model.held_out,
        "layout": proxy.layout,
        "tokens": run.tokens,
        "seed": run.seed,
        "seconds": round(time.perf_counter() - started, 1),
        "curve": [[point.tokens, round(point.loss, 5)] for point in curve],
        "proxy": json.loads(to_json(proxy)),
        "deployed": json.loads(to_json(run.model.deployed)),
        "key": run.key,
    }


def rows() -> list[dict[str, Any]]:
    """Return the rows of the table."""
    if not TABLE.exists():
        return []
    return [json.loads(line) for line in TABLE.read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    done = {tuple(row["key"]) for row in rows()}
    missing = [run for run in runs() if run.key not in done]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=spawn) as pool, TABLE.open("a") as table:
        for finished in as_completed([pool.submit(train_row, run) for run in missing]):
            row = finished.result()
            table.write(json.dumps(row) + "\n")
            table.flush()
            tokens, loss = row["curve"][-1]
            print(
                f"{row['layout']:14} seed {row['seed']} {tokens:9,} {loss:.4f} {row['seconds']} s"
            )


if __name__ == "__main__":
    main()
