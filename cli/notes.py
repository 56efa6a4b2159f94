"""What commands say on stderr beside their results, above the progress bar where there is one."""

import sys
from pathlib import Path

from tqdm import tqdm

from ddpmcodec.cli import words
from ddpmcodec.errors import DdpmcodecError, InputError


def note(text: str) -> None:
    """Say one line."""
    tqdm.write(text, file=sys.stderr)


def unheard(text: str) -> None:
    """Say nothing."""


class LeftOut:
    """Names each picture that is left out, once, and fails for all of them once the others are done.

    Args:
        quiet: name none.
    """

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self.pictures: set[str] = set()

    def __call__(self, path: Path | str, error: DdpmcodecError) -> None:
        """Leave a picture out."""
        if str(path) not in self.pictures and not self.quiet:
            note(f"{path}: left out: {error}{words.hint(error)}")
        self.pictures.add(str(path))

    def check(self, total: int | None = None) -> None:
        """Fail where a picture has been left out.

        Args:
            total: how many pictures there were, to be named too.

        Raises:
            InputError: one has.
        """
        if count := len(self.pictures):
            of = "" if total is None else f" of {total}"
            raise InputError(f"{count}{of} {'picture was' if count == 1 and total is None else 'pictures were'} left out")
