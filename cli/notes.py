"""What commands say on stderr beside their results, above the progress bar where there is one."""

import sys
from pathlib import Path

from tqdm import tqdm

from ddpmcodec.errors import DdpmcodecError, InputError


def note(text: str) -> None:
    """Say one line."""
    tqdm.write(text, file=sys.stderr)


def unheard(text: str) -> None:
    """Say nothing."""


class LeftOut:
    """Names each picture that cannot be read, and fails for all of them once the others are done.

    Args:
        quiet: name none.
    """

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self.count = 0

    def __call__(self, path: Path, error: DdpmcodecError) -> None:
        """Leave a picture out."""
        self.count += 1
        if not self.quiet:
            note(f"{path}: left out: {error}")

    def check(self, total: int | None = None) -> None:
        """Fail where a picture has been left out.

        Args:
            total: how many pictures there were, to be named too.

        Raises:
            InputError: one has.
        """
        if self.count:
            of = "" if total is None else f"of {total} "
            raise InputError(f"{self.count} {of}pictures could not be read")
