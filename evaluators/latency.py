"""The architecture at full size, as the model file that would be deployed, timed on the device."""

import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from evaluators.evaluator import (
    Evaluation,
    EvaluationFailed,
    FailureKind,
    Progress,
    Report,
    Score,
)
from hardware.measurement import Measurement, Workload, median_interval_ms, quantile_ms
from hardware.runner import Runner, RunnerError, RunnerErrorKind
from search_space.architecture import Architecture
from search_space.onnx_graph import GraphQuantization
from search_space.onnx_model import write_onnx

# Raise it when the graph or the way it is timed changes: what was measured before does not compare.
_VERSION = 1
_FAILURES: dict[RunnerErrorKind, FailureKind] = {
    "out of memory": "out of memory",
    "refused": "build error",
    "crashed": "device lost",
    "timed out": "timed out",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySettings:
    """A prompt of `prompt_length` tokens, and `decode_tokens` written behind `context_depth`."""

    quantization: GraphQuantization
    prompt_length: int
    context_depth: int
    decode_tokens: int = 64


class LatencyEvaluator:
    """`decode` in ms a token, `prefill` in ms a prompt (medians), `memory` in MB (1e6 bytes).

    Memory is the most that the measuring process holds while it works, its interpreter included.
    """

    stage = "latency"
    score_names = ("decode", "prefill", "memory")

    def __init__(self, runner: Runner, settings: LatencySettings) -> None:
        self._runner = runner
        self._settings = settings

    @property
    def fingerprint(self) -> str:
        settings = json.dumps(asdict(self._settings), sort_keys=True)
        return f"latency {_VERSION} {settings} {self._runner.fingerprint}"

    def evaluate(self, architecture: Architecture, report: Report) -> Evaluation:
        settings = self._settings
        start = time.monotonic()
        prompt = Workload(phase="prefill", tokens=settings.prompt_length)
        text = Workload(phase="decode", tokens=settings.decode_tokens, depth=settings.context_depth)
        report(Progress(done=0.0, text=f"measures {prompt} and {text} at {settings.quantization}"))
        measurements = measure_architecture(
            self._runner, architecture, settings.quantization, (prompt, text)
        )
        prefill, decode = measurements
        memory = max(measurement.peak_memory_bytes for measurement in measurements)
        return Evaluation(
            scores=(
                _latency("decode", decode, "ms/token"),
                _latency("prefill", prefill, "ms"),
                Score(name="memory", value=memory / 1e6, unit="MB"),
            ),
            seconds=time.monotonic() - start,
            measurements=measurements,
        )


def measure_architecture(
    runner: Runner,
    architecture: Architecture,
    quantization: GraphQuantization,
    workloads: tuple[Workload, ...],
) -> tuple[Measurement, ...]:
    """Builds the model file in a temporary folder and has every workload measured.

    Raises EvaluationFailed.
    """
    longest = max(workload.tokens + workload.depth for workload in workloads)
    with tempfile.TemporaryDirectory(prefix="nas-") as folder:
        try:
            model = write_onnx(
                architecture, Path(folder), quantization=quantization, context_length=longest
            )
        except ValueError as error:
            raise EvaluationFailed("build error", str(error)) from error
        except OSError as error:
            reason = f"{folder} cannot be written ({error.strerror})"
            raise EvaluationFailed("build error", reason) from error
        try:
            return runner.measure(model, workloads)
        except RunnerError as error:
            raise EvaluationFailed(_FAILURES[error.kind], error.reason) from error


def _latency(name: str, measurement: Measurement, unit: str) -> Score:
    interval = median_interval_ms(measurement)
    return Score(
        name=name,
        value=quantile_ms(measurement, 0.5),
        unit=unit,
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
    )
