"""Record short and long trainings of layouts of one size on technical English.

    apt-get download linux-doc-6.1 perl-doc python3.11-doc
    for package in *.deb; do dpkg-deb --extract $package docs; done
    python benchmarks/english_runs.py docs/usr/share [--processes 2]

All layouts have eight layers, a width of 96 and 0.9 million parameters outside the embedding
(`matched` in proxy_training.py), and read none of the text twice. Every row of
benchmarks/data/english_runs.jsonl is one training: the layout, the token budget, the seed, the
learning curve, and the losses at its end. A training that is in the table is not repeated, so the
command resumes where it stopped. Rows marked `held_out` must not be used for any design decision.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from proxy_training import VOCABULARY, matched

from evaluators.text.corpus import read_corpus
from evaluators.text.tokenizer import encode, train_tokenizer
from evaluators.training.text_training import train
from evaluators.training.tokenized_text import TokenizedText
from evaluators.training.training_settings import TrainingSettings

TABLE = Path(__file__).parent / "data" / "english_runs.jsonl"
DOCUMENTS = (
    "doc/linux-doc-6.1/html/_sources/**/*.txt",
    "doc/python3.11/html/_sources/**/*.txt",
    "perl/5.36.0/pod/*.pod",
)
SHORT, LONG = 800_000, 6_400_000
# Blocks of held-out text that are scored at the end, as many as after the longest trainings of a
# study, and before the end.
BLOCKS, EARLY_BLOCKS = 256, 24

# These have long trainings on similar text in technical_english.jsonl.
TRAINED_ELSEWHERE = (
    *("aaaacccc", "aaccccaa", "accccccc", "cacacaca", "cacccccc", "ccaccacc", "cccccacc"),
    *("ccccccca", "cccccccs", "cclcclca", "lalalala", "saaaaaas", "sccsccsa"),
    *("a-------", "c-a-c-a-", "cccc----"),
)
THROUGHOUT = ("aaaaaaaa", "ssssssss", "asasasas", "ssaassaa")
WITHOUT_ATTENTION = ("cccccccc", "llllllll", "clclclcl", "cccclccl")
DRAWN = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    layout: str
    held_out: bool
    tokens: int
    seed: int

    @property
    def key(self) -> tuple[str, int, int]:
        return self.layout, self.tokens, self.seed


def layouts() -> list[str]:
    """Return the layouts; the last are hybrids drawn at random.

    Half of the layers of the hybrids are short convolutions, on average.
    """
    generator = np.random.default_rng(16)
    hybrids: list[str] = []
    while len(hybrids) < DRAWN:
        layout = "".join(generator.choice(list("casl"), 8, p=(0.5, 0.2, 0.15, 0.15)))
        if layout not in hybrids and {"a", "s"} & set(layout) and {"c", "l"} & set(layout):
            hybrids.append(layout)
    special = [each for pair in zip(THROUGHOUT, WITHOUT_ATTENTION, strict=True) for each in pair]
    return [*TRAINED_ELSEWHERE, *special, *hybrids]


def runs() -> Iterator[Run]:
    """Yield all trainings, the most informative ones first; every second layout is held out."""
    found = list(enumerate(layouts()))
    elsewhere, others = found[: len(TRAINED_ELSEWHERE)], found[len(TRAINED_ELSEWHERE) :]
    for number, layout, tokens in (
        *((number, layout, SHORT) for number, layout in elsewhere),
        *((number, layout, tokens) for number, layout in others for tokens in (SHORT, LONG)),
        *((number, layout, LONG) for number, layout in elsewhere),
    ):
        yield Run(layout=layout, held_out=number % 4 in (1, 2), tokens=tokens, seed=0)


@cache
def text_of(folder: Path) -> TokenizedText:
    """Return the tokens of the documents that were unpacked to a folder."""
    corpus = read_corpus(tuple(str(folder / pattern) for pattern in DOCUMENTS))
    tokenizer = train_tokenizer(corpus.training, VOCABULARY, print)
    return TokenizedText(
        training=encode(tokenizer, corpus.training, print),
        validation=encode(tokenizer, corpus.held_out[:BLOCKS], print),
        token_bytes=tokenizer.token_bytes,
        early=len(encode(tokenizer, corpus.held_out[:EARLY_BLOCKS], print)),
    )


def train_row(run: Run, folder: Path) -> dict[str, Any]:
    """Train a layout and return its row of the table."""
    settings = TrainingSettings(token_budget=run.tokens, seed=run.seed)
    text = text_of(folder)
    started = time.perf_counter()
    result = train(matched(run.layout), text, settings, lambda _: None)
    return {
        **asdict(run),
        "seconds": round(time.perf_counter() - started, 1),
        "curve": [[point.tokens, round(point.loss, 5)] for point in result.curve],
        "loss": {name: round(value, 5) for name, value in asdict(result.loss).items()},
    }


def rows() -> list[dict[str, Any]]:
    """Return the rows of the table."""
    if not TABLE.exists():
        return []
    return [json.loads(line) for line in TABLE.read_text().splitlines()]


def main() -> None:
    """Train what is missing in the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the packages were unpacked: …/usr/share")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    done = {(row["layout"], row["tokens"], row["seed"]) for row in rows()}
    missing = [run for run in runs() if run.key not in done]
    text_of(options.folder)  # fills the cache, so that the processes do not all read the documents
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=spawn) as pool, TABLE.open("a") as table:
        trainings = [pool.submit(train_row, run, options.folder) for run in missing]
        for finished in as_completed(trainings):
            row = finished.result()
            table.write(json.dumps(row) + "\n")
            table.flush()
            print(
                f"{row['layout']} seed {row['seed']} {row['tokens']:10,} "
                f"{row['loss']['whole']:.4f} {row['seconds']} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
