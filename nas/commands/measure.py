"""`nas measure`: time models on this machine, interleaved with each other."""

from pathlib import Path
from typing import Annotated

import typer

from nas.commands.occupied_machine import IfOccupiedOption, LongestWaitOption


def measure(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Presets, architecture files (.json), model folders, ONNX files, GGUF files, and "
            "trials of studies as STUDY:TRIAL."
        ),
    ],
    against: Annotated[
        str | None,
        typer.Option(
            help="The model that all others are timed interleaved with.",
            show_default="the first model",
        ),
    ] = None,
    workload: Annotated[
        list[str],
        typer.Option(
            help="ppN: prefill a prompt of N tokens. tgN: generate N tokens. tgN@DEPTH: generate "
            "N tokens at this context depth. May be repeated."
        ),
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
    threads: Annotated[
        int | None,
        typer.Option(help="Number of threads, each on a core of its own.", show_default="1", min=1),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            help="A device of the file of devices. May be repeated, to compare devices.",
            show_default="this machine",
        ),
    ] = None,
    devices_file: Annotated[
        Path | None,
        typer.Option(
            "--devices",
            help="File of devices.",
            show_default="devices.toml here, or in the user's configuration folder",
        ),
    ] = None,
    precision: Annotated[
        float,
        typer.Option(
            help="Requested precision: half the width of the 95 % confidence interval of a ratio, "
            "or of the time of a single model, as a fraction."
        ),
    ] = 0.05,
    seconds: Annotated[
        float, typer.Option(help="Time limit of one run of a workload, in seconds.")
    ] = 10.0,
    longest_wait: LongestWaitOption = None,
    if_occupied: IfOccupiedOption = "measure",
    storage: Annotated[
        str | None, typer.Option(help="Database URL; replaces the one in the study file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Time models and compare them.

    Each model is timed interleaved with a reference model until the ratio of their times is precise
    enough. Results that do not reach the requested precision are measured up to two more times.
    Architectures are built with random weights.
    """
    from hardware.machine_lock import make_lock_wait
    from hardware.measurement import parse_workload
    from hardware.stability import TimingBudget
    from nas.inputs.device_argument import devices_to_measure_on
    from nas.inputs.model_argument import find_measurables
    from nas.views.device_comparison_view import (
        device_comparisons_document,
        device_comparisons_view,
    )
    from nas.views.live_items import live_items
    from nas.views.terminal import notices, output, print_json
    from nas.workflows.device_comparison import MeasuringTask, measure_on_devices
    from nas.workflows.timing_conditions import conditions_of
    from search_space.input_errors import one_sentence

    timing_budgets = [
        TimingBudget(workload=parse_workload(text), precision=precision, seconds=seconds)
        for text in workload
    ]
    found = find_measurables(models if against is None else [*models, against], storage)
    reference = None if against is None else found[-1]
    lock_wait = make_lock_wait(seconds, longest_wait, if_occupied)
    tasks = [
        MeasuringTask(
            device=each,
            conditions=conditions_of(
                found,
                timing_budgets,
                runtime=runtime,
                quantization=quantization,
                threads=threads,
                lock_wait=lock_wait,
                device=each,
            ),
        )
        for each in devices_to_measure_on(device or [], devices_file)
    ]
    seconds_each = sum(each.seconds for each in tasks[0].conditions.timing_budgets)
    with live_items("models", seconds_each) as listener:
        compared = measure_on_devices(found[: len(models)], reference, tasks, listener)
    if as_json:
        print_json(device_comparisons_document(compared))
    elif any(each.comparison.measured for each in compared):
        output().print(device_comparisons_view(compared))
    failures = [(each.device, failure) for each in compared for failure in each.comparison.failures]
    for failed_on, failure in failures:
        names = [*([] if failed_on is None else [failed_on.name]), failure.model.name]
        sentence = one_sentence(f"{': '.join(names)}: {failure.reason}")
        notices().print(f"nas: {sentence}", soft_wrap=True)
    if failures:
        is_users_error = any(failure.is_file_refused for _, failure in failures)
        raise typer.Exit(2 if is_users_error else 1)
