"""A real agent in a process of this machine, and the bytes of its pipes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hardware
from hardware.remote.bootstrap import FOLDER_VARIABLE
from tests.hardware.machines import wait_until

USE: dict[str, Any] = {"runtime": "onnxruntime", "threads": 1, "cores": None, "llama_bench": None}
USE_FAKE = {**USE, "runtime": "fake"}
WORKLOAD = {"phase": "decode", "tokens": 4, "depth": 8}


class RawAgent:
    """An agent without the first program. Use it in `with`; it is killed at the end.

    Args:
        folder: The folder that it keeps its files in.
        silence_s: The seconds without a sign of life after which it ends.
        prepare: Called in its process before it starts.
    """

    def __init__(
        self, folder: Path, silence_s: float = 60.0, prepare: Callable[[], None] | None = None
    ) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "hardware.remote.agent", str(silence_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                **os.environ,
                FOLDER_VARIABLE: str(folder),
                "PYTHONPATH": str(Path(hardware.__file__).parents[1]),
            },
            preexec_fn=prepare,
            start_new_session=True,
        )
        self._number = 0

    def __enter__(self) -> "RawAgent":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self.process.wait()

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def request(self, do: str, content: bytes = b"", **fields: Any) -> None:
        self._number += 1
        self.send(json.dumps({"id": self._number, "do": do, **fields}).encode() + b"\n" + content)

    def message(self) -> dict[str, Any]:
        """Return the next line that is not a sign of life."""
        assert self.process.stdout is not None
        while not (line := self.process.stdout.readline()).strip():
            assert line, "the agent has ended"
        message: dict[str, Any] = json.loads(line)
        return message

    def ask(self, do: str, content: bytes = b"", **fields: Any) -> dict[str, Any]:
        """Send a request; return its answer, or its error."""
        self.request(do, content, **fields)
        while "say" in (message := self.message()):
            pass
        assert message.pop("id") == self._number
        ((kind, found),) = message.items()
        assert kind in ("answer", "error")
        assert isinstance(found, dict)
        return found

    def send_model(self, model: Path, files: int = 0) -> None:
        """Send a model and its description."""
        for path in (model, model.with_name("model.json")):
            content = path.read_bytes()
            found = self.ask("file", content, files=files, name=path.name, bytes=len(content))
            assert found == {}

    def hang_up(self) -> None:
        """Close the input of the agent."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def hang_up_after(self, seconds: float) -> None:
        threading.Timer(seconds, self.hang_up).start()

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def run_folders(self) -> set[Path]:
        """Return the folders of all agents that share its folder."""
        runs = self.folder / "runs"
        return set(runs.iterdir()) if runs.exists() else set()

    def wait_for_end(self) -> None:
        """Wait until it has ended by itself and deleted its folder."""
        wait_until(lambda: self.process.poll() is not None)
        assert self.run_folders() == set()


def descendants(pid: int) -> set[int]:
    """Return the processes that a process has started, and those that they have."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, left = set[int](), {pid}
    while left:
        left = {child for child, parent in parents.items() if parent in left}
        found |= left
    return found


def is_running(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
