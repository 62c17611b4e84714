"""The report of a comparison of samplers in simulated searches, as text."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from search_simulation import SimulatedRun
from search_statistics import (
    BASELINE,
    MODEL_FREE,
    Comparison,
    Curves,
    attainment_surfaces,
    best_of_optuna,
    compare,
)

from studies.analysis.pareto_front import hypervolume

_SHOWN = (10, 20, 40, 60, 100, 200)
_COMPARED_AT = 100
# The last proposals, as a fraction of all of them, whose time is reported.
_LAST = 0.1


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


def summarise(
    runs: Sequence[SimulatedRun],
    curves: Curves,
    *,
    startup: int,
    reference: Sequence[float],
    best: float,
) -> list[Line]:
    """Summarise the runs of each sampler.

    Args:
        runs: The runs of all samplers.
        curves: Their hypervolumes as fractions of the best known one.
        startup: The number of random trials at the start of each run.
        reference: The reference point of the hypervolume, one value per objective.
        best: The best known hypervolume.
    """
    trials = next(iter(curves.values())).shape[1]
    last = max(1, round(_LAST * trials))
    lines = []
    for name in curves:
        own = [run for run in runs if run.sampler == name]
        seconds = np.array([run.seconds for run in own])
        surfaces: dict[int, list[list[float]]] = {}
        if len(reference) == 2:
            surfaces = attainment_surfaces([run.values for run in own], reference)
        lines.append(
            Line(
                sampler=name,
                comparison=compare(
                    name,
                    curves,
                    startup=startup,
                    shown=_shown(trials),
                    compared_at=min(_COMPARED_AT, trials),
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


def heading(facts: Mapping[str, Any]) -> str:
    """Return what is to be known of the truth."""
    limited = {**facts["objectives"], **facts["constraints"]}
    kept = ", ".join(f"{name} <= {most:g}" for name, most in limited.items() if most is not None)
    source = {"forest": "forest", "table": "recorded means", "chance": "chance"}[facts["truth"]]
    lines = [
        f"{facts['study']}: {', '.join(facts['objectives'])}; limits: {kept or 'none'}, which "
        f"{facts['within_limits']:.0%} of random architectures keep",
        f"loss: {source}, {facts['trainings']} trainings of {facts['architectures']} architectures",
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


def print_report(lines: Sequence[Line], curves: Curves) -> None:
    """Print the tables and comparisons of all samplers."""
    seeds, trials = next(iter(curves.values())).shape
    compared_at = min(_COMPARED_AT, trials)
    width = max(len(line.sampler) for line in lines) + 2
    print(f"\nfraction of the best known hypervolume, median and 95 % interval of {seeds} seeds")
    shown = _shown(trials)
    print(f"{'trials':{width}}" + "".join(f"{count:>22}" for count in shown))
    for line in lines:
        cells = (f"{line.comparison.fractions[count]!s:>22}" for count in shown)
        print(f"{line.sampler:{width}}" + "".join(cells))
    for sentence in _comparisons(lines, curves, compared_at):
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


def _comparisons(lines: Sequence[Line], curves: Curves, compared_at: int) -> Iterator[str]:
    """Yield the lines that compare each sampler with the others."""
    seeds, trials = next(iter(curves.values())).shape
    final, rival = best_of_optuna(curves, trials), best_of_optuna(curves, compared_at)
    for line in lines:
        found = line.comparison
        sentences = []
        if found.speed_up is not None and line.sampler != final:
            unreached = (
                f"; {found.unreached} of {seeds} seeds never reached it" if found.unreached else ""
            )
            sentences.append(
                f"trials that {final} needed for its hypervolume after {trials} trials, divided by "
                f"those needed here: {found.speed_up}{unreached}"
            )
        if found.at_least_as_good is not None and line.sampler != rival:
            sentences.append(
                f"at least as good as {rival} after {compared_at} trials: "
                f"{found.at_least_as_good:.0%} of the seeds"
            )
        if found.below_random is not None and line.sampler != BASELINE:
            worst = ""
            if found.last_below is not None:
                worst = (
                    f", by up to {found.largest_shortfall:.3f}, last at trial {found.last_below}"
                )
            sentences.append(
                f"below random at some time after the start-up: {found.below_random} of {seeds} "
                f"seeds{worst}"
            )
        sentences += [
            f"fraction minus that of {other} after {compared_at} trials: {found.differences[other]}"
            for other in MODEL_FREE
            if other in found.differences
        ]
        if sentences:
            yield f"\n{line.sampler}"
        yield from (f"    {sentence}" for sentence in sentences)


def _shown(trials: int) -> list[int]:
    return [*(count for count in _SHOWN if count < trials), trials]
