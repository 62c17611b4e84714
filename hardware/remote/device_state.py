"""The state of a device: its temperatures, clocks, free memory and installed packages.

It needs only Python. What the system does not report is left out.
"""

import importlib.metadata
import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

_PACKAGES = ("numpy", "onnxruntime")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThermalZone:
    """A temperature sensor.

    Attributes:
        name: Its type, as the system names it, such as `cpu-thermal`.
        celsius: Its temperature.
    """

    name: str
    celsius: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """The state of a device at one moment.

    Attributes:
        zones: The temperature sensors.
        clocks_mhz: The present clock frequency of each core; empty if it is not reported.
        free_memory_bytes: The memory that programs can still get; None if it is not reported.
        free_disk_bytes: The free space in the folder of the files of models.
        packages: The installed versions of the packages that measure, by name; None if missing.
    """

    zones: tuple[ThermalZone, ...]
    clocks_mhz: tuple[float, ...]
    free_memory_bytes: int | None
    free_disk_bytes: int
    packages: dict[str, str | None]

    @property
    def hottest_c(self) -> float | None:
        """The highest temperature; None without a sensor."""
        return max((zone.celsius for zone in self.zones), default=None)


def read_state(folder: Path, root: Path = Path("/")) -> DeviceState:
    """Read the state of this device.

    Args:
        folder: The folder of the files of models.
        root: The folder with `proc` and `sys`.
    """
    cpus = root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
    clocks = [_number(path) for path in sorted(cpus, key=_core_number)]
    return DeviceState(
        zones=tuple(read_thermal_zones(root)),
        clocks_mhz=tuple(khz / 1000 for khz in clocks if khz is not None),
        free_memory_bytes=_free_memory_bytes(root),
        free_disk_bytes=shutil.disk_usage(folder).free,
        packages={name: _version(name) for name in _PACKAGES},
    )


def read_thermal_zones(root: Path = Path("/")) -> list[ThermalZone]:
    """Return the temperature sensors that report a plausible value.

    Args:
        root: The folder with `sys`.
    """
    found = []
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone[0-9]*")):
        value, name = _number(zone / "temp"), _text(zone / "type")
        if value is None or name is None:
            continue
        # The kernel's unit is millidegrees, but some drivers of phones report degrees.
        celsius = value / 1000 if abs(value) >= 1000 else float(value)
        if -40 <= celsius <= 150 and celsius != 0:
            found.append(ThermalZone(name=name, celsius=celsius))
    return found


def _core_number(path: Path) -> int:
    return int(path.parts[-3].removeprefix("cpu"))


def _free_memory_bytes(root: Path) -> int | None:
    for line in (_text(root / "proc/meminfo") or "").splitlines():
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return None


def _version(package: str) -> str | None:
    if importlib.util.find_spec(package) is None:
        return None
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


def _number(path: Path) -> int | None:
    try:
        return int(_text(path) or "")
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:  # also sensors that are switched off
        return None
