"""Options that several commands share, and their progress bar."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from tqdm import tqdm

output = click.option("-o", "--output", required=True, metavar="FILE", help="Where to write; - is stdout.")
model = click.option("--model", metavar="NAME|PATH", help="Denoiser: a bundled one's name or a .safetensors file.")
threads = click.option("--threads", type=click.IntRange(1, 256), metavar="N", help="CPU threads [default: all cores].")
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress bar and no summary.")
max_pixels = click.option(
    "--max-pixels", type=click.IntRange(1), metavar="N", help="Refuse larger pictures [default: 4000000, which take 4 GB]."
)


def use_threads(count: int | None) -> None:
    """Give torch and numba so many threads. Called before numba is imported."""
    if count is not None:
        import torch

        torch.set_num_threads(count)
        os.environ["NUMBA_NUM_THREADS"] = str(count)


@contextmanager
def progress_bar(label: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A callback (done, total) that draws a bar on stderr, where that is a terminal."""
    with tqdm(desc=label, unit="eval", file=sys.stderr, disable=quiet or not sys.stderr.isatty(), leave=False) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update
