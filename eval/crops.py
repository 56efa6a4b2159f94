"""Small held-out pictures: the middle of each photo, reduced by area so that little of JPEG or demosaicing is left.

python -m ddpmcodec.eval.crops CBSD68 -o crops.npz
"""

import io
import sys
from pathlib import Path

import click
import numpy as np
from PIL import Image

from ddpmcodec import atomic
from ddpmcodec.errors import InputError
from ddpmcodec.eval import pictures


def middle(pixels: np.ndarray, side: int, reduce: int) -> np.ndarray | None:
    """(side, side, 3) uint8 from the middle of (H, W, 3), each pixel the mean of `reduce` squared; None where it is too small."""
    small = np.asarray(Image.fromarray(pixels).reduce(reduce))
    height, width = small.shape[:2]
    if min(height, width) < side:
        return None
    top, left = (height - side) // 2, (width - side) // 2
    return small[top : top + side, left : left + side]


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PICTURE|DIR...")
@click.option("-o", "--output", required=True, metavar="FILE.npz")
@click.option("--side", type=click.IntRange(1, 4096), default=32, show_default=True)
@click.option("--reduce", type=click.IntRange(1, 64), default=2, show_default=True, help="Pixels are means of squares of this side.")
@click.option("--count", type=click.IntRange(1), default=64, show_default=True, help="At most so many.")
def main(paths: tuple[str, ...], output: str, side: int, reduce: int, count: int) -> None:
    """Write the middles of pictures to one array."""
    loaded = pictures.load(pictures.find(list(paths)), lambda path, error: print(f"{path}: left out: {error}", file=sys.stderr))
    cut = [crop for _, pixels in loaded if (crop := middle(pixels, side, reduce)) is not None][:count]
    if not cut:
        raise InputError("no picture is large enough")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=np.stack(cut))
    atomic.write(Path(output), buffer.getvalue())


if __name__ == "__main__":
    main()
