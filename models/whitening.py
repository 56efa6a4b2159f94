"""Whitening: noise of another level in each frequency and colour, which a network sees as white.

A picture x, (3, H, W), has the coefficients u = DCT(T x / G): T is a colour transform, G >= 1 a smooth field, the DCT is the orthonormal
DCT-II of each whole plane. Noise on u is to have the standard deviation sigma m_i, with a multiplier m_i that depends on a coefficient's
frequency and on whether it is luma or chroma. The network is shown

    y = O^T IDCT(u / m)

whose noise is white with standard deviation sigma, as O and the DCT are orthonormal. O is near T's own colours: a gray picture stays gray,
and others look as if another camera had taken them.

Frequency is in units of Nyquist: f = sqrt((i / H)^2 + (j / W)^2) for the coefficient in row i and column j. log2 m is linear in log2 f
between the nodes and constant beyond them.
"""

import math

import numpy as np

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as JPEG has them
BLUE_YELLOW = (-0.168736, -0.331264, 0.5)
RED_GREEN = (0.5, -0.418688, -0.081312)

NODES = (1 / 64, 1 / 24, 1 / 12, 3 / 16, 3 / 8, 0.8)  # frequencies
UNITS = 32  # of a table's integers, an octave
# log2 m at the nodes, in 1 / UNITS: luma, blue-yellow, red-green. Found by search for SSIMULACRA2, CVVDP and PSNR.
TABLE = ((4, 0, 0, 12, 22, 61), (8, 16, 24, 42, 48, 64), (8, 16, 24, 42, 48, 64))


def _colour_transform() -> np.ndarray:
    """Return T, (3, 3): the first element of a gray picture v is sqrt(3) v; noise in the other two changes no luma."""
    chroma = np.array([BLUE_YELLOW, RED_GREEN])
    return np.vstack([math.sqrt(3) * np.array(LUMA), chroma / np.linalg.norm(chroma, axis=1, keepdims=True)])


def _orthonormal(colour_transform: np.ndarray) -> np.ndarray:
    """Return O, (3, 3): gray, then the orthonormal pair that is nearest to T's two chroma rows (their polar factor)."""
    u, _, v = np.linalg.svd(colour_transform[1:], full_matrices=False)
    return np.vstack([np.full(3, 1 / math.sqrt(3)), u @ v])


T = _colour_transform()
O = _orthonormal(T)  # noqa: E741


def frequencies(height: int, width: int) -> np.ndarray:
    """Return f of every coefficient, (height, width) float64."""
    return np.hypot(np.arange(height)[:, None] / height, np.arange(width) / width)


def log2_multipliers(height: int, width: int, table: tuple[tuple[int, ...], ...] = TABLE) -> np.ndarray:
    """Return log2 m of every coefficient, (3, height, width) float64."""
    octaves = np.log2(np.maximum(frequencies(height, width), NODES[0]))  # the constant's frequency is 0
    return np.stack([np.interp(octaves, np.log2(NODES), row) for row in table]) / UNITS


def dct_matrix(size: int) -> np.ndarray:
    """Return the matrix of the orthonormal DCT-II, (size, size) float64: row k is the basis function of frequency k."""
    k, n = np.mgrid[:size, :size]
    matrix = math.sqrt(2 / size) * np.cos(math.pi * k * (2 * n + 1) / (2 * size))
    matrix[0] /= math.sqrt(2)
    return matrix


def _planes(matrix: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Apply a 3x3 matrix to the colours of (3, H, W), in float32."""
    return np.tensordot(matrix.astype(np.float32), planes.astype(np.float32, copy=False), 1)


def _dct(planes: np.ndarray, inverse: bool = False) -> np.ndarray:
    """Return the orthonormal DCT-II of each plane of (3, H, W), or its inverse."""
    from scipy.fft import dctn, idctn

    return (idctn if inverse else dctn)(planes, axes=(1, 2), norm="ortho")


def coefficients(x: np.ndarray, log2_field: np.ndarray | float = 0.0) -> np.ndarray:
    """Return u = DCT(T x / G) of a picture x, both (3, H, W) float32, given log2 G, (H, W) or a number."""
    return _dct(_planes(T, x) * np.exp2(-np.asarray(log2_field, np.float32)))


def picture(u: np.ndarray, log2_field: np.ndarray | float = 0.0) -> np.ndarray:
    """Return the picture x of coefficients u, both (3, H, W) float32: the inverse of `coefficients`."""
    return _planes(np.linalg.inv(T), _dct(u, inverse=True) * np.exp2(np.asarray(log2_field, np.float32)))


def whiten(u: np.ndarray, log2_m: np.ndarray) -> np.ndarray:
    """Return y = O^T IDCT(u / m), (3, H, W) float32, given log2 m of every coefficient, (3, H, W)."""
    return _planes(O.T, _dct(u * np.exp2(-log2_m.astype(np.float32)), inverse=True))


def unwhiten(y: np.ndarray, log2_m: np.ndarray) -> np.ndarray:
    """Return u = m DCT(O y), (3, H, W) float32: the inverse of `whiten`."""
    return _dct(_planes(O, y)) * np.exp2(log2_m.astype(np.float32))
