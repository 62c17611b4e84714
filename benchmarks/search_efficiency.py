"""Compare how many trials samplers need to find the front of a study, in simulated searches.

    python benchmarks/search_efficiency.py [--table benchmarks/data/losses_quickstart.jsonl]
        [--space quickstart] [--seeds 30] [--trials 200] [--samplers known-costs,tpe,random]
        [--processes 2] [--truth forest] [--without-limits] [--json FILE] [--picture FILE]

The losses come from a table with one JSON object per line: `architecture` at full size and `loss`,
once per training. `--truth forest` fits a forest to them, `--truth table` reads them directly from
a table that contains the whole space, and `--truth chance` gives each architecture a random loss,
which no sampler can predict. Times and memory come from a regression that is fitted to
benchmarks/data/latencies_edge_350m.jsonl. Samplers see all scores with noise; what they found is
judged without it. Candidates above a limit of the study count as trials. Draws that a rule of the
space rejects do not.

`--samplers` also accepts `known-costs` without one of its parts; see `search_variants.py`.

Ctrl-C ends the comparison with the seeds with which every sampler has run.

The hypervolume has its reference point at the limits of the study, and where there is none, at the
worst of 1,000 random architectures. Fractions are of the hypervolume that all runs together found.
"""

import argparse
import json
import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from search_picture import picture
from search_report import heading, print_report, summarise
from search_simulation import (
    SimulatedRun,
    legal_architectures,
    simulate,
    true_objectives,
)
from search_statistics import best_known, hypervolume_curve
from search_truth import (
    MEASUREMENT_NOISE,
    ChanceLosses,
    ForestLosses,
    LossTable,
    LossTruth,
    RecordedLosses,
    Truth,
    read_losses,
)
from search_variants import NAMES

from evaluators.scores import LOSS
from studies.search.samplers import SAMPLERS
from studies.spec.study_file import read_spec
from studies.spec.study_spec import StudySpec, asked_scores

_TABLE = Path(__file__).parent / "data" / "losses_quickstart.jsonl"
# With three objectives and a limit, one proposal of Optuna's Gaussian process can take a minute.
_SAMPLERS = ",".join(name for name in SAMPLERS if name != "gp")
_RANDOM_ARCHITECTURES = 1_000
_TRUTHS: Mapping[str, Callable[[LossTable], LossTruth]] = {
    "forest": ForestLosses,
    "table": RecordedLosses,
    "chance": ChanceLosses,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all runs of one comparison share; it is sent to the processes.

    Attributes:
        spec: The study.
        table: The path of the table of losses.
        truth: `forest`, `table` or `chance`.
        trials: The number of trials of each run.
    """

    spec: StudySpec
    table: Path
    truth: str
    trials: int


def main() -> None:
    options = _options()
    # Otherwise every process would use all cores for its small matrices.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    try:
        spec = read_spec(options.space)
        if LOSS not in [objective.name for objective in spec.objectives]:
            raise ValueError(f"objectives: {LOSS!r} is not among them")
        setting = Setting(
            spec=_without_limits(spec) if options.without_limits else spec,
            table=options.table,
            truth=options.truth,
            trials=options.trials,
        )
        table = read_losses(setting.table)
        losses = _loss_truth(setting, table)
        truth = _truth(setting, table, losses)
        sample = random_objectives(setting.spec, truth)
        reference = reference_point(setting.spec, sample)
        facts = {
            **_facts(setting, table, losses, truth),
            "within_limits": float(np.mean(np.isfinite(sample).all(axis=1))),
            "reference_point": reference,
        }
        print(heading(facts), flush=True)
        runs = run_all(setting, options.samplers, options.seeds, options.processes)
    except OSError as error:
        raise SystemExit(f"error: {error.filename}: {error.strerror}") from None
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
    best = best_known([run.values for run in runs], reference)
    if best <= 0:
        raise SystemExit("error: no run found a candidate within the limits")
    curves = curves_of(runs, reference, best)
    lines = summarise(
        runs,
        curves,
        startup=setting.spec.sampler.startup_trials,
        reference=reference,
        best=best,
    )
    print_report(lines, curves)
    if options.picture is not None:
        options.picture.write_text(picture(curves))
    if options.json is not None:
        document = {
            **facts,
            "best_known_hypervolume": best,
            "samplers": [asdict(line) for line in lines],
            "curves": {name: np.round(table, 5).tolist() for name, table in curves.items()},
            "seconds": {
                name: [np.round(run.seconds, 4).tolist() for run in runs if run.sampler == name]
                for name in curves
            },
        }
        options.json.write_text(json.dumps(document) + "\n")


def random_objectives(spec: StudySpec, truth: Truth) -> NDArray[np.float64]:
    """Return the noiseless objectives of random legal architectures, (1000, M).

    They are infinite for architectures above a limit of the study.
    """
    return true_objectives(spec, truth, legal_architectures(spec, _RANDOM_ARCHITECTURES))


def reference_point(spec: StudySpec, sample: NDArray[np.float64]) -> list[float]:
    """Return the reference point of the hypervolume, one value per objective.

    It lies at the limits of the study and, where there is none, at the worst value in a sample.

    Args:
        spec: The study.
        sample: The objectives of random architectures, (N, M); infinite above a limit.

    Raises:
        ValueError: No architecture of the sample is within the limits of the study.
    """
    values = sample[np.isfinite(sample).all(axis=1)]
    if not len(values):
        raise ValueError(f"limits: none of {len(sample)} random architectures is within them")
    return [
        float(worst) if objective.max is None else objective.max
        for objective, worst in zip(spec.objectives, values.max(axis=0), strict=True)
    ]


def run_all(
    setting: Setting, samplers: Sequence[str], seeds: int, processes: int
) -> list[SimulatedRun]:
    """Run every sampler with every seed, in parallel processes.

    Ctrl-C ends this early.

    Returns:
        The runs, sorted by sampler as given and then by seed. After Ctrl-C, they are those of the
        seeds with which every sampler has run.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed before every sampler had run with any seed.
    """
    spawn = multiprocessing.get_context("spawn")
    runs: list[SimulatedRun] = []
    with ProcessPoolExecutor(processes, spawn, _prepare, (setting,)) as pool:
        # All samplers of one seed come first, so that Ctrl-C leaves complete comparisons.
        jobs = [pool.submit(_run, sampler, seed) for seed in range(seeds) for sampler in samplers]
        try:
            for job in as_completed(jobs):
                run = job.result()
                runs.append(run)
                print(
                    f"{len(runs)}/{len(jobs)}: {run.sampler}, seed {run.seed}, "
                    f"{np.mean(run.seconds):.2f} s per proposal",
                    file=sys.stderr,
                    flush=True,
                )
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()  # a run takes minutes
            counts = Counter(run.seed for run in runs)
            runs = [run for run in runs if counts[run.seed] == len(samplers)]
            if not (isinstance(error, KeyboardInterrupt) and runs):
                raise
            done = len(runs) // len(samplers)
            print(f"stopped after {done} of {seeds} seeds", file=sys.stderr, flush=True)
    return sorted(runs, key=lambda run: (samplers.index(run.sampler), run.seed))


def curves_of(
    runs: Sequence[SimulatedRun], reference: Sequence[float], best: float
) -> dict[str, NDArray[np.float64]]:
    """Return the hypervolume after each trial by sampler, as a fraction of the best known one."""
    names = dict.fromkeys(run.sampler for run in runs)
    return {
        name: np.array(
            [hypervolume_curve(run.values, reference) / best for run in runs if run.sampler == name]
        )
        for name in names
    }


_prepared: tuple[Setting, Truth] | None = None


def _prepare(setting: Setting) -> None:
    """Build the truth once per process, and leave Ctrl-C to the main process."""
    global _prepared
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    table = read_losses(setting.table)
    _prepared = setting, _truth(setting, table, _loss_truth(setting, table))


def _run(sampler: str, seed: int) -> SimulatedRun:
    assert _prepared is not None
    setting, truth = _prepared
    return simulate(setting.spec, truth, sampler, seed, setting.trials)


def _loss_truth(setting: Setting, table: LossTable) -> LossTruth:
    return _TRUTHS[setting.truth](table)


def _truth(setting: Setting, table: LossTable, losses: LossTruth) -> Truth:
    names = asked_scores(setting.spec)
    return Truth(names, losses, table.seed_noise, setting.spec.target.deployment)


def _without_limits(spec: StudySpec) -> StudySpec:
    objectives = tuple(each.model_copy(update={"max": None}) for each in spec.objectives)
    return spec.model_copy(update={"objectives": objectives, "constraints": ()})


def _facts(setting: Setting, table: LossTable, losses: LossTruth, truth: Truth) -> dict[str, Any]:
    return {
        "study": setting.spec.name,
        "objectives": {each.name: each.max for each in setting.spec.objectives},
        "constraints": {each.name: each.max for each in setting.spec.constraints},
        "startup_trials": setting.spec.sampler.startup_trials,
        "trials": setting.trials,
        "table": setting.table.name,
        "trainings": table.rows,
        "architectures": len(table.losses),
        "truth": setting.truth,
        "rank_correlation": losses.rank_correlation() if isinstance(losses, ForestLosses) else None,
        "seed_noise": table.seed_noise,
        "seed_noise_is_recorded": table.is_recorded,
        "deviations_from_regression": truth.cost_errors,
        "measurement_noise": MEASUREMENT_NOISE,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--table", type=Path, default=_TABLE, help="recorded losses (JSON lines)")
    parser.add_argument("--space", default="quickstart", help="a study file or an included study")
    parser.add_argument("--seeds", type=_positive, default=30)
    parser.add_argument("--trials", type=_positive, default=200)
    parser.add_argument("--samplers", type=_names, default=_SAMPLERS, help="separated by commas")
    parser.add_argument("--processes", type=_positive, default=2)
    parser.add_argument("--truth", choices=list(_TRUTHS), default="forest")
    parser.add_argument(
        "--without-limits", action="store_true", help="ignore the limits of the study"
    )
    parser.add_argument("--picture", type=Path, help="the file to draw the curves to, as an SVG")
    parser.add_argument("--json", type=Path, help="the file to write all results to")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    if not all(names) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of different names")
    for name in names:
        if name not in NAMES:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(NAMES)}")
    return names


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


if __name__ == "__main__":
    main()
