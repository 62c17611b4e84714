"""Starts a program as `env` does, but ends when a model is to be timed while a file exists.

The arguments are the file and the program with its arguments. If the file contains `once`, it is
deleted first, so that the next connection is not lost.
"""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

_TIMING = re.compile(rb'"do": ?"time"')


def main() -> None:
    cut = Path(sys.argv[1])
    child = subprocess.Popen(sys.argv[2:], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    to_child, from_child = child.stdin.fileno(), child.stdout.fileno()

    def pass_on() -> None:
        while data := os.read(0, 1 << 16):
            if _TIMING.search(data) and cut.exists():
                if cut.read_text() == "once":
                    cut.unlink()
                child.kill()
                os._exit(1)
            while data:
                data = data[os.write(to_child, data) :]
        os.close(to_child)

    threading.Thread(target=pass_on, daemon=True).start()
    while answer := os.read(from_child, 1 << 16):
        while answer:
            answer = answer[os.write(1, answer) :]
    os._exit(child.wait())


if __name__ == "__main__":
    main()
