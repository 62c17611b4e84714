"""Facts about a machine that affect timing, read with the standard library only."""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where and under which load a measurement was taken; None for what is not reported."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuCounters:
    """Processor time since the machine started.

    Attributes:
        at_ns: When the counters were read, on a monotonic clock.
        busy_s: Seconds that each core worked for any process of this system.
        steal_s: Seconds that the hypervisor took from each core.
        own_s: Seconds that the reading process has used since it started, on all cores.
    """

    at_ns: int
    busy_s: tuple[float, ...]
    steal_s: tuple[float, ...]
    own_s: float


def read_environment(runtime_version: str) -> Environment:
    """Return the facts about this machine; `runtime_version` names the runtime and its version."""
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


def fingerprint_of(environment: Environment, threads: int) -> str:
    """Return what the time of a model file depends on: device, runtime, threads."""
    facts = (environment.host, environment.cpu, environment.cores, environment.runtime_version)
    return " ".join(map(str, (*facts, f"threads {threads}")))


def read_counters() -> CpuCounters | None:
    """Read the counters in /proc/stat (proc(5)); return None where there is no such file."""
    at_ns = time.monotonic_ns()
    ticks_by_core = {}
    for line in (_content(Path("/proc/stat")) or "").splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            ticks_by_core[int(name[3:])] = [int(field) for field in fields]
    if not ticks_by_core:
        return None
    busy_s, steal_s = [], []
    for core in range(1 + max(ticks_by_core)):  # an offline core has no line
        # The guest times that follow are already part of the user times.
        user, nice, system, _, _, irq, softirq, steal = ticks_by_core.get(core, [0] * 8)[:8]
        busy_s.append((user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK"))
        steal_s.append(steal / os.sysconf("SC_CLK_TCK"))
    return CpuCounters(
        at_ns=at_ns, busy_s=tuple(busy_s), steal_s=tuple(steal_s), own_s=time.process_time()
    )


def slowest_clock_mhz(cores: Sequence[int], root: Path = Path("/")) -> float | None:
    """Return the lowest present clock frequency of some cores; None if it is not reported (Linux).

    Args:
        cores: The numbers of the cores; at least one.
        root: The folder with `sys`.
    """
    frequencies = [
        _content(root / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq")
        for core in cores
    ]
    known = [int(khz) for khz in frequencies if khz is not None and khz.isdecimal()]
    return min(known) / 1000 if known else None


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
