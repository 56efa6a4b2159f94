"""The libraries that networks run on: which are installed. None is imported to find out."""

from importlib.util import find_spec

from ddpmcodec.errors import ModelError

NEEDS_TORCH = "needs torch, which is not installed: pip install torch"


def is_installed(name: str) -> bool:
    """Whether a library can be found."""
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # its import is blocked
        return False


def require_torch(who: str) -> None:
    """Do nothing where torch is installed.

    Args:
        who: what needs it, the first words of the error.

    Raises:
        ModelError: it is not.
    """
    if not is_installed("torch"):
        raise ModelError(f"{who} {NEEDS_TORCH}")
