"""What identifies a device, and the state of its cores: only facts that the system reports.

Linux describes the hardware in files below /proc and /sys, and Android in properties. It needs only
Python.
"""

import hashlib
import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_CPUS = "sys/devices/system/cpu"
# The first that exists tells two boards with the same image apart.
_SERIAL_NUMBERS = ("proc/device-tree/serial-number", "sys/class/dmi/id/product_uuid")
_MODELS = ("proc/device-tree/model", "sys/class/dmi/id/product_name")
_GETPROP = "/system/bin/getprop"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreCluster:
    """Cores of one type.

    Attributes:
        cores: Their numbers.
        capacity: Their speed relative to the fastest cores of the device, which have 1,024; None if
            the system does not report it.
        max_mhz: Their highest clock frequency; None if the system does not report it.
    """

    cores: tuple[int, ...]
    capacity: int | None
    max_mhz: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceIdentity:
    """What a device is.

    Attributes:
        id: 16 hexadecimal digits, the same for as long as it is the same device with the same
            installation of its system, and different for every other device.
        model: The model of the device or board; None if the system does not report it.
        host: Its name in the network.
        system: The system, its version and the processor architecture.
        boot: What changes whenever the device starts; None if the system does not report it.
        clusters: The cores by type, the fastest first.
    """

    id: str
    model: str | None
    host: str
    system: str
    boot: str | None
    clusters: tuple[CoreCluster, ...]

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{16}", self.id):
            raise ValueError("id: it does not consist of 16 hexadecimal digits")


def read_identity(root: Path = Path("/")) -> DeviceIdentity:
    """Read what identifies this device.

    Args:
        root: The folder with `proc` and `sys`.
    """
    facts = (_serial_number(root), _content(root / "etc/machine-id"), platform.machine())
    return DeviceIdentity(
        id=hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()[:16],
        model=_first(root, _MODELS) or _property("ro.product.model"),
        host=platform.node(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        boot=_content(root / "proc/sys/kernel/random/boot_id"),
        clusters=read_clusters(root),
    )


def read_clusters(root: Path = Path("/")) -> tuple[CoreCluster, ...]:
    """Return the cores of this device by type, the fastest first.

    Args:
        root: The folder with `sys`.
    """
    by_type: dict[tuple[int | None, float | None], list[int]] = {}
    for core in range(os.cpu_count() or 1):
        capacity = _number(root / _CPUS / f"cpu{core}" / "cpu_capacity")
        max_khz = _number(root / _CPUS / f"cpu{core}" / "cpufreq/cpuinfo_max_freq")
        max_mhz = None if max_khz is None else max_khz / 1000
        by_type.setdefault((capacity, max_mhz), []).append(core)
    clusters = [
        CoreCluster(cores=tuple(cores), capacity=capacity, max_mhz=max_mhz)
        for (capacity, max_mhz), cores in by_type.items()
    ]
    return tuple(sorted(clusters, key=_speed, reverse=True))


def _speed(cluster: CoreCluster) -> tuple[int, float]:
    return cluster.capacity or 0, cluster.max_mhz or 0.0


def _serial_number(root: Path) -> str | None:
    return _first(root, _SERIAL_NUMBERS) or _property("ro.serialno")


def _property(name: str) -> str | None:
    """Return a property of Android; None on other systems."""
    if not os.access(_GETPROP, os.X_OK):
        return None
    answer = subprocess.run(  # noqa: S603 - a fixed program and a fixed name
        [_GETPROP, name], capture_output=True, text=True, timeout=10, check=False
    )
    return answer.stdout.strip() or None


def _first(root: Path, files: tuple[str, ...]) -> str | None:
    return next((text for file in files if (text := _content(root / file))), None)


def _number(path: Path) -> int | None:
    text = _content(path)
    return int(text) if text is not None and text.isdecimal() else None


def _content(path: Path) -> str | None:
    """Return the text of a file, without the zero byte that ends texts of the device tree."""
    try:
        return path.read_text(errors="replace").rstrip("\0").strip() or None
    except OSError:
        return None
