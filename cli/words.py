"""The command line's words for what the library says: it speaks of parameters, users of options."""

import click

from ddpmcodec.errors import DdpmcodecError

OPTIONS = {"max_pixels": "--max-pixels", "steps": "--steps", "page": "--page", "model": "--model", "jobs": "--jobs"}
COMMAND = "ddpmcodec.command"  # under which groups put the command that runs into click's `meta`


def line(error: DdpmcodecError) -> str:
    """One line on an error, with the option that may help."""
    return f"ddpmcodec: {error}{hint(error)}"


def hint(error: DdpmcodecError) -> str:
    """Return the option that may help with an error, in parentheses, where the command that runs has it; else nothing."""
    option = OPTIONS.get(error.parameter or "")
    context = click.get_current_context(silent=True)
    command = context.meta.get(COMMAND) if context else None
    return f" ({option})" if option and (command is None or any(option in each.opts for each in command.params)) else ""
