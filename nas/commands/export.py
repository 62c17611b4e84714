"""`nas export`: write a model in the format that another tool loads."""

from pathlib import Path
from typing import Annotated

import typer

from nas.exporters.formats import (
    DEFAULT_CONTEXT_LENGTH,
    FORMATS,
    Format,
    format_of,
    formats_where,
)

_FORMAT_HELP = " ".join(f"{name}: {definition.summary}." for name, definition in FORMATS.items())
_FOLDER_FORMATS = formats_where(lambda definition: definition.is_folder)
_QUANTIZATION_HELP = "; ".join(
    f"for {name}: {', '.join(definition.quantizations)}"
    for name, definition in FORMATS.items()
    if definition.quantizations
).capitalize()


def export(
    model: Annotated[
        str,
        typer.Argument(help="A preset, an architecture file, a model folder, or a study."),
    ],
    trial: Annotated[
        str | None,
        typer.Argument(help="For a study: a trial number or the name of a reference model."),
    ] = None,
    file_format: Annotated[
        Format | None,
        typer.Option(
            "--format", help=_FORMAT_HELP, show_default="by the suffix of --output, else json"
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help=f"The file to write; for {_FOLDER_FORMATS}, the folder.",
            show_default="named after the model",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="random: random weights. proxy: the trial's proxy, retrained. PATH: a "
            ".safetensors file, or a folder saved by transformers.",
            show_default="those in the model folder",
        ),
    ] = None,
    quantization: Annotated[
        str | None,
        typer.Option(
            help=f"{_QUANTIZATION_HELP} (F16, Q8_0, Q4_0).",
            show_default="int4",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of random weights.", min=0, max=2**32 - 1)] = 0,
    scale: Annotated[
        str | None,
        typer.Option(help="Scale the model to this number of parameters, such as 700M or 1.2B."),
    ] = None,
    context: Annotated[
        int, typer.Option(help="Maximum context length in tokens.", min=1, max=1 << 24)
    ] = DEFAULT_CONTEXT_LENGTH,
    storage: Annotated[
        str | None, typer.Option(help="Database URL; replaces the one in the study file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing export.")] = False,
) -> None:
    """Export a model for training or deployment.

    Exports a preset, a model of your own, or the architecture of a trial.
    """
    from nas.exporters.export_model import export_model, next_steps
    from nas.exporters.formats import ExportOptions
    from nas.inputs.model_argument import find_model
    from nas.views.live_stage import live_progress
    from nas.views.terminal import notices

    chosen = file_format or format_of(output)
    found = find_model(model, trial, storage=storage, scale=scale)
    options = ExportOptions(
        file_format=chosen,
        output=output,
        weights=weights,
        quantization=quantization,
        seed=seed,
        context_length=context,
        overwrite=force,
    )
    with live_progress() as report:
        exported = export_model(found, options, report=report)
    origin = f": {exported.weights_origin}" if exported.weights_origin else ""
    console = notices()
    console.print(f"wrote {exported.path}{origin}", soft_wrap=True)
    for remark in (found.remark, exported.remark):
        if remark is not None:
            console.print(remark, soft_wrap=True)
    console.print("next: " + "    ".join(next_steps(exported, chosen)), soft_wrap=True)
