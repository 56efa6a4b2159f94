"""The command line's words for what the library says: it speaks of parameters, users of options."""

from ddpmcodec.errors import DdpmcodecError

OPTIONS = {"max_pixels": "--max-pixels", "steps": "--steps", "page": "--page", "model": "--model", "jobs": "--jobs"}


def line(error: DdpmcodecError) -> str:
    """One line on an error, with the option that may help."""
    option = OPTIONS.get(error.parameter or "")
    return f"ddpmcodec: {error}{f' ({option})' if option else ''}"
