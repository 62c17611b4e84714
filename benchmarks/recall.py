"""Compare the recall errors of layouts with their losses on text.

    python benchmarks/recall.py [--layouts cccccccc ccccccca ...] [--seeds 2] [--processes 1]

For layouts of eight layers with 0.9 million non-embedding parameters, prints the recall error with
every seed, and the losses on text after 400,000 and 3.2 million tokens that
benchmarks/data/long_runs.jsonl contains. One CPU core needs about ten seconds per row and seed. The
last line is one JSON document.
"""

import argparse
import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from long_runs import LONG, SHORT, rows
from proxy_training import matched

from evaluators.evaluator import Score
from evaluators.quality.recall import Recall, RecallSettings
from evaluators.quality.recall_probe import RecallProbe

LAYOUTS = (
    *("--------", "cccccccc", "ssssssss", "llllllll", "accccccc", "ccccccca", "ccaccaca"),
    *("cacacaca", "aaaaaaaa"),
)
# The context length of training on text; attention windows of `matched` are a quarter of it.
CONTEXT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    layout: str
    probe: RecallProbe
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    score: Score
    seconds: float


def run_probe(job: Job) -> Result:
    settings = RecallSettings(
        target_context=CONTEXT, width_share=1.0, probe=job.probe, seed=job.seed
    )
    found = Recall(settings).evaluate(matched(job.layout), lambda _: None)
    return Result(score=found.scores[0], seconds=found.seconds)


def losses(layout: str, tokens: int) -> str:
    """Return the mean loss over seeds, or a dash if there is none."""
    found = [
        row["curve"][-1][1]
        for row in rows()
        if (row["layout"], row["tokens"], row["family"]) == (layout, tokens, "matched")
    ]
    return f"{sum(found) / len(found):.3f}" if found else "-"


def table(layouts: Sequence[str], seeds: int, processes: int, probe: RecallProbe) -> object:
    jobs = [
        Job(layout=layout, probe=probe, seed=seed) for layout in layouts for seed in range(seeds)
    ]
    document = []
    heading = "".join(f"   seed {seed} (95 %)     " for seed in range(seeds))
    print(f"{'layout':10}{'loss':>8}{'long':>8}{heading}{'s':>6}", flush=True)
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        found = pool.map(run_probe, jobs)
        for layout in layouts:
            results = [next(found) for _ in range(seeds)]
            errors = "".join(
                f"   {each.score.value:.3f} ({each.score.low:.3f}-{each.score.high:.3f})"
                for each in results
            )
            seconds = sum(each.seconds for each in results) / seeds
            texts = f"{losses(layout, SHORT):>8}{losses(layout, LONG):>8}"
            print(f"{layout:10}{texts}{errors}{seconds:6.0f}", flush=True)
            values = [each.score.value for each in results]
            document.append({"layout": layout, "recall_errors": values})
    return document


def main() -> None:
    standard = RecallProbe()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--layouts", nargs="+", default=LAYOUTS)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--processes", type=int, default=1)
    for name in ("pairs", "vocabulary", "length", "token_budget"):
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=int, default=getattr(standard, name)
        )
    options = parser.parse_args()
    probe = RecallProbe(
        pairs=options.pairs,
        vocabulary=options.vocabulary,
        length=options.length,
        token_budget=options.token_budget,
    )
    print(json.dumps(table(options.layouts, options.seeds, options.processes, probe)))


if __name__ == "__main__":
    main()
