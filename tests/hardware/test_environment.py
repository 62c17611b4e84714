import hashlib
import json
import os
import resource
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from operator import le
from pathlib import Path

import pytest

from hardware.environment import (
    CpuCounters,
    Environment,
    read_counters,
    read_environment,
    slowest_clock_mhz,
)


def test_it_describes_this_machine():
    environment = read_environment("onnxruntime 1.2.3")
    assert environment.runtime_version == "onnxruntime 1.2.3"
    assert environment.host == socket.gethostname()
    assert environment.cores == os.cpu_count()
    assert environment.python == ".".join(map(str, sys.version_info[:3]))
    assert environment.cpu


@pytest.mark.skipif(sys.platform != "linux", reason="compares with /proc")
def test_memory_is_what_the_kernel_reports():
    name, kibibytes = Path("/proc/meminfo").read_text().split()[:2]
    assert name == "MemTotal:"
    total = 1024 * int(kibibytes)
    assert read_environment("").memory_bytes == pytest.approx(total, rel=0.01)


def test_it_survives_json():
    environment = read_environment("onnxruntime")
    assert Environment(**json.loads(json.dumps(asdict(environment)))) == environment


def test_it_needs_only_the_standard_library():
    # The module is copied to devices. -S excludes site-packages, -I also the current folder.
    source = Path(read_environment.__code__.co_filename)
    script = f"import runpy; print(runpy.run_path({str(source)!r})['read_environment']('x').cores)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == os.cpu_count()


def test_what_a_machine_does_not_report_is_none(monkeypatch):
    def unreadable(path, *_args, **_options):
        raise PermissionError(path)

    monkeypatch.setattr(Path, "read_text", unreadable)
    environment = read_environment("x")
    assert environment.governor is None
    assert environment.clock_mhz is None
    assert environment.temperature_c is None
    assert environment.cpu
    assert read_counters() is None


STAT = """\
cpu  60 60 60 60 60 60 60 60 60 60
cpu0 10 20 30 1000 1000 40 50 7 5 5
cpu2 100 0 0 0 0 0 0 0 0 0
intr 1 2 3
"""


def own_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class TestCounters:
    @pytest.fixture
    def stat(self, monkeypatch):
        """Replace /proc/stat by STAT, with clock ticks of 1/100 s as on Linux."""
        monkeypatch.setattr(os, "sysconf", lambda name: {"SC_CLK_TCK": 100}[name])
        monkeypatch.setattr(Path, "read_text", lambda path: STAT)

    def test_idle_and_waiting_are_not_busy_and_guest_time_counts_once(self, stat):
        counters = read_counters()
        assert counters.busy_s[0] == pytest.approx(1.5)
        assert counters.steal_s[0] == pytest.approx(0.07)

    def test_a_core_keeps_its_number_if_others_are_offline(self, stat):
        counters = read_counters()
        assert counters.busy_s[1:] == (0.0, 1.0)
        assert counters.steal_s[1:] == (0.0, 0.0)

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/stat")
    def test_own_time_includes_all_threads(self):
        before, counters = own_seconds(), read_counters()
        # Hashing releases the interpreter's lock.
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda _: hashlib.sha256(bytes(20_000_000)), range(10)))
        later, after = read_counters(), own_seconds()
        assert before <= counters.own_s < later.own_s <= after + 1e-4  # counted in microseconds
        assert later.own_s - counters.own_s > 0.01
        assert later.at_ns > counters.at_ns
        assert len(later.busy_s) == len(later.steal_s) >= os.cpu_count()
        assert all(map(le, counters.busy_s, later.busy_s))

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/stat")
    def test_they_survive_json(self):
        counters = read_counters()
        data = json.loads(json.dumps(asdict(counters)))
        by_core = {name: tuple(data[name]) for name in ("busy_s", "steal_s")}
        assert CpuCounters(**data | by_core) == counters


def test_the_slowest_core_determines_the_clock(tmp_path):
    for core, khz in enumerate(("2400000\n", "1800000\n", "garbage\n")):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_cur_freq").write_text(khz)
    assert slowest_clock_mhz([0], tmp_path) == 2400.0
    assert slowest_clock_mhz([0, 1, 2], tmp_path) == 1800.0
    assert slowest_clock_mhz([2], tmp_path) is None
    assert slowest_clock_mhz([7], tmp_path) is None
