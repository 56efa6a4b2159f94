"""The encoder's choice of a file's noise: white, or of which shape."""

from dataclasses import replace

from ddpmcodec.errors import PictureError
from ddpmcodec.format import shape as shapes
from ddpmcodec.format.header import Header
from ddpmcodec.format.shape import COLOURS, NODES, Shape
from ddpmcodec.models import whitening
from ddpmcodec.prediction import FOLDS
from ddpmcodec.roi import Roi
from ddpmcodec.target import ConflictError, Lossless, Target

TUNES = ("auto", "perception", "psnr")
QUARTER, HALF = -768, 0  # sigma 361 and 127.5 of 255: docs/benchmarks.md
WHITE_TABLE = ((0,) * NODES,) * COLOURS  # which a map needs where the noise is white otherwise
MAP_SHARE = 0.02  # of a file, the most that a map may take, if larger cells help
LEAST_BPP = 0.25  # the rate that this is measured by where no size is asked for


def shape_for(header: Header, target: Target, tune: str, roi: Roi | None) -> Shape | None:
    """Return the shape of the noise for a tune and regions of interest; None where it is white.

    Raises:
        ConflictError: a lossless file is to be shaped.
        PictureError: a region is not inside the picture, or the picture is too large for a map.
    """
    if isinstance(target, Lossless):
        if tune == "perception" or roi is not None:
            raise ConflictError("lossless files have white noise: no tune but psnr, and no regions of interest")
        return None
    discrete = header.levels.counts_timesteps
    shaped = tune == "perception" or (tune == "auto" and not discrete)
    if shaped:
        table, gains, (quarter, half) = whitening.TABLE, whitening.GAINS, (QUARTER, HALF)
    else:
        table, gains, (quarter, half) = WHITE_TABLE, None, [last for _, last in FOLDS]
    plain = Shape(table, gains=gains, quarter=0 if discrete else quarter, half=0 if discrete else half)
    if roi is not None:
        limit = None if target.has_end else target.max_bytes(header, 0, 0)
        size = LEAST_BPP * header.pixels / 8 if limit is None else min(limit, 3 * header.pixels)
        mapped = _with_map(plain, header, roi, MAP_SHARE * size)
        if any(mapped.cells):
            return mapped
    return plain if shaped else None


def _with_map(plain: Shape, header: Header, roi: Roi, most: float) -> Shape:
    """Return a shape with a map, of the smallest cells that take `most` bytes, or else of the largest that tell the regions apart."""
    found, without = None, len(shapes.encode(plain, header))
    for cell in shapes.CELLS:
        rows, columns = shapes.grid(header.height, header.width, cell)
        if rows * columns <= shapes.MAX_CELLS:
            mapped = replace(plain, cell=cell, cells=roi.cells(header.height, header.width, cell).tobytes())
            if found is None or any(mapped.cells):
                found = mapped
            if len(shapes.encode(mapped, header)) - without <= most:
                break
    if found is None:
        raise PictureError("the picture is too large for regions of interest", parameter="roi")
    return found
