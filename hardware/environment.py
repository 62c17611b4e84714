"""Facts about a machine that change a timing, read with the standard library alone."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where and under what load a measurement was taken; None where the machine does not say."""

    host: str
    system: str
    cpu: str
    cores: int
    memory_bytes: int
    python: str
    runtime_version: str
    governor: str | None
    clock_mhz: float | None
    temperature_c: float | None
    load_1min: float | None


def read_environment(runtime_version: str) -> Environment:
    return Environment(
        host=platform.node(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        python=platform.python_version(),
        runtime_version=runtime_version,
        governor=_content(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        clock_mhz=_clock_mhz(),
        temperature_c=_temperature_c(),
        load_1min=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def _content(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None


def _cpu_info(field: str) -> str | None:
    for line in (_content(Path("/proc/cpuinfo")) or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return None


def _cpu_name() -> str:
    return _cpu_info("model name") or platform.processor() or platform.machine()


def _clock_mhz() -> float | None:
    value = _cpu_info("cpu MHz")
    return float(value) if value else None


def _temperature_c() -> float | None:
    millidegrees = _content(Path("/sys/class/thermal/thermal_zone0/temp"))
    return int(millidegrees) / 1000 if millidegrees else None
