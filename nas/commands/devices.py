"""`nas devices`: list, check and add devices that models are measured on."""

import re
import shlex
import shutil
from pathlib import Path
from typing import Annotated

import typer

_CORES = re.compile(r"[0-9]{1,4}(?:,[0-9]{1,4})*")

devices = typer.Typer(
    help="List, check and add devices that models are measured on.", rich_markup_mode=None
)

_File = Annotated[
    Path | None,
    typer.Option(
        "--devices",
        help="File of devices.",
        show_default="devices.toml here, or in the user's configuration folder",
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@devices.command("list")
def list_(file: _File = None, as_json: _Json = False) -> None:
    """List the devices."""
    from nas.inputs.device_argument import find_device_file, find_devices
    from nas.views.device_view import devices_document, devices_view
    from nas.views.terminal import output, print_json

    path = find_device_file(file)
    found = find_devices([], path)
    if as_json:
        print_json(devices_document(found))
    else:
        output().print(devices_view(found))
        output().print(f"from {path}", style="dim", soft_wrap=True)


@devices.command()
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Names of devices.", show_default="all devices"),
    ] = None,
    file: _File = None,
    as_json: _Json = False,
) -> None:
    """Check whether devices can measure, and how precisely.

    Times a small model against a copy of itself. The exit code is 1 if a device cannot measure.
    """
    from nas.inputs.device_argument import find_device_file, find_devices
    from nas.views.device_view import check_document, check_view
    from nas.views.live_items import live_items
    from nas.views.terminal import output, print_json
    from nas.workflows.device_check import EXPECTED_S, check_devices

    found = find_devices(names or [], find_device_file(file))
    with live_items("devices", EXPECTED_S) as listener:
        checks = check_devices(found, listener)
    if as_json:
        print_json([check_document(each) for each in checks])
    else:
        for number, each in enumerate(checks):
            if number:
                output().print()
            output().print(check_view(each))
    if not all(each.can_measure for each in checks):
        raise typer.Exit(1)


@devices.command()
def add(
    name: Annotated[
        str, typer.Argument(help="Its name: lower-case letters, digits, dashes and underscores.")
    ],
    channel: Annotated[
        str, typer.Option(help="How it is reached: ssh, adb, command, or local for this machine.")
    ],
    host: Annotated[
        str | None, typer.Option(help="For ssh: a host, with or without USER@.")
    ] = None,
    serial: Annotated[
        str | None,
        typer.Option(help="For adb: the serial number.", show_default="the only device"),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(help="For command: a part of it. Repeat it for each part."),
    ] = None,
    python: Annotated[
        str | None, typer.Option(help="Python on the device.", show_default="python3")
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help="onnxruntime or llama.cpp.", show_default="onnxruntime")
    ] = None,
    llama_bench: Annotated[
        str | None,
        typer.Option(
            help="For llama.cpp: the path of llama-bench there.", show_default="found on its PATH"
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Number of threads.", show_default="1")
    ] = None,
    cores: Annotated[
        str | None,
        typer.Option(
            help="Cores to measure on, such as 4,5, or big for those of the fastest type.",
            show_default="the idlest ones",
        ),
    ] = None,
    android: Annotated[
        bool,
        typer.Option(
            "--android",
            help="First install Python, numpy and onnxruntime on the device, or update them. "
            "Needs no root.",
        ),
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option(
            "--devices",
            help="File of devices.",
            show_default="devices.toml in the user's configuration folder",
        ),
    ] = None,
) -> None:
    """Add a device to a file of devices.

    The rest of the file is not changed. The key cool has no option; write it into the file.
    """
    from nas.exporters.output import writing_file
    from nas.inputs.device_argument import find_device_file, users_device_file
    from nas.views.terminal import notices
    from nas.workflows.device_addition import install_python, text_with_device
    from search_space.input_files import exists, real_path, reason_of

    path = real_path(file or users_device_file())
    given = {
        "channel": channel,
        "host": host,
        "serial": serial,
        "run": run or None,
        "python": python,
        "runtime": runtime,
        "llama_bench": llama_bench,
        "threads": threads,
        "cores": None if cores is None else _core_numbers(cores),
    }
    values = {key: value for key, value in given.items() if value is not None}
    text = text_with_device(path, name, values, may_exist=android)
    if android:
        if channel != "adb" or python is not None:
            raise ValueError("android: it requires --channel adb, and no --python")
        install_python(serial, lambda line: notices().print(line, soft_wrap=True))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"devices: '{path}' cannot be written: {reason_of(error)}") from None
    with writing_file(path, overwrite=True, field="devices") as new:
        new.write_bytes(text.encode())
        if exists(path):
            shutil.copymode(path, new)
    is_found = file is None and real_path(find_device_file(None)) == path
    option = "" if is_found else f" --devices {shlex.quote(str(path))}"
    notices().print(f"wrote {path}; next: nas devices check {name}{option}", soft_wrap=True)


def _core_numbers(text: str) -> str | list[int]:
    """Return the cores that an option names: numbers, or the word for the fastest ones."""
    if text == "big":
        return text
    if not _CORES.fullmatch(text):
        raise ValueError(f"cores: {text!r} is neither big nor a list of numbers such as 4,5")
    return [int(part) for part in text.split(",")]
