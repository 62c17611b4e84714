"""The command `nas`: registers the commands, and reports their errors as one sentence.

The modules of the commands import what they need when they are called, so that `nas --help` is
fast.
"""

import atexit
import functools
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from nas.commands import (
    confirm,
    dashboard,
    db,
    devices,
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
from nas.standard_streams import prepare_streams

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(db.db, name="db")
app.add_typer(devices.devices, name="devices")
_DISTRIBUTION = "hybrid-lm-search"


def _print_version(is_requested: bool) -> None:
    if is_requested:
        from importlib.metadata import version

        print(f"nas {version(_DISTRIBUTION)}")
        raise typer.Exit


@app.callback()
def _nas(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Neural architecture search for small language models, measured on your device."""


class _Interrupted(Exception):
    """Ctrl-C stopped a command. The library would turn KeyboardInterrupt into an exit code."""


def _passing_interrupts(command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def call(*args: object, **kwargs: object) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            raise _Interrupted from interrupt

    return call


for command in (
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
    name = command.__name__.rpartition(".")[2]
    # `import` is a keyword of Python.
    app.command(name.rstrip("_"))(_passing_interrupts(getattr(command, name)))

# pydantic's types of error about one option, in our words.
_NOT = {
    "int_parsing": "{text} is not a whole number",
    "float_parsing": "{text} is not a number",
    "greater_than_equal": "{given} is not at least {ge:,}",
    "less_than_equal": "{given} is not at most {le:,}",
}
_EXIT_NO_READER = 1
_EXIT_USER_ERROR = 2
_EXIT_INTERRUPTED = 130


def main() -> None:
    """Run a command, and exit with its code.

    An error that the user can fix is printed as one sentence on standard error, of at most 500
    characters, with exit code 2. If the environment variable NAS_TRACEBACK is set, its traceback is
    shown instead. SIGTERM and the end of the terminal (SIGHUP) stop a command as Ctrl-C does.
    """
    prepare_streams()
    # At the end of a process that has imported torch, collecting garbage would take seconds.
    atexit.register(gc.freeze)
    try:
        with _stopped_as_by_ctrl_c():
            _check_working_folder()
            # Not in standalone mode, in which the library would print errors in its own format.
            code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
            if code == _EXIT_INTERRUPTED:  # while the arguments were read
                raise KeyboardInterrupt
            sys.stdout.flush()
        sys.exit(code)
    except BrokenPipeError:
        sys.exit(_EXIT_NO_READER)
    except typer.TyperException as error:
        _exit_with(_sentence(error))
    except ValueError as error:
        if "NAS_TRACEBACK" in os.environ:
            raise
        _exit_with(_undecodable_argument(error) or str(error))
    except (KeyboardInterrupt, _Interrupted) as interrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process already ends
        _report(interrupt)
        sys.exit(_EXIT_INTERRUPTED)


def _report(interrupt: BaseException) -> None:
    """Print that a command was stopped, unless it has said so itself."""
    from nas.views.terminal import ReportedInterrupt

    if not isinstance(interrupt.__cause__, ReportedInterrupt):
        with suppress(OSError):
            print("nas: stopped", file=sys.stderr)


def _check_working_folder() -> None:
    """Raise ValueError if the working folder was deleted, because torch requires one."""
    try:
        Path.cwd()
    except OSError:
        raise ValueError("working folder: it was deleted; change to another folder") from None


def _exit_with(reason: str) -> NoReturn:
    from search_space.input_errors import one_sentence

    with suppress(BrokenPipeError):
        print(f"nas: {one_sentence(reason)}", file=sys.stderr)
    sys.exit(_EXIT_USER_ERROR)


def _undecodable_argument(error: ValueError) -> str | None:
    """Describe an argument that is not text, if this is why something could not be stored."""
    from search_space.input_errors import format_value

    if not isinstance(error, UnicodeEncodeError):
        return None
    part = error.object[error.start : error.end]
    given = next((each for each in sys.argv[1:] if part in each), None)
    return None if given is None else f"argument: {format_value(given)} is not UTF-8 text"


@contextmanager
def _stopped_as_by_ctrl_c() -> Iterator[None]:
    """Let SIGTERM and SIGHUP do what Ctrl-C does, so that trials are released and processes end.

    A signal that is ignored, as SIGHUP is by `nohup`, stays ignored.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):
            handler(number, frame)
        else:  # a shell script starts its background processes without Ctrl-C
            raise KeyboardInterrupt

    changed = []
    if threading.current_thread() is threading.main_thread():
        candidates = (signal.SIGTERM, signal.SIGHUP)
        changed = [each for each in candidates if signal.getsignal(each) is signal.SIG_DFL]
    try:
        for each in changed:
            signal.signal(each, interrupt)
        yield
    finally:
        for each in changed:
            signal.signal(each, signal.SIG_DFL)


def _sentence(error: typer.TyperException) -> str:
    """Describe an error in the command line in the style of our other errors."""
    from pydantic import ValidationError

    from search_space.input_errors import format_value, suggest_name

    # The library's exception classes are private, so their attributes distinguish them.
    facts = vars(error)
    context, parameter = facts.get("ctx"), facts.get("param")
    help_option = f"{context.command_path} --help" if context else "nas --help"
    if context and "possibilities" in facts:
        options = [
            name
            for each in context.command.get_params(context)
            if not getattr(each, "hidden", False)
            for name in each.opts
            if name.startswith("-")
        ]
        given = facts["option_name"]
        return f"{given} is not an option of {context.command_path}; {suggest_name(given, options)}"
    if parameter is not None:
        field = parameter.opts[0].lstrip("-")
        if "param_type" in facts:
            return f"{field} is missing; see {help_option}"
        if isinstance(error.__cause__, ValidationError):
            fault = error.__cause__.errors()[0]
            if fault["type"] in _NOT:
                given, limits = fault["input"], fault.get("ctx", {})
                clause = _NOT[fault["type"]].format(given=given, text=format_value(given), **limits)
                return f"{field}: {clause}"
        return f"{field}: {_one_clause(error.message.removeprefix('Value error, '))}"
    clause = _one_clause(error.format_message())
    return clause if clause.endswith("?") else f"{clause}; see {help_option}"


def _one_clause(text: str) -> str:
    """Join the sentences of a text with semicolons, in lower case."""
    sentences = text.removesuffix(".").split(". ")
    return "; ".join(f"{each[:1].lower()}{each[1:]}" for each in sentences)


if __name__ == "__main__":
    main()
