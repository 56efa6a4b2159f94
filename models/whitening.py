"""Whitening: noise of another level in each frequency and colour, which a network sees as white.

A picture x, (3, H, W), has the coefficients u = DCT(T x / G): T is a colour transform, G >= 1 a smooth field, the DCT is the orthonormal
DCT-II of each whole plane. Noise on u is to have the standard deviation sigma m_i, with a multiplier m_i that depends on a coefficient's
frequency and on whether it is luma or chroma. The network is shown

    y = O^T IDCT(u / m)

whose noise is white with standard deviation sigma, as O and the DCT are orthonormal. O is near T's own colours: a gray picture stays gray,
and others look as if another camera had taken them.

Frequency is in units of Nyquist: f = sqrt((i / H)^2 + (j / W)^2) for the coefficient in row i and column j. log2 m is linear in log2 f
between the nodes and constant beyond them. From noise that is fine enough on, the multipliers are raised to a power below 1: see `power`.
"""

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from ddpmcodec import threads

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as JPEG has them
BLUE_YELLOW = (-0.168736, -0.331264, 0.5)
RED_GREEN = (0.5, -0.418688, -0.081312)

NODES = (1 / 64, 1 / 24, 1 / 12, 3 / 16, 3 / 8, 0.8)  # frequencies
MATRIX_SIDE = 64  # up to which a DCT is a product of matrices: larger ones would be computed with threads of their own
ROWS = 256  # at a time: more would take too much memory
UNITS = 32  # of a table's integers, an octave
# log2 m at the nodes, in 1 / UNITS: luma, blue-yellow, red-green. Files name a table by its number: the last is the encoder's, found by
# search for SSIMULACRA2, CVVDP, Butteraugli and PSNR (docs/benchmarks.md); the first comes from a search without gains.
Table = tuple[tuple[int, ...], ...]
TABLES: dict[int, Table] = {
    1: ((4, 0, 0, 12, 22, 61), (8, 16, 24, 42, 48, 64), (8, 16, 24, 42, 48, 64)),
    2: ((0, -4, -4, -3, 16, 83), (4, 12, 32, 54, 95, 118), (4, 12, 32, 54, 95, 118)),
}
TABLE = TABLES[2]
# Gains of the network's prediction, in 1 / GAIN_UNITS (Wiener's filter): a network that was trained on white noise alone errs in fine
# details, where noise is large, by more than what there is. For each 256 log2 snr of GAIN_LEVELS a row over GAIN_NODES; those of luma, then
# those of chroma. Found by least squares on training photos with photo-2 for the table of the same number, the third with photo-3 for table
# 2; the last are the encoder's.
GAIN_UNITS = 64
GAIN_LEVELS = (-512, 0, 512, 1024, 1536, 2048, 2560)
GAIN_NODES = (1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1)  # frequencies
Gains = tuple[Table, Table]
GAINS_OF: dict[int, Gains] = {
    1: (
        (
            (64, 64, 45, 35, 21, 6, 0),
            (64, 64, 57, 53, 35, 15, 2),
            (64, 64, 63, 64, 53, 30, 10),
            (64, 64, 63, 64, 62, 46, 30),
            (64, 64, 64, 64, 64, 57, 56),
            (64, 64, 64, 64, 64, 62, 63),
            (64, 64, 64, 64, 64, 64, 64),
        ),
        (
            (63, 31, 8, 0, 0, 0, 0),
            (64, 45, 17, 2, 0, 0, 0),
            (64, 54, 29, 11, 1, 0, 0),
            (64, 60, 42, 27, 7, 0, 0),
            (64, 62, 54, 50, 33, 7, 1),
            (64, 63, 61, 64, 60, 51, 31),
            (64, 64, 64, 64, 64, 64, 64),
        ),
    ),
    2: (
        (
            (64, 64, 57, 41, 13, 2, 0),
            (64, 64, 64, 54, 23, 5, 1),
            (64, 64, 64, 64, 38, 11, 3),
            (64, 64, 64, 64, 54, 23, 8),
            (64, 64, 64, 64, 62, 41, 30),
            (64, 64, 64, 64, 64, 58, 58),
            (64, 64, 64, 64, 64, 62, 62),
        ),
        (
            (63, 12, 9, 0, 0, 0, 0),
            (64, 27, 13, 0, 0, 0, 0),
            (64, 40, 20, 3, 1, 0, 0),
            (64, 50, 29, 12, 2, 0, 0),
            (64, 58, 43, 29, 8, 0, 0),
            (64, 62, 58, 58, 58, 2, 1),
            (64, 64, 62, 62, 62, 62, 21),
        ),
    ),
    3: (
        (
            (64, 64, 64, 64, 64, 0, 0),
            (64, 64, 64, 64, 64, 0, 0),
            (64, 64, 64, 64, 54, 24, 4),
            (64, 64, 64, 64, 62, 41, 9),
            (64, 64, 64, 64, 64, 56, 33),
            (64, 64, 64, 64, 64, 63, 60),
            (64, 64, 64, 64, 64, 64, 64),
        ),
        (
            (64, 27, 16, 0, 0, 0, 0),
            (64, 40, 21, 0, 1, 0, 0),
            (64, 50, 26, 3, 2, 0, 0),
            (64, 60, 40, 7, 4, 0, 0),
            (64, 64, 57, 22, 9, 0, 0),
            (64, 64, 64, 55, 45, 7, 1),
            (64, 64, 64, 64, 63, 58, 20),
        ),
    ),
}
GAINS = GAINS_OF[3]
RAMP = (1368, 3580)  # 256 log2 snr up to which the power is 1, and from which it is 0: sigma 20 and 1 of 255


def _colour_transform() -> np.ndarray:
    """Return T, (3, 3): the first element of a gray picture v is sqrt(3) v; noise in the other two changes no luma."""
    chroma = np.array([BLUE_YELLOW, RED_GREEN])
    return np.vstack([math.sqrt(3) * np.array(LUMA), chroma / np.linalg.norm(chroma, axis=1, keepdims=True)])


def _orthonormal(colour_transform: np.ndarray) -> np.ndarray:
    """Return O, (3, 3): gray, then the orthonormal pair that is nearest to T's two chroma rows (their polar factor)."""
    u, _, v = np.linalg.svd(colour_transform[1:], full_matrices=False)
    return np.vstack([np.full(3, 1 / math.sqrt(3)), u @ v])


T = _colour_transform()
SCALES = (1 / math.sqrt(3), *(float(np.linalg.norm(row)) for row in (BLUE_YELLOW, RED_GREEN)))  # of Y, Cb, Cr over the elements of T
O = _orthonormal(T)  # noqa: E741


def frequencies(height: int, width: int) -> np.ndarray:
    """Return f of every coefficient, (height, width) float64."""
    return np.hypot(np.arange(height)[:, None] / height, np.arange(width) / width)


def log2_multipliers(height: int, width: int, table: Sequence[Sequence[int]] = TABLE) -> np.ndarray:
    """Return log2 m of every coefficient, (3, height, width) float64."""
    octaves = np.log2(np.maximum(frequencies(height, width), NODES[0]))  # the constant's frequency is 0
    return np.stack([np.interp(octaves, np.log2(NODES), row) for row in table]) / UNITS


def power(log2_snr: float, ramp: tuple[int, int] = RAMP) -> float:
    """Return w, the power of the multipliers at an snr: 1 at much noise, 0 at little, linear in log2 snr over the ramp."""
    full, none = ramp
    return min(max((none - 256 * log2_snr) / (none - full), 0.0), 1.0)


class FrequencyPlaces:
    """The places of a plane's coefficients between the nodes of gains, from which gains of any level are made.

    Attributes:
        node: the number of the node below, (height, width) uint8.
        share: how far a coefficient is towards the node above, in log2 f, (height, width) float32.
    """

    def __init__(self, height: int, width: int):
        nodes = np.log2(GAIN_NODES)
        at = np.interp(np.log2(np.maximum(frequencies(height, width), GAIN_NODES[0])), nodes, np.arange(len(nodes)))
        self.node = np.minimum(at, len(nodes) - 2).astype(np.uint8)
        self.share = (at - self.node).astype(np.float32)

    def apply_(self, planes: np.ndarray, gains: np.ndarray) -> None:
        """Multiply coefficients, (height, width) or several such planes, in place, by gains that are given at the nodes."""
        if (gains == 1).all():
            return
        lines = np.stack([gains[:-1], np.diff(gains)], 1).astype(np.float32)  # between two nodes
        for begin in range(0, len(self.node), ROWS):
            rows = slice(begin, begin + ROWS)
            found = lines.take(self.node[rows], 0, mode="clip")  # the fastest mode
            factor = found[..., 1] * self.share[rows]
            factor += found[..., 0]
            planes[..., rows, :] *= factor


def gains_at(log2_snr: float, gains: Table) -> np.ndarray:
    """Return gains at the nodes of frequency, (7,) float64: between the levels of a table's rows by linear interpolation."""
    table = np.array(gains) / GAIN_UNITS
    return np.array([np.interp(256 * log2_snr, GAIN_LEVELS, column) for column in table.T])


@functools.cache
def dct_matrix(size: int) -> np.ndarray:
    """Return the matrix of the orthonormal DCT-II, (size, size) float64: row k is the basis function of frequency k."""
    k, n = np.mgrid[:size, :size]
    matrix = math.sqrt(2 / size) * np.cos(math.pi * k * (2 * n + 1) / (2 * size))
    matrix[0] /= math.sqrt(2)
    return matrix


def log2_field(cells: np.ndarray, cell: int, height: int, width: int) -> np.ndarray:
    """Return log2 G of every pixel, (height, width) float32: bilinear between the middles of cells, constant beyond the outermost.

    Args:
        cells: log2 G of each cell, (rows, columns).
        cell: side of a cell, in pixels.
    """
    field = cells.astype(np.float32)
    for axis, size in enumerate((height, width)):
        at = np.clip((np.arange(size) + 0.5) / cell - 0.5, 0, field.shape[axis] - 1)
        before = np.floor(at).astype(np.intp)
        share = np.expand_dims((at - before).astype(np.float32), 1 - axis)
        after = np.minimum(before + 1, field.shape[axis] - 1)
        field = field.take(before, axis) * (1 - share) + field.take(after, axis) * share
    return field


def colour(weights: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Return the weighted sum of the planes of (3, H, W), (H, W) float32.

    Sums of planes, rather than a product of matrices, whose library would keep threads waiting at full speed beside the network's.
    """
    w = weights.astype(np.float32)
    out = planes[0] * w[0]
    for plane, weight in zip(planes[1:], w[1:], strict=True):
        out += plane * weight
    return out


def colours_(matrix: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Apply a 3x3 matrix to the colours of (3, H, W) float32, in place."""
    for begin in range(0, planes.shape[1], ROWS):
        part = planes[:, begin : begin + ROWS]
        part[:] = [colour(weights, part) for weights in matrix]
    return planes


def dct_(planes: np.ndarray) -> np.ndarray:
    """Replace each plane of (3, H, W) float32 by its orthonormal DCT-II."""
    return _transformed(planes, "dctn", lambda rows, columns, plane: rows @ plane @ columns.T)


def idct_(planes: np.ndarray) -> np.ndarray:
    """Replace each plane of (3, H, W) float32 by its inverse orthonormal DCT-II."""
    return _transformed(planes, "idctn", lambda rows, columns, plane: rows.T @ plane @ columns)


def _transformed(planes: np.ndarray, name: str, product: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Transform each plane, in place, by the product of matrices where it is small, else by a function of scipy.fft."""
    if max(planes.shape[1:]) <= MATRIX_SIDE:
        rows, columns = (dct_matrix(side) for side in planes.shape[1:])
        for plane in planes:
            plane[:] = product(rows, columns, plane)
        return planes
    from scipy import fft  # here, since it takes half a second to import

    transformed = getattr(fft, name)(planes, axes=(1, 2), norm="ortho", overwrite_x=True, workers=threads.count())
    if not np.may_share_memory(transformed, planes):  # it does, where the transform could work in place
        planes[:] = transformed
    return planes


def coefficients_(x: np.ndarray, field: np.ndarray | None = None) -> np.ndarray:
    """Replace a picture x by u = DCT(T x / G), both (3, H, W) float32, given G, (H, W) float32, or None where it is 1."""
    planes = colours_(T, x)
    if field is not None:
        planes /= field
    return dct_(planes)


def coefficients(x: np.ndarray, field: np.ndarray | None = None) -> np.ndarray:
    """Return u = DCT(T x / G), as `coefficients_`."""
    return coefficients_(np.array(x, np.float32), field)


def coefficient_plane(x: np.ndarray, element: int, field: np.ndarray | None = None) -> np.ndarray:
    """Return one of the three planes of `coefficients`, (H, W) float32, which takes a third of the memory."""
    plane = colour(T[element], x)
    if field is not None:
        plane /= field
    return dct_(plane[None])[0]


def picture_(u: np.ndarray, field: np.ndarray | None = None) -> np.ndarray:
    """Replace coefficients u by their picture x, both (3, H, W) float32: the inverse of `coefficients_`."""
    planes = idct_(u)
    if field is not None:
        planes *= field
    return colours_(np.linalg.inv(T), planes)


def synthesis_(u: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Replace u by y = scale O^T IDCT(u), both (3, H, W) float32."""
    return colours_(scale * O.T, idct_(u))


def analysis_(y: np.ndarray) -> np.ndarray:
    """Replace y by u = DCT(O y), both (3, H, W) float32: the inverse of `synthesis_`."""
    return dct_(colours_(O, y))


def whiten(u: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Return y = O^T IDCT(u / m), (3, H, W) float32, given the multipliers m, (3, H, W)."""
    return synthesis_((u / m).astype(np.float32))


def unwhiten(y: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Return u = m DCT(O y), (3, H, W) float32: the inverse of `whiten`."""
    return (m * analysis_(np.array(y, np.float32))).astype(np.float32)
