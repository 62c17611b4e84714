"""From what `nas export` is asked for to a file or a folder."""

import shlex
from pathlib import Path
from typing import assert_never

from nas.exporters.architecture_json import subject_provenance, write_architecture
from nas.exporters.formats import PROXY, RANDOM, USUAL_QUANTIZATION, Exported, ExportOptions, Format
from nas.exporters.output import file_name, writing_file
from nas.exporters.torch_file import write_torch
from nas.inputs.model_argument import ResolvedModel


def export_model(subject: ResolvedModel, options: ExportOptions) -> Exported:
    """Writes all of it or nothing.

    ValueError for what the format cannot express, for weights that do not fit, and for a place that
    cannot be written.
    """
    _check_wishes(subject, options)
    path = options.output or Path(_default_name(subject, options))
    _check_place(subject, options, path)
    match options.file_format:
        case Format.JSON:
            with writing_file(path, overwrite=options.overwrite) as file:
                provenance = subject_provenance(subject, subject.stretched_from)
                write_architecture(subject.architecture, file, provenance)
            return Exported(path=path)
        case Format.TORCH:
            with writing_file(path, overwrite=options.overwrite) as file:
                write_torch(subject.architecture, file, name=subject.name)
            return Exported(path=path)
        case Format.GGUF | Format.HF | Format.ONNX:
            # Takes seconds to import, with torch, and the other formats need none of it.
            from nas.exporters.weighted_export import export_with_weights

            return export_with_weights(subject, options, path)
        case _:
            assert_never(options.file_format)


def next_steps(exported: Exported, file_format: Format) -> tuple[str, ...]:
    """Commands, to be copied, that go on from what was written."""
    path = shlex.quote(str(exported.path))
    match file_format:
        case Format.JSON:
            return (f"nas show {path}", f"nas measure {path}")
        case Format.TORCH:
            return (f"python {path}",)
        case Format.HF:
            return (
                f"cat {path}/README.md",
                f"nas export {path} --format onnx",
                f"nas export {path} --format gguf",
            )
        case Format.ONNX:
            return (f"nas measure {path}", f"cat {path}/README.md")
        case Format.GGUF:
            writes = (f"llama-completion -m {path} -p 'def ' -n 32 --temp 0 -no-cnv",)
            return (f"llama-bench -m {path}", *(writes if exported.reads_text else ()))
        case _:
            assert_never(file_format)


def _check_wishes(subject: ResolvedModel, options: ExportOptions) -> None:
    """Refuses options that would be passed over."""
    if options.file_format in (Format.JSON, Format.TORCH):
        for option in ("weights", "quantization"):
            if getattr(options, option) is not None:
                raise ValueError(
                    f"{option}: '{getattr(options, option)}' is not for --format "
                    f"{options.file_format}, which holds no weights; hf, onnx and gguf do"
                )
    if options.file_format is Format.HF and options.quantization is not None:
        raise ValueError(
            f"quantization: '{options.quantization}' is not for --format hf, which is fp32, to be "
            "trained on; onnx and gguf are quantised"
        )
    if options.weights == PROXY and (subject.detail is None or subject.stretched_from is not None):
        raise ValueError(
            "weights: 'proxy' is the copy that a study trained of a trial, and wants a study and a "
            "trial, unscaled"
        )


def _check_place(subject: ResolvedModel, options: ExportOptions, path: Path) -> None:
    """Refuses to write over the weights that are read, which --force cannot mean."""
    given = None if options.weights in (None, RANDOM, PROXY) else Path(str(options.weights))
    for source in (subject.folder, given):
        if source is not None and source.resolve().is_relative_to(path.resolve()):
            raise ValueError(
                f"output: '{path}' holds the model that is read, and is not overwritten"
            )


def _default_name(subject: ResolvedModel, options: ExportOptions) -> str:
    name = file_name(subject.name)
    if options.weights == PROXY:
        name += "-proxy"
    match options.file_format:
        case Format.JSON:
            return f"{name}.json"
        case Format.TORCH:  # a name that Python can import
            return "".join(letter if letter.isalnum() else "_" for letter in name) + ".py"
        case Format.GGUF:
            return f"{name}-{options.quantization or USUAL_QUANTIZATION}.gguf"
        case Format.HF | Format.ONNX:
            return f"{name}-{options.file_format}"
        case _:
            assert_never(options.file_format)
