"""The command `nas`: one verb a module, and what happens when a verb fails.

A verb's module imports what it needs when it is called, so that `nas --help` is there at once.
"""

import os
import sys

import typer

from nas.commands import (
    confirm,
    dashboard,
    export,
    import_,
    init,
    measure,
    pareto,
    presets,
    profile,
    report,
    run,
    show,
    status,
    validate,
)

app = typer.Typer(
    help="Neural architecture search for small language models, with the device in the loop.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for verb in (
    init,
    validate,
    run,
    status,
    dashboard,
    pareto,
    confirm,
    report,
    show,
    import_,
    export,
    measure,
    profile,
    presets,
):
    name = verb.__name__.rpartition(".")[2]
    app.command(name.rstrip("_"))(getattr(verb, name))  # Python has its own `import`

_MISTAKE = 2
_INTERRUPTED = 130


def main() -> None:
    """Runs a verb; a mistake of the user is one sentence on standard error and exit code 2."""
    try:
        app()
    except ValueError as mistake:
        if "NAS_TRACEBACK" in os.environ:
            raise
        print(f"nas: {mistake}", file=sys.stderr)
        sys.exit(_MISTAKE)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
