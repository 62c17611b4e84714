"""Replay early stopping on the training runs of long_runs.py: what it saves and what it loses.

    python benchmarks/rungs.py measure     # times decoding of every model of the table, once
    python benchmarks/rungs.py replay [--rungs 0.25 0.5] [--margins 0.01 0.02] [--orders 5]
        [--judge long]
    python benchmarks/rungs.py draw docs/rungs.svg --rungs 0.25 0.5 --margins 0.02

A replay goes through the short runs in a random order, as a study would: a candidate stops at
a rung if a finished candidate that is at least as fast had a loss there that is lower by the
margin. `replay` prints the fraction of training tokens saved, the hypervolume lost and, by kind of
layout, how many candidates were stopped early and how many are dominated. With `--judge long`, the
hypervolume and the front are those of the long training runs, of the layouts that have one. The
last line is one JSON document. `draw` plots the learning curves of the first order, dimmed from
where each was stopped.
"""

import argparse
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from chart import Axis, Chart
from long_runs import LONG, SHORT, drawn_models, matched_models, rows
from ranking import KINDS, kind_of

from evaluators.calibration import CalibrationsInMemory
from evaluators.evaluator import CurvePoint
from evaluators.speed.latency import LatencyEvaluator
from evaluators.speed.latency_settings import LatencySettings
from hardware.quiet import Reservation
from nas.assembly import device_runner
from search_space.architecture import architecture_hash
from studies.analysis.pareto_front import hypervolume, non_dominated
from studies.search.rungs import Finisher, RungResult, dominating_finisher, loss_after
from studies.spec.reference_models import model_of, paired_reference
from studies.spec.study_file import read_spec

STEP = 1_024  # tokens; a rung is evaluated at the first step after its fraction of the budget
LATENCIES = Path(__file__).parent / "data" / "long_run_latencies.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    layout: str
    decode_ms: float
    lowest_decode_ms: float
    curve: tuple[CurvePoint, ...]
    judged_loss: float

    @property
    def loss(self) -> float:
        return self.curve[-1].loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """One replay.

    Attributes:
        order: The candidates in order, each with the fraction of its training that was run.
        lost: The fraction of the hypervolume that was lost.
    """

    order: tuple[tuple[Candidate, float], ...]
    lost: float

    @property
    def stopped(self) -> tuple[Candidate, ...]:
        return tuple(candidate for candidate, fraction in self.order if fraction < 1.0)

    @property
    def saved(self) -> float:
        """The fraction of all training tokens that was saved."""
        return 1.0 - float(np.mean([fraction for _, fraction in self.order]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Early stopping among the layouts of one kind, averaged over the orders.

    Attributes:
        count: Number of layouts.
        stopped: The fraction that was stopped early.
        dominated: The fraction that is dominated.
        wrongly_stopped: Number of members of the front that were stopped early.
    """

    count: int
    stopped: float
    dominated: float
    wrongly_stopped: float


def measure() -> None:
    """Time all models. Trainings keep running; the interleaved reference compensates for them."""
    spec = read_spec("quickstart")
    settings = LatencySettings(
        quantization=spec.target.quantization,
        prompt_length=spec.target.prompt_length,
        context_depth=spec.target.context_depth,
        asked=frozenset({"decode"}),
        precision=spec.device.precision,
        seconds=spec.device.seconds,
    )
    known = {row["key"] for row in measured()}
    with (
        LATENCIES.open("a") as table,
        LatencyEvaluator(
            device_runner(spec.device),
            settings,
            model_of(spec, paired_reference(spec)),
            CalibrationsInMemory(),
            lambda _: contextlib.nullcontext(Reservation(waited_s=0.0)),
        ) as latency,
    ):
        for model in (*matched_models(), *drawn_models()):
            key = architecture_hash(model.proxy)
            if key in known:
                continue
            evaluation = latency.evaluate(model.deployed, lambda _: None)
            decode = next(score for score in evaluation.scores if score.name == "decode")
            row = {"key": key, "decode_ms": decode.value, "low": decode.low, "high": decode.high}
            table.write(json.dumps(row) + "\n")
            table.flush()
            print(f"{model.deployed.layout:14} {decode.value:.3f} ms")


def measured() -> list[dict[str, Any]]:
    if not LATENCIES.exists():
        return []
    return [json.loads(line) for line in LATENCIES.read_text().splitlines()]


def candidates(judge: int) -> list[Candidate]:
    """Return the candidates that have a short training and a measured latency.

    Args:
        judge: The tokens of the trainings whose losses judge them; those without one are left out.
    """
    timed = {row["key"]: row for row in measured()}
    judged = {
        row["key"][0]: row["curve"][-1][1]
        for row in rows()
        if row["tokens"] == judge and row["seed"] == 0
    }
    return [
        Candidate(
            layout=row["layout"],
            decode_ms=timed[row["key"][0]]["decode_ms"],
            lowest_decode_ms=timed[row["key"][0]]["low"] or timed[row["key"][0]]["decode_ms"],
            curve=tuple(CurvePoint(tokens=tokens, loss=loss) for tokens, loss in row["curve"]),
            judged_loss=judged[row["key"][0]],
        )
        for row in rows()
        if row["tokens"] == SHORT and row["seed"] == 0 and row["key"][0] in timed
        if row["key"][0] in judged
    ]


def replay(order: Sequence[Candidate], rungs: Sequence[float], margin: float) -> Replay:
    finished: list[Candidate] = []
    fractions = []
    for candidate in order:
        stops = (rung for rung in rungs if is_stopped(candidate, finished, rung, margin))
        fractions.append(next(stops, 1.0))
        if fractions[-1] == 1.0:
            finished.append(candidate)
    every, kept = volume(order, order), volume(finished, order)
    return Replay(order=tuple(zip(order, fractions, strict=True)), lost=1.0 - kept / every)


def is_stopped(
    candidate: Candidate, finished: Sequence[Candidate], rung: float, margin: float
) -> bool:
    tokens = rung * SHORT
    finishers = [
        Finisher(
            number=number,
            rung_result=RungResult(loss=recorded_loss(other, tokens), others=(other.decode_ms,)),
            final_loss=other.loss,
        )
        for number, other in enumerate(finished)
    ]
    rung_result = RungResult(
        loss=recorded_loss(candidate, tokens), others=(candidate.lowest_decode_ms,)
    )
    return dominating_finisher(rung_result, finishers, margin) is not None


def recorded_loss(candidate: Candidate, tokens: float) -> float:
    loss = loss_after(candidate.curve, tokens)
    assert loss is not None
    return loss


def volume(some: Sequence[Candidate], every: Sequence[Candidate]) -> float:
    """Return the hypervolume of some candidates, with both axes scaled to the range of all."""
    losses, times = [each.judged_loss for each in every], [each.decode_ms for each in every]
    low = (min(losses), min(times))
    extent = (max(losses) - low[0], max(times) - low[1])
    points = [
        ((each.judged_loss - low[0]) / extent[0], (each.decode_ms - low[1]) / extent[1])
        for each in some
    ]
    return hypervolume(points, (1.0, 1.0))


def on_front(every: Sequence[Candidate]) -> set[str]:
    members = non_dominated([(each.judged_loss, each.decode_ms) for each in every])
    return {every[index].layout for index in members}


def by_kind(every: Sequence[Candidate], replays: Sequence[Replay]) -> dict[str, Kind]:
    """Summarise the replays for every kind of layout."""
    members = on_front(every)
    found = {}
    for kind in KINDS:
        of_kind = {each.layout for each in every if kind_of(each.layout) == kind}
        if not of_kind:
            continue
        stops = [{each.layout for each in replay.stopped} & of_kind for replay in replays]
        found[kind] = Kind(
            count=len(of_kind),
            stopped=float(np.mean([len(stop) for stop in stops])) / len(of_kind),
            dominated=len(of_kind - members) / len(of_kind),
            wrongly_stopped=float(np.mean([len(stop & members) for stop in stops])),
        )
    return found


def picture(shown: Replay) -> str:
    """Plot the learning curves as an SVG; what follows an early stop is dimmed."""
    every = [candidate for candidate, _ in shown.order]
    members = on_front(every)
    fates = {
        candidate.layout: "on the front"
        if candidate.layout in members
        else "stopped"
        if fraction < 1.0
        else "to the end"
        for candidate, fraction in shown.order
    }
    colours = {"stopped": "#d55e00", "to the end": "#56b4e9", "on the front": "#009e73"}
    chart = Chart(
        x_axis=Axis(
            values=[p.tokens for each in every for p in each.curve], label="tokens", digits=0
        ),
        y_axis=Axis(values=[p.loss for each in every for p in each.curve], label="bits/byte"),
    )

    def line(points: Sequence[CurvePoint], candidate: Candidate, style: str) -> str:
        path = "L".join(f"{chart.x(point.tokens)} {chart.y(point.loss)}" for point in points)
        return (
            f'<path d="M{path}" fill="none" stroke="{colours[fates[candidate.layout]]}" {style}>'
            f"<title>{escape(candidate.layout)}</title></path>"
        )

    marks = []
    for candidate, fraction in sorted(
        shown.order, key=lambda each: list(colours).index(fates[each[0].layout])
    ):
        read = sum(point.tokens <= fraction * SHORT + STEP for point in candidate.curve)
        marks.append(line(candidate.curve[:read], candidate, 'opacity="0.9"'))
        marks.append(line(candidate.curve[read - 1 :], candidate, 'opacity="0.3"'))
    rungs = sorted({fraction for _, fraction in shown.order if fraction < 1.0})
    marks += [chart.vertical_line(rung * SHORT, f"rung {rung:g}") for rung in rungs]
    return chart.svg(marks, colours, f"{100 * shown.saved:.0f} % saved")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("question", choices=["measure", "replay", "draw"])
    parser.add_argument("picture", type=Path, nargs="?", default=Path("docs/rungs.svg"))
    parser.add_argument("--rungs", type=float, nargs="+", default=[0.5])
    parser.add_argument("--margins", type=float, nargs="+", default=[0.0, 0.01, 0.02, 0.04, 0.08])
    parser.add_argument("--orders", type=int, default=5)
    parser.add_argument("--judge", choices=["short", "long"], default="short")
    options = parser.parse_args()
    if options.question == "measure":
        measure()
        return
    every = candidates(LONG if options.judge == "long" else SHORT)
    generator = np.random.default_rng(0)
    orders = [[every[i] for i in generator.permutation(len(every))] for _ in range(options.orders)]
    if options.question == "draw":
        options.picture.write_text(picture(replay(orders[0], options.rungs, options.margins[0])))
        return
    result = []
    print(f"{len(every)} architectures, {len(on_front(every))} on the front; rungs {options.rungs}")
    for margin in options.margins:
        replays = [replay(order, options.rungs, margin) for order in orders]
        saved = [each.saved for each in replays]
        lost = [each.lost for each in replays]
        print(
            f"margin {margin:g}: {np.mean(saved):.1%} of the tokens saved "
            f"[{min(saved):.1%}, {max(saved):.1%}], {np.mean(lost):.2%} of the hypervolume lost "
            f"[{min(lost):.2%}, {max(lost):.2%}]"
        )
        kinds = by_kind(every, replays)
        for name, kind in kinds.items():
            print(
                f"    {name:16} {kind.count:3}: {kind.stopped:.0%} stopped early, "
                f"{kind.dominated:.0%} dominated; "
                f"{kind.wrongly_stopped:.1f} of the front stopped per order"
            )
        result.append({"margin": margin, "saved": saved, "lost": lost})
    print(json.dumps({"rungs": options.rungs, "margins": result}))


if __name__ == "__main__":
    main()
