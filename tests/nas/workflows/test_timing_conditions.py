"""The options of a comparison: what is refused, and what applies to which models."""

from pathlib import Path

import pytest

from hardware.measurement import parse_workload
from hardware.stability import TimingBudget
from nas.inputs.model_argument import Measurable, ModelFile
from nas.workflows.timing_conditions import Conditions, conditions_of
from tests.search_space.strategies import CORNERS

TIMING_BUDGETS = [
    TimingBudget(workload=parse_workload(text), precision=0.5, seconds=0.1)
    for text in ("pp16", "tg8@16", "tg8")
]
A = Measurable(name="a", source=CORNERS["one layer"])
GGUF = Measurable(name="x.gguf", source=ModelFile(path=Path("x.gguf"), model_format="gguf"))
ONNX = Measurable(
    name="x", source=ModelFile(path=Path("model.onnx"), model_format="onnx", context_length=20)
)
LONG_ONNX = Measurable(
    name="y", source=ModelFile(path=Path("model.onnx"), model_format="onnx", context_length=24)
)


def conditions(*models: Measurable, **asked: object) -> Conditions:
    usual = {"runtime": None, "quantization": None, "threads": 1}
    return conditions_of(models, TIMING_BUDGETS, **usual | asked)


@pytest.mark.parametrize(
    ("models", "asked", "sentence"),
    [
        ([A], {"runtime": "tflite"}, "runtime: 'tflite' is not one of onnxruntime, llama.cpp"),
        (
            [A],
            {"quantization": "int3"},
            "quantization: 'int3' is not one of fp32, int8, int4, which onnxruntime",
        ),
        (
            [A],
            {"runtime": "llama.cpp", "quantization": "fp32"},
            "quantization: 'fp32' is not one of fp16, int8, int4, which llama.cpp supports",
        ),
        ([GGUF], {"runtime": "onnxruntime"}, "runtime: 'onnxruntime' cannot run x.gguf"),
        ([LONG_ONNX], {"runtime": "llama.cpp"}, "runtime: 'llama.cpp' cannot run y"),
        ([GGUF], {"quantization": "int8"}, "quantization: 'int8' applies to architectures"),
        ([A, ONNX], {}, "workload: 24 tokens in total exceed 20, the context length of x"),
    ],
)
def test_impossible_options_are_refused_before_anything_is_measured(
    models, asked, sentence
) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}"):
        conditions(*models, **asked)


def test_options_for_architectures_do_not_affect_files() -> None:
    assert conditions(A, LONG_ONNX, runtime="llama.cpp").model_format == "gguf"
    assert conditions(GGUF, runtime="llama.cpp").model_format == "gguf"
    assert conditions(A, GGUF, quantization="fp32").quantization == "fp32"
