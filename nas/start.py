"""The entry point of the command `nas`, which answers Ctrl-C while the program is being loaded."""

import os
import signal
from types import FrameType

_EXIT_INTERRUPTED = 130


def main() -> None:
    """Load the program and run the command of this process."""
    # A shell script starts its background processes with Ctrl-C ignored, which stays so.
    answers = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if answers:
        signal.signal(signal.SIGINT, _stop)
    from nas import cli

    if answers:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.main()


def _stop(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"nas: stopped\n")
    os._exit(_EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
