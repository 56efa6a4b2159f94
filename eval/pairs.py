"""Decoded pictures beside their original: every metric, and a map of where they differ."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from ddpmcodec.errors import PictureError
from ddpmcodec.eval import metrics
from ddpmcodec.eval.metrics import Metric
from ddpmcodec.picture import Picture
from ddpmcodec.progress import Note

WINDOW = 1.5  # pixels: standard deviation of the Gaussian window of a map
MAP_WHITE = 32  # RMS difference, of 255, that a map shows as white


def on_background(picture: Picture, background: tuple[int, int, int]) -> np.ndarray:
    """Return the pixels of a picture, (H, W, 3) uint8, laid on a colour where it is transparent."""
    if picture.alpha is None:
        return picture.pixels
    share = picture.alpha[..., None] / 255
    return np.rint(share * picture.pixels + (1 - share) * np.array(background)).astype(np.uint8)


def check(original: tuple[str, Picture], other: tuple[str, Picture], note: Note) -> None:
    """Refuse to compare pictures of different sizes, and tell of different colour profiles: samples are compared as they are.

    Args:
        original, other: the name of each, and the picture.

    Raises:
        PictureError: their sizes differ.
    """
    (first, a), (second, b) = original, other
    if a.pixels.shape != b.pixels.shape:
        (height, width), (other_height, other_width) = a.pixels.shape[:2], b.pixels.shape[:2]
        raise PictureError(f"{second} has {other_width} x {other_height} pixels, {first} {width} x {height}")
    if a.metadata.icc_profile != b.metadata.icc_profile:
        note(f"{second} has not the colour profile of {first}: samples are compared as they are")


def measure(original: np.ndarray, decoded: np.ndarray, size: int, measured: Sequence[Metric]) -> tuple[dict[str, Any], dict[str, str]]:
    """Measure a picture against its original, both (H, W, 3) uint8.

    Args:
        size: of its file in bytes.

    Returns:
        bytes, bpp, whether it is equal, and each metric by its name, None where it has no finite value; and why for each that failed.
    """
    values, failures = metrics.quality(original, decoded, measured)
    pixels = original.shape[0] * original.shape[1]
    return {"bytes": size, "bpp": 8 * size / pixels, "equal": np.array_equal(original, decoded), **values}, failures


def table(rows: Mapping[str, Mapping[str, Any]], measured: Sequence[Metric]) -> str:
    """Format what `measure` returns, by name, as a Markdown table."""

    def cell(row: Mapping[str, Any], metric: Metric) -> str:
        if row[metric.name] is None:
            return "equal" if row["equal"] and metric.name == "psnr-rgb" else "-"
        return f"{row[metric.name]:.{metric.digits}f}"

    lines = [f"| | bytes | bpp | {' | '.join(metric.heading for metric in measured)} |", "|---|---:|---:|" + "---:|" * len(measured)]
    for name, row in rows.items():
        lines.append(f"| {name} | {row['bytes']} | {row['bpp']:.3f} | {' | '.join(cell(row, metric) for metric in measured)} |")
    return "\n".join(lines)


def difference_map(original: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """Return where two pictures, (H, W, 3) uint8, differ: (H, W) uint8, black where they are equal, white from `MAP_WHITE` on.

    It is the RMS difference over RGB and a Gaussian window, reflected at borders.
    """
    squares = np.square(original.astype(np.float32) - decoded).mean(2)
    rms = np.sqrt(np.maximum(ndimage.gaussian_filter(squares, WINDOW), 0))
    return np.rint(np.minimum(rms / MAP_WHITE, 1) * 255).astype(np.uint8)
