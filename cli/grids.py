"""Pictures side by side, for the commands that draw them."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ddpmcodec.cli import files
from ddpmcodec.errors import OutputError


def grid(rows: list[list[np.ndarray]], gap: int = 2) -> np.ndarray:
    """Lay out rows of (H, W, 3) uint8 pictures of one size as one picture, with white between them; short rows end in white."""
    height, width = rows[0][0].shape[:2]
    columns = max(map(len, rows))
    out = np.full((len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            out[y * (height + gap) :][:height, x * (width + gap) :][:, :width] = picture
    return out


def png(pixels: np.ndarray) -> bytes:
    """Return a PNG file of (H, W, 3) uint8 pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def check(path: str, suffixes: tuple[str, ...] = (".png",), inputs: Sequence[str] = ()) -> None:
    """Raise OutputError unless a file of one of these kinds, or stdout, can be written there, and would replace no input."""
    if path != "-" and Path(path).suffix.lower() not in suffixes:
        raise OutputError(f"{path}: the extension is not {' or '.join(suffixes)}")
    files.check_writable(path, inputs)
