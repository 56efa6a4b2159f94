"""How an evaluation counts what it has done."""

from ddpmcodec.progress import Progress


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
