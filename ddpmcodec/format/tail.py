r"""The lossless end of Algorithm 3: x_0 given the last x_t, a discretized Gaussian for each subpixel (equation 13 of arXiv 2006.11239).

Body of the L section:

    4    CRC-32 (big endian) of the picture's bytes, in (row, column, channel) order
    1    margin, in units of 1/8192 of a gray level
    24   weights of the prediction, signed bytes, in units of 1/64
    24   index of the scale of each context class
    ...  the words of constriction's range coder (32-bit words, big endian): the marks, then the symbols

**Means.** The Gaussian's mean is x0hat on [0, 255], rounded to half gray levels: r = round(255 (x0hat + 1)). Two machines may round
differently what lies near a boundary, so each subpixel has a mark: 0 where the encoder's value is farther than the margin from one, else 1
or 2 for the lower or higher of the two. Marks are coded in (channel, row, column) order with frequencies that follow from the margin.

**Prediction.** Channels are coded in the order G, R, B, each row by row. E = 2 x - r is the residual of a subpixel in half gray levels.
Already known of it are those of the row above (left above, above, right above) and, in each channel before (in coding order), the
subpixel itself and its neighbours above, left, right and below; 0 outside the picture. Their sum, weighted, moves the mean by
P = floor((sum w E + 8) / 16) eighths of a gray level.

**Symbols.** M = 4 r + P is the mean in eighths; x - floor((M + 4) / 8) is coded where it lies in -31 ... 31, with the frequencies of its
offset M - 8 floor((M + 4) / 8) and scale; else the escape symbol 63 is, and after the row, for each escape, x with equal frequencies.

**Scale.** The context of a subpixel is a weighted sum of |8 x - M| over the same neighbours (`_CONTEXT_WEIGHTS`); its class, the number of
`CLASS_BOUNDS` not above it.

Encoder and decoder are one piece of code: the coder returns each symbol it writes or reads.
"""

import math
import struct
import zlib
from functools import cache

import constriction
import numpy as np

from ddpmcodec.errors import CorruptFileError, DriftError
from ddpmcodec.format import rangecoder
from ddpmcodec.format.header import CHANNELS

ORDER = (1, 0, 2)  # of the channels
LARGEST = 31  # symbols are -31 ... 31 and the escape
SYMBOLS = 2 * LARGEST + 2
ESCAPE = SYMBOLS - 1
OFFSETS = 8
SCALES = 44  # standard deviations 2^((i - 16) / 6) of a gray level, .16 ... 22.6
CLASS_BOUNDS = np.array([math.floor(12 * 2 ** (k / 3)) for k in range(23)])
CLASSES = len(CLASS_BOUNDS) + 1
MARGIN_UNIT = 1 / 8192
MARGIN = 8  # .001 of a gray level: three times the largest drift seen (docs/reliability.md)
ABOVE = ((-1, -1), (-1, 0), (-1, 1))
BEFORE = ((0, 0), (-1, 0), (0, -1), (0, 1), (1, 0))
# For each channel in coding order: weights of ABOVE, then of BEFORE for each channel before it. Each adds up to 32.
_CONTEXT_WEIGHTS = ((8, 16, 8), (4, 8, 4, 8, 2, 2, 2, 2), (4, 8, 4, *(4, 1, 1, 1, 1) * 2))
WEIGHTS = sum(map(len, _CONTEXT_WEIGHTS))
_HEAD = struct.Struct(f">IB{WEIGHTS}s{CLASSES}s")


def standard_deviation(scale: int) -> float:
    """Return the standard deviation of a scale index, in gray levels."""
    return 2.0 ** ((scale - 16) / 6)


def gaussian_mass(low: float, high: float, s: float) -> float:
    """Return the probability of [low, high] under N(0, s^2)."""
    return 0.5 * (math.erf(high / s / math.sqrt(2)) - math.erf(low / s / math.sqrt(2)))


def _frequencies(scale: int, offset: int) -> list[int]:
    """Return integer frequencies of the symbols where the mean lies `offset` eighths above the gray level nearest to it."""
    mean, s = offset / 8, standard_deviation(scale)
    inside = [gaussian_mass(x - mean - 0.5, x - mean + 0.5, s) for x in range(-LARGEST, LARGEST + 1)]
    return [1 + round(p * (1 << 20)) for p in (*inside, max(0.0, 1 - sum(inside)))]


@cache
def frequencies() -> np.ndarray:
    """Return the frequencies of all symbols, (SCALES, OFFSETS, SYMBOLS) int64, for offsets -4 ... 3."""
    return np.array([[_frequencies(i, o - OFFSETS // 2) for o in range(OFFSETS)] for i in range(SCALES)])


@cache
def _probabilities() -> np.ndarray:
    """Return `frequencies` as shares of their sums, float64."""
    return frequencies() / frequencies().sum(axis=2, keepdims=True)


_CATEGORICAL = constriction.stream.model.Categorical(perfect=False)
_GRAY_LEVEL = constriction.stream.model.Uniform(256)


class _Writer:
    """An encoder that returns the symbols it writes."""

    def __init__(self):
        self.coder = constriction.stream.queue.RangeEncoder()

    def code(self, symbols: np.ndarray, *model) -> np.ndarray:
        self.coder.encode(symbols.astype(np.int32), *model)
        return symbols

    def body(self) -> bytes:
        return rangecoder.to_bytes(self.coder)


class _Source:
    """A decoder with the methods of `_Writer`, which ignores the symbols given but for their number, and returns those decoded."""

    def __init__(self, body: bytes):
        self.coder = rangecoder.from_bytes(body)

    def code(self, symbols: np.ndarray, *model) -> np.ndarray:
        per_symbol = len(model) > 1
        return self.coder.decode(*model) if per_symbol else self.coder.decode(*model, symbols.size)


def _mark_model(margin: int):
    """Return the distribution of marks: that of a value that may lie anywhere, with a boundary every half gray level."""
    share = 2 * margin * MARGIN_UNIT
    return constriction.stream.model.Categorical(np.array([1 - 2 * share, share, share]), perfect=False)


def _marks(doubled: np.ndarray, margin: int) -> np.ndarray:
    """Return the encoder's marks of means in half gray levels."""
    distance = np.abs(doubled - np.floor(doubled) - 0.5)
    return np.where(distance <= 2 * margin * MARGIN_UNIT, 1 + (doubled - np.floor(doubled) >= 0.5), 0)


def _rounded(doubled: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Return r, the means in half gray levels, (C, H, W) int32: the same as the encoder's as long as drift stays below the margin."""
    return np.where(marks == 0, np.floor(doubled + 0.5), np.floor(doubled) + (marks == 2)).astype(np.int32)


def _shifted(plane: np.ndarray, dy: int, dx: int) -> np.ndarray:
    """Return the neighbour (y + dy, x + dx) of each (y, x) of a plane, 0 outside it."""
    height, width = plane.shape
    padded = np.pad(plane, 1)
    return padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]


def _neighbours(current: np.ndarray, before: list[np.ndarray]) -> list[np.ndarray]:
    """Return the planes of neighbours, in the order of the weights: those in its own plane, and in the planes coded before."""
    return [_shifted(current, dy, dx) for dy, dx in ABOVE] + [_shifted(plane, dy, dx) for plane in before for dy, dx in BEFORE]


def _split(weights) -> list[np.ndarray]:
    """Return the weights of each channel, in coding order."""
    sizes = [len(w) for w in _CONTEXT_WEIGHTS]
    return np.split(np.asarray(weights, np.int32), np.cumsum(sizes)[:-1])


def _predicted(r: np.ndarray, weighted: np.ndarray) -> np.ndarray:
    """Return M, the means in eighths of a gray level, from r and the weighted sum of residuals."""
    return 4 * r + (weighted + 8 >> 4)


def _symbols(x: np.ndarray, M: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each x its symbol, the gray level nearest to the mean, and the place of M's offset in the tables."""
    center = M + 4 >> 3
    symbol = x - center + LARGEST
    return np.where((symbol < 0) | (symbol >= ESCAPE), ESCAPE, symbol), center, M - 8 * center + OFFSETS // 2


def _class(context: np.ndarray) -> np.ndarray:
    """Return the class of each context."""
    return np.searchsorted(CLASS_BOUNDS, context, side="right")


def _code_planes(coder: _Writer | _Source, r: np.ndarray, weights, scales: np.ndarray, x: np.ndarray) -> None:
    """Write the planes x, (C, H, W) int32, or read them into x."""
    height, width = r.shape[1:]
    probabilities = _probabilities()
    residuals: list[np.ndarray] = []  # E of the channels done
    deviations: list[np.ndarray] = []  # |8 x - M| of them
    for channel, w, context_w in zip(ORDER, _split(weights), _CONTEXT_WEIGHTS, strict=True):
        # The share of the channels before is known for the whole plane; that of the row above is added row by row.
        blank = np.zeros((height, width), np.int32)
        fixed = sum((a * v for a, v in zip(_neighbours(blank, residuals), w, strict=True)), blank)
        fixed_context = sum((a * v for a, v in zip(_neighbours(blank, deviations), context_w, strict=True)), blank)
        E, deviation = np.zeros((2, height + 1, width + 2), np.int32)  # one row above, one column on either side
        for y in range(height):
            weighted, context = fixed[y].copy(), fixed_context[y].copy()
            for i in range(len(ABOVE)):
                weighted += w[i] * E[y, i : i + width]
                context += context_w[i] * deviation[y, i : i + width]
            M = _predicted(r[channel, y], weighted)
            row = x[channel, y]
            symbol, center, offset = _symbols(row, M)
            symbol = coder.code(symbol, _CATEGORICAL, probabilities[scales[_class(context)], offset])
            escaped = symbol == ESCAPE
            decoded = symbol - LARGEST + center
            if escaped.any():
                decoded[escaped] = coder.code(row[escaped], _GRAY_LEVEL)
            row[:] = decoded
            E[y + 1, 1:-1] = 2 * row - r[channel, y]
            deviation[y + 1, 1:-1] = np.abs(8 * row - M)
        residuals.append(E[1:, 1:-1])
        deviations.append(deviation[1:, 1:-1])


def _fit_weights(x: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Return the weights of the prediction, (WEIGHTS,) int8, in units of 1/64: least squares."""
    E = 2 * x - r
    out = []
    for i, channel in enumerate(ORDER):
        A = np.stack([a.ravel() for a in _neighbours(E[channel], [E[c] for c in ORDER[:i]])], axis=1).astype(np.float64)
        out.append(np.linalg.lstsq(A.T @ A, A.T @ E[channel].ravel(), rcond=None)[0])
    return np.clip(np.round(64 * np.concatenate(out)), -128, 127).astype(np.int8)


def _fit_scales(x: np.ndarray, r: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return for each class of contexts the scale that costs the fewest bits, (CLASSES,) uint8."""
    counts = np.zeros((CLASSES, OFFSETS, SYMBOLS), np.int64)
    E = 2 * x - r
    deviations: list[np.ndarray] = []
    for i, (w, context_w) in enumerate(zip(_split(weights), _CONTEXT_WEIGHTS, strict=True)):
        channel = ORDER[i]
        weighted = sum(v * a for v, a in zip(w, _neighbours(E[channel], [E[c] for c in ORDER[:i]]), strict=True))
        M = _predicted(r[channel], np.asarray(weighted))
        deviation = np.abs(8 * x[channel] - M)
        context = sum(v * a for v, a in zip(context_w, _neighbours(deviation, deviations), strict=True))
        symbol, _, offset = _symbols(x[channel], M)
        np.add.at(counts, (_class(np.asarray(context)), offset, symbol), 1)
        deviations.append(deviation)
    bits = -np.einsum("cos,kos->ck", counts, np.log2(_probabilities()))
    return bits.argmin(axis=1).astype(np.uint8)


def encode(pixels: np.ndarray, x0hat: np.ndarray) -> bytes:
    """Return the body of the L section.

    Args:
        pixels: the picture, (H, W, 3) uint8.
        x0hat: the prediction at the end of the payload, (3, H, W) float32 in [-1, 1].
    """
    doubled = 255 * (x0hat.astype(np.float64) + 1)
    x = pixels.transpose(2, 0, 1).astype(np.int32)
    writer = _Writer()
    marks = writer.code(_marks(doubled, MARGIN).reshape(-1), _mark_model(MARGIN))
    r = _rounded(doubled, marks.reshape(doubled.shape))
    weights = _fit_weights(x, r)
    scales = _fit_scales(x, r, weights)
    _code_planes(writer, r, weights, scales, x)
    return _HEAD.pack(zlib.crc32(pixels.tobytes()), MARGIN, weights.tobytes(), scales.tobytes()) + writer.body()


def check(body: bytes) -> None:
    """Raise CorruptFileError unless the fields before the range coder's words are in their ranges."""
    if len(body) < _HEAD.size or (len(body) - _HEAD.size) % 4:
        raise CorruptFileError("the tail has an impossible length")
    _, margin, _, scales = _HEAD.unpack_from(body)
    if not margin >= 1 or max(scales) >= SCALES:
        raise CorruptFileError("a field of the tail is out of range")


def decode(body: bytes, x0hat: np.ndarray) -> np.ndarray:
    """Return the picture, (H, W, 3) uint8, exactly as it was encoded.

    Args:
        body: of the L section.
        x0hat: as this machine computes it, (3, H, W) float32 in [-1, 1].

    Raises:
        CorruptFileError: the body is not valid.
        DriftError: this machine's x0hat is so far from the encoder's that the means cannot be known.
    """
    check(body)
    crc, margin, weights, scales = _HEAD.unpack_from(body)
    doubled = 255 * (x0hat.astype(np.float64) + 1)
    source = _Source(body[_HEAD.size :])
    x = np.zeros((CHANNELS, *x0hat.shape[1:]), np.int32)
    try:
        marks = source.code(np.zeros(doubled.size), _mark_model(margin)).reshape(doubled.shape)
        _code_planes(source, _rounded(doubled, marks), np.frombuffer(weights, np.int8), np.frombuffer(scales, np.uint8), x)
    except AssertionError:  # constriction's own word for data that cannot be: the symbols have come out of step
        x[:] = -1
    pixels = np.ascontiguousarray((x & 255).astype(np.uint8).transpose(1, 2, 0))
    if x.min() < 0 or x.max() > 255 or zlib.crc32(pixels.tobytes()) != crc:
        raise DriftError(
            f"the network's arithmetic here differs from the encoder's by more than {margin * MARGIN_UNIT:.4f} of a gray level somewhere,"
            " so the lossless picture cannot be recovered; the picture without the file's tail can",
            parameter="steps",
        )
    return pixels
