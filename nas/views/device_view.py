"""Devices and the results of checking them, for the terminal and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from evaluators.speed.device_file import channel_of
from nas.findings.wording import number
from nas.inputs.device_argument import NamedDevice
from nas.views.terminal import table
from nas.workflows.device_check import DeviceCheck


def devices_document(devices: Sequence[NamedDevice]) -> list[dict[str, Any]]:
    """Return the document that `nas devices list --json` prints."""
    return [
        {"name": device.name, **device.definition.model_dump(exclude_none=True)}
        for device in devices
    ]


def devices_view(devices: Sequence[NamedDevice]) -> RenderableType:
    """Return a table of devices."""
    grid = table(
        "device",
        "reached by",
        "runtime",
        "threads",
        "cores",
        left=("device", "reached by"),
        fold=("reached by",),
    )
    for device in devices:
        definition = device.definition
        cores = definition.cores
        grid.add_row(
            device.name,
            channel_of(definition).name,
            definition.runtime,
            str(definition.threads),
            "idlest" if cores is None else cores if isinstance(cores, str) else _listed(cores),
        )
    return grid


def check_document(check: DeviceCheck) -> dict[str, Any]:
    """Return the document that `nas devices check --json` prints about a device."""
    pair = check.self_pair
    interval = None if pair is None else pair.interval
    return {
        "name": check.device.name,
        "can_measure": check.can_measure,
        "channel": check.channel,
        "connect_s": check.connect_s,
        "python": check.python,
        "identity": None if check.identity is None else asdict(check.identity),
        "state": None if check.state is None else asdict(check.state),
        "exchange_ms": check.exchange_ms,
        "sent_mb_s": check.sent_mb_s,
        "runtime": check.runtime,
        "cores": list(check.cores),
        "self_pair": None
        if pair is None
        else {
            "ratio": pair.value,
            "low": None if interval is None else interval.low,
            "high": None if interval is None else interval.high,
        },
        "problems": list(check.problems),
    }


def check_view(check: DeviceCheck) -> RenderableType:
    """Return what a check found, line by line."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    for name, value in _facts(check):
        grid.add_row(name, value)
    for problem in check.problems:
        grid.add_row("problem", Text(problem, style="red"))
    return grid


def _facts(check: DeviceCheck) -> Iterator[tuple[str, str]]:
    yield "device", check.device.name
    yield "reached by", check.channel
    if check.connect_s is not None:
        yield "connected in", f"{check.connect_s:.1f} s"
    identity, state = check.identity, check.state
    if identity is not None:
        model = "" if identity.model is None else f"{identity.model}, "
        yield "identity", f"{model}{identity.host}, {identity.system} ({identity.id})"
        for cluster in identity.clusters:
            speed = "" if cluster.max_mhz is None else f", up to {cluster.max_mhz:,.0f} MHz"
            yield "cores", f"{_listed(cluster.cores)}{speed}"
    if state is not None:
        packages = (f"{name} {version}" for name, version in state.packages.items() if version)
        yield "programs", ", ".join((f"Python {check.python}", *packages))
        yield "free", _free(check)
        zones = ", ".join(f"{zone.name} {zone.celsius:.0f} °C" for zone in state.zones)
        yield "temperature", zones or "not reported"
    if check.exchange_ms is not None and check.sent_mb_s is not None:
        yield (
            "connection",
            (f"{number(check.exchange_ms)} ms per exchange, {number(check.sent_mb_s)} MB/s"),
        )
    if check.self_pair is not None:
        yield "runtime", f"{check.runtime} on {_plural(check.cores)}"
        interval = check.self_pair.interval
        spread = "" if interval is None else f" ({interval.low:.3f} to {interval.high:.3f})"
        yield (
            "self-pair",
            (f"{check.self_pair.value:.3f}{spread}, the time of a model divided by that of a copy"),
        )


def _free(check: DeviceCheck) -> str:
    assert check.state is not None
    memory = check.state.free_memory_bytes
    disk = f"{check.state.free_disk_bytes / 1e9:,.1f} GB of disk"
    return disk if memory is None else f"{memory / 1e9:,.1f} GB of memory, {disk}"


def _plural(cores: Sequence[int]) -> str:
    if not cores:
        return "any core"
    return f"core{'s' if len(cores) > 1 else ''} {_listed(cores)}"


def _listed(cores: Sequence[int]) -> str:
    return ", ".join(map(str, cores))
