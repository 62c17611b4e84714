"""The formats that a model leaves in, what may be asked of an export, and what comes of it."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

# What weights may be beside a path.
RANDOM, PROXY = "random", "proxy"
USUAL_QUANTIZATION = "int4"


class Format(StrEnum):
    """json: the architecture and where it comes from. torch: one Python file, without weights.

    hf: a folder for transformers. onnx: one for onnxruntime. gguf: a file for llama.cpp.
    """

    JSON = "json"
    TORCH = "torch"
    HF = "hf"
    ONNX = "onnx"
    GGUF = "gguf"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """How it is exported.

    output: None for a name that follows from the subject's.
    weights: `random`, `proxy` or a path; None takes those of the subject's folder, else random.
    quantization: None takes int4 where the format has a choice.
    context_length: of the exported model, in tokens.
    """

    file_format: Format
    output: Path | None
    weights: str | None
    quantization: str | None
    seed: int
    context_length: int
    overwrite: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written, where its weights are from, and what could not be written.

    reads_text: whether a tokenizer is in it.
    """

    path: Path
    reads_text: bool = False
    weights_origin: str | None = None
    remark: str | None = None
