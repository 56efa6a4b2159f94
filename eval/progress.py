"""How an evaluation tells its caller how far it is."""

from collections.abc import Callable

Progress = Callable[[int, int], None]  # called with what is done and with what there is to do
Note = Callable[[str], None]  # called with a line that is to be said at once


def silent(*said: object) -> None:
    """Progress, or a note, that nobody wants to hear."""


class Counter:
    """Adds up what is done.

    Args:
        progress: told the sum after each addition.
        total: what there is to do.
    """

    def __init__(self, progress: Progress, total: int):
        self.progress = progress
        self.total = total
        self.done = 0

    def __call__(self, count: int = 1) -> None:
        self.done += count
        self.progress(self.done, self.total)
