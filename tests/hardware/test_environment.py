import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from hardware.environment import Environment, read_environment


def test_it_says_what_this_machine_is():
    environment = read_environment("onnxruntime 1.2.3")
    assert environment.runtime_version == "onnxruntime 1.2.3"
    assert environment.host == socket.gethostname()
    assert environment.cores == os.cpu_count()
    assert environment.python == ".".join(map(str, sys.version_info[:3]))
    assert environment.cpu


@pytest.mark.skipif(sys.platform != "linux", reason="compares with /proc")
def test_memory_is_what_the_kernel_says():
    name, kibibytes = Path("/proc/meminfo").read_text().split()[:2]
    assert name == "MemTotal:"
    total = 1024 * int(kibibytes)
    assert read_environment("").memory_bytes == pytest.approx(total, rel=0.01)


def test_it_travels_as_json():
    environment = read_environment("onnxruntime")
    assert Environment(**json.loads(json.dumps(asdict(environment)))) == environment


def test_it_needs_the_standard_library_alone():
    # It is copied to devices: -S leaves site-packages out, -I the current folder too.
    source = Path(read_environment.__code__.co_filename)
    script = f"import runpy; print(runpy.run_path({str(source)!r})['read_environment']('x').cores)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == os.cpu_count()


def test_what_a_machine_does_not_say_is_none(monkeypatch):
    def unreadable(path, *_args, **_options):
        raise PermissionError(path)

    monkeypatch.setattr(Path, "read_text", unreadable)
    environment = read_environment("x")
    assert environment.governor is None
    assert environment.clock_mhz is None
    assert environment.temperature_c is None
    assert environment.cpu
