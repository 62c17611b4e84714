"""The table of export formats, the options of an export, and its result.

The command line imports this module at startup, so it imports nothing slow.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

# Values of `ExportOptions.weights` that are not paths.
RANDOM, PROXY = "random", "proxy"
DEFAULT_QUANTIZATION = "int4"
DEFAULT_CONTEXT_LENGTH = 4096


class Format(StrEnum):
    """The names of the export formats; `FORMATS` describes them."""

    JSON = "json"
    TORCH = "torch"
    HF = "hf"
    ONNX = "onnx"
    GGUF = "gguf"


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatDefinition:
    """An export format. `export_model` writes it.

    Attributes:
        summary: What is written, in a few words.
        suffix: The end of the default output path.
        is_folder: Whether a folder is written instead of a file.
        has_weights: Whether the export contains weights.
        quantizations: The values that `--quantization` accepts; empty if there is no choice.
        next_commands: Shell commands that use the export, with `{path}` in place of its path.
        text_commands: Further commands, which require a tokenizer in the export.
        llama_cpp_commands: Further commands, for architectures that llama.cpp supports.
    """

    summary: str
    suffix: str
    is_folder: bool = False
    has_weights: bool = False
    quantizations: tuple[str, ...] = ()
    next_commands: tuple[str, ...]
    text_commands: tuple[str, ...] = ()
    llama_cpp_commands: tuple[str, ...] = ()


FORMATS: Mapping[Format, FormatDefinition] = MappingProxyType(
    {
        Format.JSON: FormatDefinition(
            summary="the architecture",
            suffix=".json",
            next_commands=("nas show {path}", "nas measure {path}"),
        ),
        Format.TORCH: FormatDefinition(
            summary="one Python file",
            suffix=".py",
            next_commands=("python {path}",),
        ),
        Format.HF: FormatDefinition(
            summary="a folder for transformers",
            suffix="-hf",
            is_folder=True,
            has_weights=True,
            next_commands=(
                "cat {path}/README.md",
                "nas export {path} --format onnx",
            ),
            llama_cpp_commands=("nas export {path} --format gguf",),
        ),
        Format.ONNX: FormatDefinition(
            summary="a folder for onnxruntime and onnxruntime-genai",
            suffix="-onnx",
            is_folder=True,
            has_weights=True,
            quantizations=("fp32", "int8", "int4"),
            next_commands=("nas measure {path}", "cat {path}/README.md"),
        ),
        Format.GGUF: FormatDefinition(
            summary="a file for llama.cpp",
            suffix=".gguf",
            has_weights=True,
            quantizations=("fp16", "int8", "int4"),
            next_commands=("llama-bench -m {path}",),
            text_commands=("llama-completion -m {path} -p 'def ' -n 32 --temp 0 -no-cnv",),
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """How a model is exported.

    Attributes:
        file_format: The format.
        output: The path to write; None derives it from the name of the model.
        weights: `random`, `proxy`, or the path of a folder or file; None uses the weights in the
            folder of the model. A format without weights requires None.
        quantization: The quantisation, if the format has a choice; None stands for int4.
        seed: The seed of random weights.
        context_length: The maximum context length of the exported model, in tokens.
        overwrite: Whether an existing export is replaced.
    """

    file_format: Format
    output: Path | None = None
    weights: str | None = None
    quantization: str | None = None
    seed: int = 0
    context_length: int = DEFAULT_CONTEXT_LENGTH
    overwrite: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export has written.

    Attributes:
        path: The file or folder.
        reads_text: Whether a GGUF file contains a tokenizer.
        fits_llama_cpp: Whether llama.cpp supports the architecture of a folder for transformers.
        weights_origin: Where the weights come from, as a clause; None for a format without weights.
        remark: What could not be written or differs from the model, as a clause, if anything.
    """

    path: Path
    reads_text: bool = False
    fits_llama_cpp: bool = False
    weights_origin: str | None = None
    remark: str | None = None


def format_of(output: Path | None) -> Format:
    """Return the format that the end of an output path stands for.

    Args:
        output: The path; None is the default path.

    Returns:
        The format whose exports have this suffix by default; json for a path without a suffix.

    Raises:
        ValueError: The suffix is that of no format.
    """
    if output is None:
        return Format.JSON
    for name, definition in FORMATS.items():
        if output.name.lower().endswith(definition.suffix):
            return name
    if not output.suffix:
        return Format.JSON
    known = ", ".join(f"{definition.suffix} ({name})" for name, definition in FORMATS.items())
    raise ValueError(
        f"output: '{output}' ends in none of {known}, so its format is not known; specify --format"
    )


def formats_where(holds: Callable[[FormatDefinition], bool]) -> str:
    """Return the names of the formats whose definition meets a condition, such as "hf and onnx"."""
    *names, last = (str(name) for name, definition in FORMATS.items() if holds(definition))
    return f"{', '.join(names)} and {last}" if names else last
