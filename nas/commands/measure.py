"""`nas measure`: how long models take on this machine, as a table like llama-bench's."""

from typing import Annotated

import typer


def measure(
    models: Annotated[list[str], typer.Argument(help="Presets or architecture files (.json).")],
    workload: Annotated[
        list[str], typer.Option(help="ppN, tgN or tgN@DEPTH; may be given several times.")
    ] = ["pp512", "tg64@512"],  # noqa: B006 - typer copies it
    quantization: Annotated[str, typer.Option(help="fp32, int8 or int4.")] = "int4",
    threads: Annotated[int, typer.Option(help="Threads, each pinned to a core.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure models with random weights as deployed ONNX graphs, each in a fresh process."""
    from hardware.local import LocalRunner
    from hardware.measurement import parse_workload
    from nas.measuring import measure_models, measurement_documents, measurement_table
    from nas.models import find_model
    from nas.views.terminal import output, print_json

    found = [find_model(model) for model in models]
    workloads = tuple(parse_workload(text) for text in workload)
    rows = measure_models(found, LocalRunner(threads=threads), workloads, quantization)
    if as_json:
        print_json(measurement_documents(rows))
    else:
        output().print(measurement_table(rows))
