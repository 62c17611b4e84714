"""`nas import`: convert a transformers configuration to an architecture file."""

import shlex
from pathlib import Path
from typing import Annotated

import typer


def import_(
    path: Annotated[Path, typer.Argument(help="A config.json, or the folder that contains it.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The architecture file to write.")
    ] = Path("architecture.json"),
    without_rope_scaling: Annotated[
        bool,
        typer.Option(
            "--without-rope-scaling",
            help="Ignore the scaling of rotary positions. The shape and the costs remain the same, "
            "but the model no longer computes the function that its weights were trained for.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Import a transformers model's configuration.

    Writes an architecture file, which can be used wherever a command takes a model.
    """
    from nas.exporters.output import check_architecture_path, writing_file
    from nas.inputs.config_argument import find_config
    from nas.views.terminal import notices
    from search_space.architecture import to_json
    from search_space.costs import parameter_counts
    from search_space.huggingface.configuration import architecture_of, without_scaling

    check_architecture_path(output)
    config = find_config(path)
    if without_rope_scaling:
        config = without_scaling(config)
    architecture = architecture_of(config, str(path))
    with writing_file(output, overwrite=force) as file:
        file.write_text(to_json(architecture, indent=2) + "\n", encoding="utf-8")
    parameters = parameter_counts(architecture).total
    notices().print(
        f"read {config['model_type']}, {parameters:,} parameters: {architecture.layout}"
    )
    file_name = shlex.quote(str(output))
    notices().print(
        f"wrote {output}; next: nas show {file_name}    nas measure {file_name}",
        soft_wrap=True,
    )
