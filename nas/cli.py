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
        # An exception of the library's own is shown here, as one sentence like all others.
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False))
    except typer.TyperException as mistake:
        print(f"nas: {_sentence(mistake)}", file=sys.stderr)
        sys.exit(_MISTAKE)
    except ValueError as mistake:
        if "NAS_TRACEBACK" in os.environ:
            raise
        print(f"nas: {mistake}", file=sys.stderr)
        sys.exit(_MISTAKE)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


def _sentence(mistake: typer.TyperException) -> str:
    """What is wrong with the command line, in the words of this program."""
    from search_space.input_errors import suggest_name

    # Which of them are there tells the library's exceptions apart; their classes are its own.
    facts = vars(mistake)
    context, parameter = facts.get("ctx"), facts.get("param")
    help_option = f"{context.command_path} --help" if context else "nas --help"
    if context and "possibilities" in facts:
        known = [name for each in context.command.get_params(context) for name in each.opts]
        options = [name for name in known if name.startswith("-")]
        given = facts["option_name"]
        return f"{given} is not an option of {context.command_path}; {suggest_name(given, options)}"
    if parameter is not None:
        field = parameter.opts[0].lstrip("-")
        if "param_type" in facts:
            return f"{field} is missing; see {help_option}"
        return f"{field}: {_one_clause(mistake.message.removeprefix('Value error, '))}"
    said = _one_clause(mistake.format_message())
    return said if said.endswith("?") else f"{said}; see {help_option}"


def _one_clause(text: str) -> str:
    sentences = text.removesuffix(".").split(". ")
    return "; ".join(f"{each[:1].lower()}{each[1:]}" for each in sentences)


if __name__ == "__main__":
    main()
