"""The archive that travels to a device: the modules that measure there, as one zip file."""

import functools
import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import hardware

# The agent and everything that it imports, directly or not. A test compares this with the imports.
MODULES = (
    "bench",
    "core_use",
    "cores",
    "environment",
    "fake",
    "llama_bench",
    "llama_cpp",
    "local",
    "machine_lock",
    "measurement",
    "memory_kills",
    "onnx_session",
    "processes",
    "processor_load",
    "progress",
    "quiet",
    "random_weights",
    "runner",
    "thread_scheduling",
    "remote.agent",
    "remote.bootstrap",
    "remote.device_models",
    "remote.device_state",
    "remote.host_pipe",
    "remote.identity",
    "remote.messages",
    "remote.run_folder",
)

# The same for every build, so that equal modules make equal archives.
_DATE = (2020, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A zip file that Python can import from.

    Attributes:
        content: The file.
        sha256: Its hash, under which a device stores it.
    """

    content: bytes
    sha256: str


@functools.cache
def agent_archive() -> Archive:
    """Return the archive of this release."""
    folder = Path(hardware.__file__).parent
    names = ["__init__", "remote.__init__", *MODULES]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(names):
            path = f"{name.replace('.', '/')}.py"
            entry = zipfile.ZipInfo(f"hardware/{path}", _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (folder / path).read_bytes())
    content = file.getvalue()
    return Archive(content=content, sha256=hashlib.sha256(content).hexdigest())
