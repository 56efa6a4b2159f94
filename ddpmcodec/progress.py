"""The calls by which long work tells its caller how far it is, and what the user should read on the way."""

from collections.abc import Callable

Progress = Callable[[int, int], None]  # called with what is done and with what there is to do: evaluations of the network, mostly
Note = Callable[[str], None]  # called with a sentence that the user should read


def silent(*said: object) -> None:
    """Ignore progress, or a note."""
