"""Devices whose agent is replaced by a short program, which may answer anything."""

import sys
from collections.abc import Sequence
from pathlib import Path

from hardware.channels.channel import ChannelError, start_failure

PRELUDE = """
import json, os, sys, time

def send(data):
    while data:
        data = data[os.write(1, data):]

def send_object(**fields):
    send(json.dumps(fields).encode() + b"\\n")

def wait():
    "Do nothing until the end of the input."
    sys.stdin.buffer.read()

def greet(**facts):
    "Read the program and the facts of the archive, and answer as the first program does."
    for _ in range(2):
        sys.stdin.buffer.readline()
    send(b"nas-device " + json.dumps({"python": "3.12.1", "stored": True, **facts}).encode())
    send(b"\\n")

def requests():
    for line in sys.stdin.buffer:
        if line.strip():
            request = json.loads(line)
            sys.stdin.buffer.read(request.get("bytes", 0))
            yield request

def answer(request, content):
    send_object(id=request["id"], answer=content)

LOADING = {"runtime": "ort", "threads": 1, "cores": [0], "load_ns": 1, "model_bytes": 1,
           "empty_memory_bytes": 1, "loaded_memory_bytes": 1}
ENVIRONMENT = {"host": "board", "system": "Linux", "cpu": "cpu", "cores": 1, "memory_bytes": 1,
               "python": "3.12.1", "runtime_version": "ort", "governor": None, "clock_mhz": None,
               "temperature_c": 40.5, "load_1min": 0.5}
ANSWERS = {
    "identify": {"id": "0123456789abcdef", "model": "Board", "host": "board", "system": "Linux",
                 "boot": None, "clusters": []},
    "use": {"fingerprint": "board", "memory_step_bytes": 4096},
    "load": {"model": 1, "loading": LOADING},
    "time": {"samples_ns": [10, 10], "waited_ns": [0, 0], "peak_memory_bytes": 1},
    "snapshot": {"environment": ENVIRONMENT, "counters": None},
    "state": {"zones": [], "clocks_mhz": [], "free_memory_bytes": None, "free_disk_bytes": 1,
              "packages": {"numpy": "2.0.0", "onnxruntime": None}},
    "calmer cores": {"cores": None},
}

def serve(do=None, instead=None):
    "Answer like an agent; `instead` answers the requests with the name `do`."
    greet()
    for request in requests():
        if request["do"] == do:
            instead(request)
        else:
            answer(request, ANSWERS.get(request["do"], {}))
"""


class ScriptedChannel:
    """A Channel to a device that runs a script after `PRELUDE`, whatever it is to run.

    Args:
        script: The program of the device.
        arguments: What it finds in `sys.argv`.
    """

    name = "scripted device"

    def __init__(self, script: str, *arguments: str | Path) -> None:
        self._script = script
        self._arguments = tuple(map(str, arguments))

    def command(self, arguments: Sequence[str]) -> list[str]:
        """See `Channel.command`."""
        return [sys.executable, "-I", "-S", "-c", PRELUDE + self._script, *self._arguments]

    def failure(self, returncode: int, errors: str) -> ChannelError:
        """See `Channel.failure`."""
        return start_failure(self.name, sys.executable, returncode, errors)
