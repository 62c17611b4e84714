"""The plan of a study, without measuring anything."""

from evaluators.evaluator import Score
from nas.workflows.space_samples import RefusedShares, SampleSize, SpaceSample
from nas.workflows.stage_times import StageTimes
from nas.workflows.study_plan import CorpusUsage, StudyPlan
from search_space.preset_models import PRESETS
from studies.spec.study_file import read_spec
from studies.spec.study_tables import Constraint, Objective


def example_plan() -> StudyPlan:
    """Return a plan of a variant of quickstart with ten trials and one reference model."""
    spec = read_spec("quickstart").model_copy(
        update={
            "trials": 10,
            "objectives": (Objective(name="loss"), Objective(name="decode", max=12.5)),
            "constraints": (Constraint(name="memory", max=400.0),),
            "references": ("lfm2-350m",),
        }
    )
    return StudyPlan(
        spec=spec,
        architectures=123_456_789,
        parameters_least=10_000_000,
        parameters_most=40_000_000,
        weight_bytes_least=5_000_000,
        weight_bytes_most=25_000_000,
        legal_share=0.5,
        expressible_share=1.0,
        inexpressible={},
        reference="hybrid-20m",
        samples=(
            example_sample("smallest", "smollm2-135m", decode_ms=4.0, memory_mb=150.0),
            example_sample("median", "qwen3-0.6b", decode_ms=12.0, memory_mb=390.0),
            example_sample("largest", "lfm2-700m", decode_ms=14.0, memory_mb=450.0),
        ),
        refused=RefusedShares(untimed=0.0, untrained=0.0),
        drawn=PRESETS["qwen3-0.6b"],
        corpus_usage=CorpusUsage(
            training_bytes=8_000_000, held_out_bytes=250_000, read_bytes=2e7, note="2 copies"
        ),
        times=StageTimes(latency_seconds=10.0, training_seconds=50.0, failure=None),
    )


def example_sample(
    size: SampleSize, preset: str, *, decode_ms: float, memory_mb: float
) -> SpaceSample:
    """Return a measured preset; its decoding time is known to 4 %."""
    return SpaceSample(
        size=size,
        architecture=PRESETS[preset],
        scores=(
            Score(
                name="decode",
                value=decode_ms,
                unit="ms/token",
                low=0.96 * decode_ms,
                high=1.04 * decode_ms,
            ),
            Score(name="memory", value=memory_mb, unit="MB"),
        ),
        seconds=10.0,
        failure=None,
    )
