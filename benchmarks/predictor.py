"""Measure how well latency and memory of candidates are predicted from earlier measurements.

    python benchmarks/predictor.py [--candidates 44] [--loads 1] [--prompt 256]
        [--table benchmarks/data/latencies_edge_350m.jsonl]

Draws candidates of the edge-350m study, measures those that the table lacks, interleaved with the
study's reference model as in a study, and adds them to the table; the command can be stopped at any
time. The first load of a candidate times prefill and decoding; the others time only decoding, which
differs between loads.

Then it cross-validates, in five folds, the model that studies use and, for comparison, predictors
that know only the number of parameters or FLOPs: for the first load, and for the mean of all loads.
The ceiling is the R2 of a perfect model, given how much loads of one candidate differ; it requires
candidates that were loaded more than once. Times are relative to those of the reference model. The
last line is one JSON document.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from evaluators.calibration import CalibrationsInMemory
from evaluators.evaluator import EvaluationFailed
from evaluators.speed.latency import LatencyEvaluator
from evaluators.speed.latency_model import Accuracy, LatencyModel
from evaluators.speed.latency_settings import LatencySettings
from evaluators.speed.workload_parts import Deployment, Parts, parts_of
from hardware.environment import read_environment
from hardware.local import LocalRunner
from hardware.measurement import Measurement
from hardware.quiet import measuring
from hardware.window_statistics import ratio
from search_space.architecture import Architecture, to_json
from search_space.costs import decode_flops, parameter_counts, prefill_flops
from search_space.preset_models import preset
from search_space.space.encoding import RandomSuggester, draw
from search_space.space.rules import check_size_rules
from search_space.strict import parse_json
from studies.spec.reference_models import paired_reference
from studies.spec.study_file import read_spec
from studies.spec.study_spec import StudySpec

_STUDY = "edge-350m"
_TABLE = Path(__file__).parent / "data" / "latencies_edge_350m.jsonl"
_SCORES = ("decode", "prefill", "memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An architecture and, for each score, the value of every load."""

    architecture: Architecture
    scores: Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The accuracy of one predictor for one score.

    Attributes:
        score: Name of the score.
        loads: Number of loads whose mean is predicted.
        predictor: Name of the predictor.
        accuracy: Its accuracy in cross-validation.
        ceiling: The R2 of a perfect predictor; None where no candidate was loaded twice.
    """

    score: str
    loads: int
    predictor: str
    accuracy: Accuracy
    ceiling: float | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--candidates", type=int, default=44)
    parser.add_argument("--loads", type=int, default=1, help="loads per candidate")
    parser.add_argument("--prompt", type=int, default=256, help="tokens per prompt")
    parser.add_argument("--table", type=Path, default=_TABLE)
    arguments = parser.parse_args()
    spec = read_spec(_STUDY)
    deployment = Deployment(
        quantization=spec.target.quantization,
        prompt_length=arguments.prompt,
        context_depth=spec.target.context_depth,
    )
    if not arguments.table.exists():
        arguments.table.parent.mkdir(parents=True, exist_ok=True)
        _append(arguments.table, _heading(spec, deployment))
    drawn = list(islice(_drawn(spec), arguments.candidates))
    for load in range(arguments.loads):
        known = {
            candidate.architecture
            for candidate in _read(arguments.table, deployment)
            if len(candidate.scores["decode"]) > load
        }
        new = [each for each in drawn if each not in known]
        if new:
            scores = frozenset({"decode"} if load else {"decode", "prefill"})
            _measure(spec, deployment, new, scores, arguments.table)
    measured = {each.architecture: each for each in _read(arguments.table, deployment)}
    candidates = [measured[each] for each in drawn if each in measured]
    _print(arguments.table, list(_lines(candidates, deployment)))


def _heading(spec: StudySpec, deployment: Deployment) -> dict[str, Any]:
    device = read_environment(f"onnxruntime {version('onnxruntime')}")
    return {
        "made_by": f"python benchmarks/predictor.py --prompt {deployment.prompt_length}",
        "deployment": asdict(deployment),
        "reference": paired_reference(spec),
        "device": {"cpu": device.cpu, "cores": device.cores, "runtime": device.runtime_version},
    }


def _read(table: Path, deployment: Deployment) -> list[Candidate]:
    """Return the candidates of the table, in the order of their first measurements."""
    heading, *rows = (json.loads(line) for line in table.read_text().splitlines())
    if heading["deployment"] != asdict(deployment):
        raise SystemExit(f"{table} contains measurements for {heading['deployment']}")
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        scores = found.setdefault(json.dumps(row["architecture"]), {name: [] for name in _SCORES})
        for name in _SCORES:
            if name in row:
                scores[name].append(row[name])
    return [
        Candidate(architecture=parse_json(Architecture, text, str(table)), scores=scores)
        for text, scores in found.items()
    ]


def _measure(
    spec: StudySpec,
    deployment: Deployment,
    candidates: Sequence[Architecture],
    scores: frozenset[str],
    table: Path,
) -> None:
    settings = LatencySettings(
        quantization=deployment.quantization,
        prompt_length=deployment.prompt_length,
        context_depth=deployment.context_depth,
        asked=scores,
        precision=spec.device.precision,
        seconds=spec.device.seconds,
    )
    with LatencyEvaluator(
        LocalRunner(threads=spec.device.threads),
        settings,
        preset(paired_reference(spec)),
        CalibrationsInMemory(),
        lambda say: measuring(say, patience_s=0.0),
    ) as evaluator:
        for architecture in candidates:
            try:
                measurements = evaluator.measure(architecture, lambda _: None).measurements
            except EvaluationFailed as failure:
                print(f"{architecture.layout}: {failure}", flush=True)
                continue
            row = _row(measurements, scores)
            _append(table, {"architecture": json.loads(to_json(architecture))} | row)
            print(f"{architecture.layout:20} {row}", flush=True)


def _drawn(spec: StudySpec) -> Iterator[Architecture]:
    suggester = RandomSuggester(np.random.default_rng(0))
    while True:
        architecture = draw(spec.space, suggester)
        checks = check_size_rules(architecture, spec.space.rules, spec.target.quantization)
        if all(check.excess <= 0 for check in checks):
            yield architecture


def _row(measurements: Sequence[Measurement], scores: frozenset[str]) -> dict[str, float]:
    """Return ratios to the reference, half their relative 95 % intervals, and memory in MB."""
    row: dict[str, float] = {}
    for measurement in measurements:
        phase, found = measurement.workload.phase, ratio(measurement)
        if phase in scores:
            assert found.low is not None
            assert found.high is not None
            row[phase] = round(found.value, 5)
            row[f"{phase}_half_width"] = round((found.high / found.low - 1) / 2, 5)
    if "prefill" in scores:
        peak = max(measurement.peak_memory_bytes for measurement in measurements)
        row["memory"] = round((peak - (measurements[0].empty_memory_bytes or 0)) / 1e6, 2)
    return row


def _append(table: Path, row: dict[str, Any]) -> None:
    with table.open("a") as file:
        file.write(json.dumps(row) + "\n")


def _lines(candidates: Sequence[Candidate], deployment: Deployment) -> Iterator[Line]:
    def parameters(_: str, model: Architecture) -> Parts:
        return {"parameters": parameter_counts(model).total, "once": 1.0}

    def flops(score: str, model: Architecture) -> Parts:
        if score == "prefill":
            return {"flops": prefill_flops(model, deployment.prompt_length), "once": 1.0}
        return {"flops": decode_flops(model, deployment.context_depth), "once": 1.0}

    def parts(score: str, model: Architecture) -> Parts:
        return parts_of(score, model, deployment)

    predictors: dict[str, Callable[[str, Architecture], Parts]] = {
        "this model": parts,
        "parameters": parameters,
        "FLOPs": flops,
    }
    for score in _SCORES:
        loads = [np.log(candidate.scores[score]) for candidate in candidates]
        fewest = min(map(len, loads))
        for count in sorted({1, fewest}):
            values = [float(np.exp(each[:count].mean())) for each in loads]
            noise = _variance_of_loads(loads)
            ceiling = None if noise is None else 1 - noise / count / np.var(np.log(values))
            for title, features in predictors.items():
                known = [features(score, candidate.architecture) for candidate in candidates]
                yield Line(
                    score=score,
                    loads=count,
                    predictor=title,
                    accuracy=LatencyModel(known, values).accuracy,
                    ceiling=ceiling,
                )


def _variance_of_loads(logs: Sequence[np.ndarray[Any, np.dtype[np.float64]]]) -> float | None:
    """Return the variance of the logarithm of a score between loads of one candidate."""
    repeated = [each for each in logs if len(each) > 1]
    return float(np.mean([each.var(ddof=1) for each in repeated])) if repeated else None


def _print(table: Path, lines: Sequence[Line]) -> None:
    heading = json.loads(table.open().readline())
    device, deployment = heading["device"], heading["deployment"]
    print(
        f"{_STUDY}, {deployment['quantization']}, pp{deployment['prompt_length']} and "
        f"tg64@{deployment['context_depth']}, relative to {heading['reference']}; "
        f"{lines[0].accuracy.count} candidates, five folds"
    )
    print(f"{device['cpu']}, {device['cores']} cores, {device['runtime']}")
    print(f"{'':9}{'loads':>5}  {'':12}{'R2':>7}{'ceiling':>9}{'Kendall':>9}{'±10 %':>8}")
    for line in lines:
        found = line.accuracy
        ceiling = "" if line.ceiling is None else f"{line.ceiling:.3f}"
        print(
            f"{line.score:9}{line.loads:5}  {line.predictor:12}{found.r2:7.3f}{ceiling:>9}"
            f"{found.kendall_tau:9.3f}{found.within_tenth:8.0%}"
        )
    print(json.dumps({"table": heading, "lines": [asdict(line) for line in lines]}))


if __name__ == "__main__":
    main()
