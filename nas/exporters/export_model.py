"""Exports a model in any format, completely or not at all."""

import shlex
from pathlib import Path
from typing import assert_never

from evaluators.evaluator import Progress, Report
from nas.exporters.architecture_json import model_provenance, write_architecture
from nas.exporters.formats import (
    DEFAULT_QUANTIZATION,
    FORMATS,
    PROXY,
    RANDOM,
    Exported,
    ExportOptions,
    Format,
    formats_where,
)
from nas.exporters.output import check_architecture_path, file_name, writing_file
from nas.exporters.torch_file import write_torch
from nas.inputs.model_argument import ResolvedModel
from search_space.input_errors import one_of
from search_space.input_files import real_path


def export_model(
    model: ResolvedModel,
    options: ExportOptions,
    *,
    folder: Path = Path(),
    report: Report | None = None,
) -> Exported:
    """Export a model completely or not at all.

    Args:
        model: The model.
        options: The format and how to write it.
        folder: The folder that a model is exported to if `options.output` is None.
        report: Receives the progress, because training a proxy or writing a large model takes
            minutes.

    Raises:
        ValueError: The options contradict the format, the format cannot express the model, the
            weights do not fit, or the output cannot be written.
    """
    _check_options(model, options)
    path = options.output or folder / _default_name(model, options)
    _check_output(model, options, path)
    match options.file_format:
        case Format.JSON:
            with writing_file(path, overwrite=options.overwrite) as file:
                provenance = model_provenance(model, model.scaled_from)
                write_architecture(model.architecture, file, provenance)
            return Exported(path=path)
        case Format.TORCH:
            with writing_file(path, overwrite=options.overwrite) as file:
                write_torch(model.architecture, file, name=model.name)
            return Exported(path=path)
        case Format.GGUF | Format.HF | Format.ONNX:
            # Takes seconds to import, like torch; the other formats need neither.
            from nas.exporters.weighted_export import export_with_weights

            return export_with_weights(model, options, path, report or _ignore)
        case _:
            assert_never(options.file_format)


def next_steps(exported: Exported, file_format: Format) -> tuple[str, ...]:
    """Return shell commands that use an export."""
    definition = FORMATS[file_format]
    commands = definition.next_commands
    commands += definition.text_commands if exported.reads_text else ()
    commands += definition.llama_cpp_commands if exported.fits_llama_cpp else ()
    path = shlex.quote(str(exported.path))
    return tuple(command.format(path=path) for command in commands)


def _ignore(progress: Progress) -> None:
    """Do nothing: the progress of an export that nobody watches."""


def _check_options(model: ResolvedModel, options: ExportOptions) -> None:
    """Refuse options that would have no effect or cannot be met."""
    name, definition = options.file_format, FORMATS[options.file_format]
    quantization = options.quantization
    for option in ("weights", "quantization"):
        value = getattr(options, option)
        if value is not None and not definition.has_weights:
            others = formats_where(lambda definition: definition.has_weights)
            raise ValueError(
                f"{option}: '{value}' does not apply to --format {name}, which contains no "
                f"weights; only {others} do"
            )
    if quantization is not None and not definition.quantizations:
        others = formats_where(lambda definition: bool(definition.quantizations))
        raise ValueError(
            f"quantization: '{quantization}' does not apply to --format {name}, which is always "
            f"fp32, for training; only {others} can be quantised"
        )
    if quantization is not None and quantization not in definition.quantizations:
        raise ValueError(
            f"quantization: '{quantization}' is not {one_of(definition.quantizations)}"
        )
    if options.weights == PROXY and (model.detail is None or model.scaled_from is not None):
        raise ValueError("weights: 'proxy' requires a trial of a study, without --scale")


def _check_output(model: ResolvedModel, options: ExportOptions, path: Path) -> None:
    """Refuse a path that could not be read again, and to overwrite the weights that are read."""
    if options.file_format is Format.JSON:
        check_architecture_path(path)
    given = None if options.weights in (None, RANDOM, PROXY) else Path(str(options.weights))
    for source in (model.folder, given):
        if source is not None and real_path(source).is_relative_to(real_path(path)):
            raise ValueError(
                f"output: '{path}' contains the model that is read, and is not overwritten"
            )


def _default_name(model: ResolvedModel, options: ExportOptions) -> str:
    name = file_name(model.name)
    if options.weights == PROXY:
        name += "-proxy"
    match options.file_format:
        case Format.TORCH:  # Python must be able to import it
            name = "".join(letter if letter.isalnum() else "_" for letter in name)
        case Format.GGUF:
            name += f"-{options.quantization or DEFAULT_QUANTIZATION}"
        case Format.JSON | Format.HF | Format.ONNX:
            pass
        case _:
            assert_never(options.file_format)
    return name + FORMATS[options.file_format].suffix
