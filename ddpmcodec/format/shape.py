"""The S section: how the noise of a file is shaped in frequency, colour and place (models/whitening.py). Without it noise is white.

Body:

    v     table: one of `whitening.TABLES`, with `whitening.RAMP`; 255 is one of its own, which follows
    z     own table only: the ramp's two ends, of 256 log2 snr
    z     own table only: 18 entries of -128 ... 128, log2 m in 1/32 at the six nodes, of luma, then of the two chroma elements
    v     gains: 0 are none, others those of `whitening.GAINS_OF`; 255 are its own, which follow
    v     own gains only: 98 of 0 ... 64, in 1/64: for luma, then for chroma, for each of seven levels those at seven nodes
    z     the last level that the network sees at a quarter of the resolution, then at half of it; 0 and 0 with discrete levels
    v     side of the map's cells in pixels: 32, 64 or 128; 0 without a map
    ...   the map, row by row: k = 4 log2 G of each cell, 0 ... 24, as words of the range coder

where v is an integer as in `sections.varint` and z one in zigzag. k has weight 1 + floor(4096 / (1 + 16 (k - k')^2)) around k', the mean of
the cells on the left and above, rounded up; where there is but one of them, that one; of the first cell, 0.

Noise must fall from level to level in every coefficient: the ramp falls from its first end to its second, and (second - first) + 16 t > 0
for each entry t. The body is valid only if it is what `encode` would write.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, lru_cache

from ddpmcodec.errors import CorruptFileError, TruncatedFileError, UnsupportedVersionError
from ddpmcodec.format import rangecoder
from ddpmcodec.format.header import Header
from ddpmcodec.format.sections import Reader, check, unzigzag, varint, zigzag
from ddpmcodec.models import whitening
from ddpmcodec.models.levels import ContinuousLevels

NO_GAINS, OWN = 0, 255  # numbers of gains, and of tables, beside those of `whitening`
COLOURS, NODES = len(whitening.TABLE), len(whitening.NODES)
LARGEST_ENTRY = 128  # multipliers beyond 2^4 amplify rounding until two decoders differ visibly
LAST_FOLD = 4096  # beyond which no picture is seen with fewer pixels
CELLS = (32, 64, 128)  # sides of a map's cells, in pixels
MAX_CELLS = 1 << 16  # a map of more could make a reader work for minutes
COARSEST = 24  # k: G = 2^(k / 4) is 64


@dataclass(frozen=True)
class Shape:
    """The fields of the S section.

    Attributes:
        table: log2 m at the nodes, in 1/32: luma, then two elements of chroma.
        ramp: 256 log2 snr up to which the multipliers' power is 1, and from which it is 0.
        gains: of luma and of chroma, in 1/64, for each level a row over the nodes; None where there are none.
        quarter, half: the last levels that the network sees at a quarter, and at half of the resolution.
        cell: side of the map's cells in pixels; 0 without a map.
        cells: k of each cell, row by row.
    """

    table: whitening.Table = whitening.TABLE
    ramp: tuple[int, int] = whitening.RAMP
    gains: whitening.Gains | None = whitening.GAINS
    quarter: int = 0
    half: int = 0
    cell: int = 0
    cells: bytes = b""

    @property
    def number(self) -> int:
        """The number of its table and ramp; `OWN` where they have none."""
        known = (n for n, table in whitening.TABLES.items() if (self.table, self.ramp) == (table, whitening.RAMP))
        return next(known, OWN)

    @property
    def gains_number(self) -> int:
        """The number of its gains; `OWN` where they have none."""
        return NO_GAINS if self.gains is None else next((n for n, gains in whitening.GAINS_OF.items() if self.gains == gains), OWN)

    @property
    def is_even(self) -> bool:
        """Whether all coefficients have the same noise, as a map alone leaves them."""
        return not any(map(any, self.table))


def grid(height: int, width: int, cell: int) -> tuple[int, int]:
    """Return the rows and columns of a map."""
    return -(-height // cell), -(-width // cell)


@cache
def _model(center: int):
    """Return the distribution of k around one of them."""
    return rangecoder.categorical([1 + 4096 // (1 + 16 * (k - center) ** 2) for k in range(COARSEST + 1)])


def _code_map(coder: rangecoder.Writer | rangecoder.Source, rows: int, columns: int, cells: bytes | None = None) -> bytes:
    """Write a map, or read one: the coder returns each value that it writes or reads."""
    out = bytearray()
    for i in range(rows * columns):
        near = ([out[-1]] if i % columns else []) + ([out[i - columns]] if i >= columns else [])
        center = -(-sum(near) // len(near)) if near else 0
        out.append(coder.symbol(_model(center), None if cells is None else cells[i]))
    return bytes(out)


def _integers(values: Iterable[int]) -> bytes:
    return b"".join(varint(zigzag(value)) for value in values)


@lru_cache(maxsize=8)  # the plan asks for the size of a file at each step
def encode(shape: Shape, header: Header) -> bytes:
    """Return the body of the S section."""
    body = varint(shape.number)
    if shape.number == OWN:
        body += _integers(shape.ramp) + b"".join(map(_integers, shape.table))
    body += varint(shape.gains_number)
    if shape.gains is not None and shape.gains_number == OWN:
        body += b"".join(varint(value) for gains in shape.gains for row in gains for value in row)
    body += _integers((shape.quarter, shape.half)) + varint(shape.cell)
    if shape.cell:
        writer = rangecoder.Writer()
        _code_map(writer, *grid(header.height, header.width, shape.cell), shape.cells)
        body += writer.body()
    return body


def decode(body: bytes, header: Header) -> Shape:
    """Return the shape in the body of an S section.

    Raises:
        CorruptFileError: fields are missing, out of their ranges, or not in their one valid form.
        UnsupportedVersionError: the table is not known here.
    """
    r = Reader(body)
    try:
        ramp = whitening.RAMP
        if (number := r.varint()) in whitening.TABLES:
            table = whitening.TABLES[number]
        elif number != OWN:
            raise UnsupportedVersionError(f"table {number} of shaped noise is not supported by this version")
        else:
            ramp = unzigzag(r.varint()), unzigzag(r.varint())
            table = tuple(tuple(unzigzag(r.varint()) for _ in range(NODES)) for _ in range(COLOURS))
        gains: whitening.Gains | None = None
        if (number := r.varint()) in whitening.GAINS_OF:
            gains = whitening.GAINS_OF[number]
        elif number not in (NO_GAINS, OWN):
            raise UnsupportedVersionError(f"gains {number} of shaped noise are not supported by this version")
        elif number == OWN:
            rows, nodes = len(whitening.GAIN_LEVELS), len(whitening.GAIN_NODES)
            luma, chroma = (tuple(tuple(r.varint() for _ in range(nodes)) for _ in range(rows)) for _ in range(2))
            gains = luma, chroma
        quarter, half, cell = unzigzag(r.varint()), unzigzag(r.varint()), r.varint()
    except TruncatedFileError as e:
        raise CorruptFileError("the shape of the noise is shorter than its fields") from e
    shape = Shape(table, ramp, gains, quarter, half, cell)
    validate(shape, header)
    words = body[r.at :]
    check(len(words) % 4 == 0 and (cell > 0 or not words), "the map of the noise has an impossible length")
    if cell:
        try:
            cells = _code_map(rangecoder.Source(words), *grid(header.height, header.width, cell))
        except AssertionError as e:
            raise CorruptFileError("the map of the noise cannot be decoded") from e
        shape = replace(shape, cells=cells)
    check(encode(shape, header) == body, "the shape of the noise is not in its one valid form")
    return shape


def validate(shape: Shape, header: Header) -> None:
    """Raise CorruptFileError unless table, levels and cells are such as the format allows."""
    full, none = shape.ramp
    lowest, highest = ContinuousLevels.LOWEST, ContinuousLevels.HIGHEST
    check(lowest <= full < none <= highest, f"the noise's shape has a ramp from {full} to {none}")
    for entry in (entry for row in shape.table for entry in row):
        check(abs(entry) <= LARGEST_ENTRY, f"the noise's shape has an entry {entry}, beyond {LARGEST_ENTRY}")
        check(none - full + 16 * entry > 0, f"the noise's shape has an entry {entry}, whose noise rises")
    for gain in (gain for gains in shape.gains or () for row in gains for gain in row):
        check(gain <= whitening.GAIN_UNITS, f"the noise's shape has a gain of {gain} / {whitening.GAIN_UNITS}")
    if header.levels.counts_timesteps:
        check(shape.quarter == shape.half == 0, "the noise's shape reduces the resolution of a model that cannot")
    else:
        inside = lowest <= shape.quarter <= shape.half <= LAST_FOLD
        check(inside, f"the noise's shape reduces the resolution up to levels {shape.quarter} and {shape.half}")
    check(shape.cell in (0, *CELLS), f"the map of the noise has cells of {shape.cell} pixels")
    if shape.cell:
        rows, columns = grid(header.height, header.width, shape.cell)
        check(rows * columns <= MAX_CELLS, f"the map of the noise has {rows} x {columns} cells, more than {MAX_CELLS}")
