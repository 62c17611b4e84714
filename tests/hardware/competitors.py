"""A program that keeps a core busy."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

CORE = min(os.sched_getaffinity(0)) if sys.platform == "linux" else 0


@contextlib.contextmanager
def competitor(core: int = CORE) -> Iterator[None]:
    """Keep the core busy until the context ends (Linux)."""
    script = f"import os; os.sched_setaffinity(0, [{core}]); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            yield
        finally:
            process.kill()
