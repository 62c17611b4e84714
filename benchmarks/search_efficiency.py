"""Compare how many trials samplers need to find the front of a study, in simulated searches.

    python benchmarks/search_efficiency.py [--table benchmarks/data/losses_quickstart.jsonl]
        [--space quickstart] [--seeds 30] [--trials 200] [--samplers random,tpe,known-costs]
        [--processes 2] [--truth forest] [--without-limits] [--json FILE]

The losses come from a table with one JSON object per line: `architecture` at full size and `loss`,
once per training. `--truth forest` fits a forest to them, and `--truth table` reads them directly
from a table that contains the whole space. Times and memory come from a regression that is fitted
to benchmarks/data/latencies_edge_350m.jsonl. Samplers see all scores with noise; what they found is
judged without it. Candidates above a limit of the study count as trials. Draws that a rule of the
space rejects do not.

The hypervolume has its reference point at the limits of the study, and where there is none, at the
worst of 1,000 random architectures. Fractions are of the hypervolume that all runs together found.
"""

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from search_simulation import (
    SimulatedRun,
    deployment_of,
    legal_architectures,
    simulate,
    true_objectives,
)
from search_statistics import (
    BASELINE,
    MODEL_FREE,
    Comparison,
    Curves,
    attainment_surfaces,
    best_known,
    best_of_optuna,
    compare,
    hypervolume_curve,
)
from search_truth import (
    MEASUREMENT_NOISE,
    ForestLosses,
    LossTable,
    LossTruth,
    RecordedLosses,
    Truth,
    read_losses,
)

from evaluators.scores import LOSS
from studies.analysis.pareto_front import hypervolume
from studies.spec.study_file import read_spec
from studies.spec.study_spec import StudySpec, asked_scores

_TABLE = Path(__file__).parent / "data" / "losses_quickstart.jsonl"
_SAMPLERS = "random,tpe,nsga2,gp,evolution,front-mutation,screened-tpe,known-costs"
_SHOWN = (10, 20, 40, 60, 100, 200)
_COMPARED_AT = 100
_RANDOM_ARCHITECTURES = 1_000
# The last proposals, as a fraction of all of them, whose time is reported.
_LAST = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all runs of one comparison share; it is sent to the processes.

    Attributes:
        spec: The study.
        table: The path of the table of losses.
        truth: `forest` or `table`.
        trials: The number of trials of each run.
    """

    spec: StudySpec
    table: Path
    truth: str
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What is reported of one sampler.

    Attributes:
        sampler: The kind of sampler.
        comparison: Its comparison with the others.
        seconds: The median time of a proposal.
        last_seconds: The median time of the last tenth of the proposals.
        longest_seconds: The longest time of a proposal.
        rejected: The mean number of rejected draws per run.
        duplicates: The mean number of trials per run whose architecture an earlier trial had.
        infeasible: The mean number of trials per run that were above a limit.
        surfaces: The points of the attainment surfaces by percentage of runs; empty unless there
            are two objectives.
        surface_fractions: The hypervolumes of these surfaces.
    """

    sampler: str
    comparison: Comparison
    seconds: float
    last_seconds: float
    longest_seconds: float
    rejected: float
    duplicates: float
    infeasible: float
    surfaces: Mapping[int, list[list[float]]]
    surface_fractions: Mapping[int, float]


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
        reference = reference_point(setting.spec, truth)
        facts = _facts(setting, table, losses, truth)
        print(_heading(facts), flush=True)
        runs = run_all(setting, options.samplers, options.seeds, options.processes)
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
    best = best_known([run.values for run in runs], reference)
    if best <= 0:
        raise SystemExit("error: no run found a candidate within the limits")
    curves = curves_of(runs, reference, best)
    lines = report(setting, runs, curves, reference, best)
    _print(lines, curves, setting)
    if options.json is not None:
        document = {
            **facts,
            "reference_point": reference,
            "best_known_hypervolume": best,
            "samplers": [asdict(line) for line in lines],
            "curves": {name: np.round(table, 5).tolist() for name, table in curves.items()},
        }
        options.json.write_text(json.dumps(document) + "\n")


def reference_point(spec: StudySpec, truth: Truth) -> list[float]:
    """Return the reference point of the hypervolume, one value per objective.

    Raises:
        ValueError: No random architecture is within the limits of the study.
    """
    values = true_objectives(spec, truth, legal_architectures(spec, _RANDOM_ARCHITECTURES))
    values = values[np.isfinite(values).all(axis=1)]
    if not len(values):
        raise ValueError(
            f"limits: none of {_RANDOM_ARCHITECTURES} random architectures is within the limits"
        )
    return [
        float(worst) if objective.max is None else objective.max
        for objective, worst in zip(spec.objectives, values.max(axis=0), strict=True)
    ]


def run_all(
    setting: Setting, samplers: Sequence[str], seeds: int, processes: int
) -> list[SimulatedRun]:
    """Run every sampler with every seed, in parallel processes.

    Returns:
        The runs, sorted by sampler as given and then by seed.
    """
    spawn = multiprocessing.get_context("spawn")
    runs: list[SimulatedRun] = []
    with ProcessPoolExecutor(processes, spawn, _prepare, (setting,)) as pool:
        # All samplers of one seed come first, so that an early end leaves complete comparisons.
        jobs = [
            pool.submit(_run, sampler, seed) for seed in range(seeds) for sampler in samplers
        ]
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
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
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


def report(
    setting: Setting,
    runs: Sequence[SimulatedRun],
    curves: Curves,
    reference: Sequence[float],
    best: float,
) -> list[Line]:
    """Summarise the runs of each sampler."""
    last = max(1, round(_LAST * setting.trials))
    lines = []
    for name in curves:
        own = [run for run in runs if run.sampler == name]
        seconds = np.array([run.seconds for run in own])
        surfaces = {}
        if len(reference) == 2:
            surfaces = attainment_surfaces([run.values for run in own], reference)
        lines.append(
            Line(
                sampler=name,
                comparison=compare(
                    name,
                    curves,
                    startup=setting.spec.sampler.startup_trials,
                    shown=_shown(setting.trials),
                    compared_at=min(_COMPARED_AT, setting.trials),
                ),
                seconds=float(np.median(seconds)),
                last_seconds=float(np.median(seconds[:, -last:])),
                longest_seconds=float(seconds.max()),
                rejected=float(np.mean([run.rejected for run in own])),
                duplicates=float(np.mean([run.duplicates for run in own])),
                infeasible=float(np.mean([run.infeasible for run in own])),
                surfaces=surfaces,
                surface_fractions={
                    percent: hypervolume(points, reference) / best
                    for percent, points in surfaces.items()
                },
            )
        )
    return lines


_prepared: tuple[Setting, Truth] | None = None


def _prepare(setting: Setting) -> None:
    """Build the truth once per process."""
    global _prepared
    table = read_losses(setting.table)
    _prepared = setting, _truth(setting, table, _loss_truth(setting, table))


def _run(sampler: str, seed: int) -> SimulatedRun:
    assert _prepared is not None
    setting, truth = _prepared
    return simulate(setting.spec, truth, sampler, seed, setting.trials)


def _loss_truth(setting: Setting, table: LossTable) -> LossTruth:
    return ForestLosses(table) if setting.truth == "forest" else RecordedLosses(table)


def _truth(setting: Setting, table: LossTable, losses: LossTruth) -> Truth:
    names = asked_scores(setting.spec)
    return Truth(names, losses, table.seed_noise, deployment_of(setting.spec))


def _without_limits(spec: StudySpec) -> StudySpec:
    objectives = tuple(each.model_copy(update={"max": None}) for each in spec.objectives)
    return spec.model_copy(update={"objectives": objectives, "constraints": ()})


def _shown(trials: int) -> list[int]:
    return [*(count for count in _SHOWN if count < trials), trials]


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
        "rank_correlation": losses.rank_correlation if isinstance(losses, ForestLosses) else None,
        "seed_noise": table.seed_noise,
        "seed_noise_is_recorded": table.is_recorded,
        "deviations_from_regression": truth.cost_errors,
        "measurement_noise": MEASUREMENT_NOISE,
    }


def _heading(facts: Mapping[str, Any]) -> str:
    limited = {**facts["objectives"], **facts["constraints"]}
    kept = ", ".join(f"{name} <= {most:g}" for name, most in limited.items() if most is not None)
    source = "mean over its seeds" if facts["rank_correlation"] is None else "forest"
    lines = [
        f"{facts['study']}: {', '.join(facts['objectives'])}; limits: {kept or 'none'}",
        f"loss: {source} on {facts['trainings']} trainings of {facts['architectures']} architectures",
    ]
    if facts["rank_correlation"] is not None:
        found = facts["rank_correlation"]
        lines.append(f"Spearman correlation of the forest in cross-validation: {found:.2f}")
    origin = "recorded" if facts["seed_noise_is_recorded"] else "assumed"
    lines.append(f"standard deviation between seeds: {facts['seed_noise']:.4f} bits/byte, {origin}")
    lines += [
        f"{name}: architectures deviate by {error:.1%} from the regression, and measurements by "
        f"{facts['measurement_noise']:.1%}"
        for name, error in facts["deviations_from_regression"].items()
    ]
    return "\n".join(lines)


def _print(lines: Sequence[Line], curves: Curves, setting: Setting) -> None:
    compared_at = min(_COMPARED_AT, setting.trials)
    seeds = len(next(iter(curves.values())))
    width = max(len(line.sampler) for line in lines) + 2
    print(f"\nfraction of the best known hypervolume, median and 95 % interval of {seeds} seeds")
    shown = _shown(setting.trials)
    print(f"{'trials':{width}}" + "".join(f"{count:>22}" for count in shown))
    for line in lines:
        cells = (f"{line.comparison.fractions[count]!s:>22}" for count in shown)
        print(f"{line.sampler:{width}}" + "".join(cells))
    for sentence in _comparisons(lines, curves, compared_at, setting.trials):
        print(sentence)
    print(
        f"\n{'per run':{width}}{'s/proposal':>11}{'last tenth':>11}{'longest':>9}"
        f"{'rejected':>10}{'duplicates':>12}{'infeasible':>12}"
    )
    for line in lines:
        print(
            f"{line.sampler:{width}}{line.seconds:11.3f}{line.last_seconds:11.3f}"
            f"{line.longest_seconds:9.2f}{line.rejected:10.1f}{line.duplicates:12.1f}"
            f"{line.infeasible:12.1f}"
        )
    if lines[0].surface_fractions:
        print("\nhypervolume of the surfaces that a percentage of the runs attain, as a fraction")
        percents = list(lines[0].surface_fractions)
        print(f"{'':{width}}" + "".join(f"{f'{percent} %':>9}" for percent in percents))
        for line in lines:
            cells = (f"{line.surface_fractions[percent]:9.3f}" for percent in percents)
            print(f"{line.sampler:{width}}" + "".join(cells))


def _comparisons(
    lines: Sequence[Line], curves: Curves, compared_at: int, trials: int
) -> Iterator[str]:
    """Yield the lines that compare each sampler with the others."""
    final, rival = best_of_optuna(curves, trials), best_of_optuna(curves, compared_at)
    for line in lines:
        found = line.comparison
        sentences = []
        if found.speed_up is not None and line.sampler != final:
            unreached = f"; {found.unreached} seeds never reached it" if found.unreached else ""
            sentences.append(
                f"reached what {final} has after {trials} trials in 1/x of its trials, x = "
                f"{found.speed_up}{unreached}"
            )
        if found.at_least_as_good is not None and line.sampler != rival:
            sentences.append(
                f"at least as good as {rival} after {compared_at} trials: "
                f"{found.at_least_as_good:.0%} of the seeds"
            )
        if found.below_random is not None and line.sampler != BASELINE:
            sentences.append(
                f"worse than random after some trial after the start-up: {found.below_random} "
                f"seeds, by at most {found.largest_shortfall:.3f}"
            )
        sentences += [
            f"difference to {other} after {compared_at} trials: {found.differences[other]}"
            for other in MODEL_FREE
            if other in found.differences
        ]
        if sentences:
            yield f"\n{line.sampler}"
        yield from (f"    {sentence}" for sentence in sentences)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--table", type=Path, default=_TABLE, help="recorded losses (JSON lines)")
    parser.add_argument("--space", default="quickstart", help="a study file or an included study")
    parser.add_argument("--seeds", type=_positive, default=30)
    parser.add_argument("--trials", type=_positive, default=200)
    parser.add_argument("--samplers", type=_names, default=_SAMPLERS, help="separated by commas")
    parser.add_argument("--processes", type=_positive, default=2)
    parser.add_argument("--truth", choices=["forest", "table"], default="forest")
    parser.add_argument(
        "--without-limits", action="store_true", help="ignore the limits of the study"
    )
    parser.add_argument("--json", type=Path, help="the file to write all results to")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    if not all(names) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of different names")
    return names


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


if __name__ == "__main__":
    main()
