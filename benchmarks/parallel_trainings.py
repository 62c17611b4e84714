"""Compare the trainings per hour of several processes with those of one at a time.

    python benchmarks/parallel_trainings.py [--study quickstart] [--parallel 2] [--rounds 6]
        [--tokens 100000] [--seed 0] [--json FILE]

In each round, the proxies of four random candidates for each process are trained one after the
other by one process, and then by all of them. The order of the two alternates, so that drift of
the machine affects both alike. Both give equal losses, which is checked. The processes have
started, and the text is prepared, before the first round.

The trainings are shorter than those of a study, but their set-up takes as long.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from evaluators.jobs import Job
from evaluators.quality.proxy_loss import ProxyLoss
from evaluators.trainers import Trainers
from hardware.environment import read_environment
from hardware.progress import ignore_text
from nas.assembly import proxy_training, study_corpus
from nas.inputs.study_argument import read_study
from search_space.space.encoding import RandomSuggester, draw
from search_space.space.space_definition import broken_rule
from studies.search.concurrency import Work, carried_out, work_concurrently
from studies.search.interrupts import Interrupts
from studies.spec.study_spec import StudySpec

_JOBS_PER_PROCESS = 4


def main() -> None:
    """Run the rounds and print their ratios."""
    options = _options()
    spec = read_study(options.study, None)
    settings = proxy_training(spec, spec.seed)
    training = replace(settings.training, token_budget=options.tokens)
    loss = ProxyLoss(replace(settings, training=training), study_corpus(spec, ignore_text))
    jobs = _jobs(spec, loss, options.seed)
    parallel = options.parallel
    seconds: dict[str, list[float]] = {"one at a time": [], "parallel": []}
    with Trainers(1) as one, Trainers(parallel) as several:
        _train([next(jobs)], one)
        _train([next(jobs) for _ in range(parallel)], several)
        for number in range(options.rounds):
            round_jobs = [next(jobs) for _ in range(_JOBS_PER_PROCESS * parallel)]
            sides = [("one at a time", one), ("parallel", several)]
            losses = []
            for side, trainers in sides if number % 2 else reversed(sides):
                start = time.perf_counter()
                losses.append(_train(round_jobs, trainers))
                seconds[side].append(time.perf_counter() - start)
            assert losses[0] == losses[1], "a loss depends on the process that computes it"
            ratio = seconds["one at a time"][-1] / seconds["parallel"][-1]
            print(f"round {number + 1}: {ratio:.2f} times as many trainings per hour", flush=True)
    ratios = np.divide(seconds["one at a time"], seconds["parallel"])
    trainings = _JOBS_PER_PROCESS * parallel
    per_hour = {side: 3600 * trainings / statistics.median(each) for side, each in seconds.items()}
    low, high = np.quantile(ratios, [0.1, 0.9])
    print(
        f"{per_hour['parallel']:,.0f} trainings of {options.tokens:,} tokens per hour instead of "
        f"{per_hour['one at a time']:,.0f}: {np.median(ratios):.2f} times as many "
        f"(80 % of the rounds: {low:.2f} to {high:.2f})"
    )
    if options.json is not None:
        document = {
            "environment": asdict(read_environment("torch")),
            "parallel": parallel,
            "tokens": options.tokens,
            "seconds": seconds,
        }
        options.json.write_text(json.dumps(document))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--study", default="quickstart")
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _jobs(spec: StudySpec, loss: ProxyLoss, seed: int) -> Iterator[Job]:
    """Yield the trainings of random candidates of a study."""
    suggester = RandomSuggester(np.random.default_rng(seed))
    while True:
        architecture = draw(spec.space, suggester)
        if broken_rule(architecture, spec.space, spec.target.quantization) is None:
            yield loss.prepare(architecture, lambda _: None)


def _train(jobs: Sequence[Job], trainers: Trainers) -> list[float]:
    """Carry out jobs, as many at a time as there are trainers, and return their losses."""
    losses = [float("nan")] * len(jobs)

    def work(index: int, job: Job) -> Work[None]:
        evaluation = yield from carried_out(job, trainers, lambda _: None)
        losses[index] = evaluation.scores[0].value

    works = iter([work(index, job) for index, job in enumerate(jobs)])
    work_concurrently(lambda: next(works, None), trainers.count, Interrupts())
    return losses


if __name__ == "__main__":
    main()
