"""A program that starts another one and passes its input and output on, as `ssh` does."""

import os
import subprocess
import sys
import threading


def copy(source: int, target: int) -> None:
    try:
        while data := os.read(source, 1 << 16):
            while data:
                data = data[os.write(target, data) :]
    except OSError:
        pass
    os.close(target)


def main() -> None:
    child = subprocess.Popen(sys.argv[1:], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    threading.Thread(target=copy, args=(0, child.stdin.fileno()), daemon=True).start()
    copy(child.stdout.fileno(), 1)
    os._exit(child.wait())


if __name__ == "__main__":
    main()
