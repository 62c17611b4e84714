"""The command `nas`: registers the commands, and reports their errors as one sentence.

The modules of the commands import what they need when they are called, so that `nas --help` is
fast.
"""

import atexit
import gc
import os
import sys
from typing import Annotated, NoReturn

import typer

from nas.commands import (
    confirm,
    dashboard,
    db,
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
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(db.db, name="db")
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
    app.command(name.rstrip("_"))(getattr(command, name))  # `import` is a keyword of Python

# pydantic's types of error about one option, in our words.
_NOT = {
    "int_parsing": "{text} is not a whole number",
    "float_parsing": "{text} is not a number",
    "greater_than_equal": "{given} is not at least {ge:,}",
    "less_than_equal": "{given} is not at most {le:,}",
}
_EXIT_USER_ERROR = 2
_EXIT_INTERRUPTED = 130


def main() -> None:
    """Run a command, and exit with its code.

    An error that the user can fix is printed as one sentence on standard error, of at most 500
    characters, with exit code 2. If the environment variable NAS_TRACEBACK is set, its traceback is
    shown instead.
    """
    # At the end of a process that has imported torch, collecting garbage would take seconds.
    atexit.register(gc.freeze)
    try:
        # Not in standalone mode, in which the library would print its errors in its own format.
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False))
    except typer.TyperException as error:
        _exit_with(_sentence(error))
    except ValueError as error:
        if "NAS_TRACEBACK" in os.environ:
            raise
        _exit_with(str(error))
    except KeyboardInterrupt:
        sys.exit(_EXIT_INTERRUPTED)


def _exit_with(reason: str) -> NoReturn:
    from search_space.input_errors import one_sentence

    print(f"nas: {one_sentence(reason)}", file=sys.stderr)
    sys.exit(_EXIT_USER_ERROR)


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
