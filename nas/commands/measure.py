"""`nas measure`: how long models take on this machine, side by side."""

from typing import Annotated

import typer


def measure(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Presets, architecture files (.json), models' folders, ONNX and GGUF files, and "
            "trials of studies as STUDY:TRIAL."
        ),
    ],
    against: Annotated[
        str | None,
        typer.Option(
            help="The model that all are timed in turns with; one like the others.",
            show_default="the first",
        ),
    ] = None,
    workload: Annotated[
        list[str], typer.Option(help="ppN, tgN or tgN@DEPTH; may be given several times.")
    ] = ["pp512", "tg64@512"],  # noqa: B006 - typer copies it
    runtime: Annotated[
        str | None,
        typer.Option(
            help="For architectures: onnxruntime or llama.cpp.", show_default="onnxruntime"
        ),
    ] = None,
    quantization: Annotated[
        str | None,
        typer.Option(
            help="For architectures: int4, int8, fp32 (onnxruntime) or fp16 (llama.cpp).",
            show_default="int4",
        ),
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads, on as many cores.")] = 1,
    precision: Annotated[
        float, typer.Option(help="Half the 95 % interval that is enough, as a share of the time.")
    ] = 0.02,
    seconds: Annotated[
        float, typer.Option(help="When the timing of a workload of a model ends anyhow.")
    ] = 10.0,
    storage: Annotated[
        str | None, typer.Option(help="Database URL, instead of the study file's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Time models in turns with one of them, until their ratio is known; architectures are built
    with random weights.
    """
    from hardware.measurement import parse_workload
    from hardware.stability import TimingBudget
    from nas.inputs.measurable import find_measurables
    from nas.views.comparison_view import comparison_document, comparison_view, watching
    from nas.views.terminal import notices, output, print_json
    from nas.workflows.model_timing import conditions_of, measure_models

    timing_budgets = [
        TimingBudget(workload=parse_workload(text), precision=precision, seconds=seconds)
        for text in workload
    ]
    found = find_measurables(models if against is None else [*models, against], storage)
    reference = None if against is None else found[-1]
    conditions = conditions_of(
        found, timing_budgets, runtime=runtime, quantization=quantization, threads=threads
    )
    with watching() as watch:
        comparison = measure_models(found[: len(models)], reference, conditions, watch)
    if as_json:
        print_json(comparison_document(comparison))
    elif comparison.measured:
        output().print(comparison_view(comparison))
    for failure in comparison.failures:
        notices().print(f"nas: {failure.model.name}: {failure.reason}", soft_wrap=True)
    if comparison.failures:
        raise typer.Exit(1)
