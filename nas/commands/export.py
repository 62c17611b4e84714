"""`nas export`: a winner leaves in the form that the next tool loads."""

from pathlib import Path
from typing import Annotated

import typer

from nas.exporters.formats import Format


def export(
    model: Annotated[
        str,
        typer.Argument(help="A preset, an architecture file, a model's folder, or a study."),
    ],
    trial: Annotated[
        str | None, typer.Argument(help="Of a study: a trial's number, or a reference's name.")
    ] = None,
    file_format: Annotated[
        Format,
        typer.Option(
            "--format",
            help="json: the architecture. torch: one Python file. hf: transformers. onnx: "
            "onnxruntime and onnxruntime-genai. gguf: llama.cpp.",
        ),
    ] = Format.JSON,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; for hf and onnx a folder.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="random; proxy: the copy that the study trained, trained again; or a folder that "
            "transformers saved, or a .safetensors file.",
            show_default="the folder's own, else random",
        ),
    ] = None,
    quantization: Annotated[
        str | None,
        typer.Option(
            help="onnx: fp32, int8, int4; gguf: fp16, int8, int4 (F16, Q8_0, Q4_0).",
            show_default="int4",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of random weights.", min=0, max=2**32 - 1)] = 0,
    scale: Annotated[
        str | None, typer.Option(help="Stretch it to so many parameters: 700M, 1.2B.")
    ] = None,
    context: Annotated[
        int, typer.Option(help="Tokens of context that it is made for.", min=1, max=1 << 24)
    ] = 4096,
    storage: Annotated[
        str | None, typer.Option(help="Database URL, instead of the study file's.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an export that exists.")] = False,
) -> None:
    """Export a model, or a trial's architecture, for the tools that train and deploy it."""
    from nas.exporters.export_model import export_model, next_steps
    from nas.exporters.formats import ExportOptions
    from nas.inputs.model_argument import find_subject
    from nas.views.terminal import notices

    subject = find_subject(model, trial, storage=storage, scale=scale)
    options = ExportOptions(
        file_format=file_format,
        output=output,
        weights=weights,
        quantization=quantization,
        seed=seed,
        context_length=context,
        overwrite=force,
    )
    exported = export_model(subject, options)
    written = str(exported.path) + (
        f": {exported.weights_origin}" if exported.weights_origin else ""
    )
    console = notices()
    console.print(f"wrote {written}", soft_wrap=True)
    for remark in (subject.remark, exported.remark):
        if remark is not None:
            console.print(remark, soft_wrap=True)
    console.print("next: " + "    ".join(next_steps(exported, file_format)), soft_wrap=True)
