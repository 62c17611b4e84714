"""What stopping early saves and what it loses, replayed on the recorded trainings of long_runs.py.

    python benchmarks/rungs.py measure     # decoding of every model of the table, once
    python benchmarks/rungs.py replay [--rungs 0.25 0.5] [--margin 0.02] [--orders 5]

A replay goes through the short trainings in a random order, as a study would: a candidate whose
recorded loss at a rung is behind that of a finished one at least as fast stops there. It prints the
share of training tokens saved, the hypervolume lost, and by kind of layout how many were stopped
beside how many of them are on the front of all. The last line is one JSON document.
"""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from long_runs import SHORT, drawn_models, matched_models, rows

from evaluators.cache import Forgetful
from evaluators.evaluator import CurvePoint
from evaluators.latency import LatencyEvaluator, LatencySettings
from nas.assembly import runner_of
from search_space.architecture import architecture_hash
from studies.reference import model_of, paired_reference
from studies.rungs import Finisher, Standing, beaten_by, loss_after
from studies.spec import read_spec

LATENCIES = Path(__file__).parent / "data" / "long_run_latencies.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    layout: str
    decode_ms: float
    lowest_decode_ms: float
    curve: tuple[CurvePoint, ...]

    @property
    def loss(self) -> float:
        return self.curve[-1].loss


def measure() -> None:
    """Trainings go on meanwhile: turns taken with the reference make up for them."""
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
            runner_of(spec.device),
            settings,
            model_of(spec, paired_reference(spec)),
            Forgetful(),
            lambda *_: contextlib.nullcontext(0.0),
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


def candidates() -> list[Candidate]:
    """Those that were trained for short and timed."""
    timed = {row["key"]: row for row in measured()}
    return [
        Candidate(
            layout=row["layout"],
            decode_ms=timed[row["key"][0]]["decode_ms"],
            lowest_decode_ms=timed[row["key"][0]]["low"] or timed[row["key"][0]]["decode_ms"],
            curve=tuple(CurvePoint(tokens=tokens, loss=loss) for tokens, loss in row["curve"]),
        )
        for row in rows()
        if row["tokens"] == SHORT and row["seed"] == 0 and row["key"][0] in timed
    ]


def replay(
    order: Sequence[Candidate], rungs: Sequence[float], margin: float
) -> tuple[list[Candidate], list[Candidate], float]:
    """The finished, the stopped, and the share of all tokens that was not read."""
    finished: list[Candidate] = []
    stopped: list[Candidate] = []
    saved = 0.0
    for candidate in order:
        for share in rungs:
            tokens = share * SHORT
            standing = Standing(loss=at(candidate, tokens), others=(candidate.lowest_decode_ms,))
            finishers = [
                Finisher(
                    number=number,
                    standing=Standing(loss=at(other, tokens), others=(other.decode_ms,)),
                    final_loss=other.loss,
                )
                for number, other in enumerate(finished)
            ]
            if beaten_by(standing, finishers, margin) is not None:
                stopped.append(candidate)
                saved += 1.0 - share
                break
        else:
            finished.append(candidate)
    return finished, stopped, saved / len(order)


def at(candidate: Candidate, tokens: float) -> float:
    loss = loss_after(candidate.curve, tokens)
    assert loss is not None
    return loss
