"""Find the llama.cpp programs that tests run: built by `make test-all`, or on the PATH."""

import os
import shutil
from pathlib import Path

import pytest

_BUILT = Path(__file__).parents[2] / ".llama.cpp" / "bin"


def llama_program(name: str) -> Path:
    """Return the path of a program, or skip the test if there is none.

    The environment variable NAS_LLAMA_BIN names a folder to search first.
    """
    folders = os.pathsep.join(
        [os.environ.get("NAS_LLAMA_BIN", ""), str(_BUILT), os.environ["PATH"]]
    )
    found = shutil.which(name, path=folders)
    if found is None:
        pytest.skip(f"there is no {name}; `make .llama.cpp/bin/{name}` builds it")
    return Path(found)
