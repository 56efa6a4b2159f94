"""A mutation fuzzer of everything that reads files before the network runs, and of `decode`: make fuzz, or python tests/fuzz.py --help

Each input is made of its number and the seed alone: files are taken apart and put together again wrongly, half of them with checksums that
are right. Each is parsed, described and truncated; what is not a result or a typed error, takes more than `MAX_SECONDS` of CPU time or
`MAX_MEMORY`, or imports torch is a failure. A share of them is then decoded by the command line: a picture, or one line and no file.
"""

import argparse
import hashlib
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

sys.path.pop(0)  # tests/, whose ddpmcodec/ is not the package

from ddpmcodec import api
from ddpmcodec.channel import codeword
from ddpmcodec.errors import DdpmcodecError, FormatError
from ddpmcodec.format import container, steptable
from ddpmcodec.format import header as headers
from ddpmcodec.format import shape as shapes
from ddpmcodec.format.container import Container
from ddpmcodec.format.header import Header
from ddpmcodec.format.metadata import MAX_BYTES, NONE, Metadata
from ddpmcodec.format.sections import crc, zigzag
from ddpmcodec.format.shape import Shape
from ddpmcodec.format.steptable import MAX_STEPS, NUS, Step
from ddpmcodec.models import whitening
from ddpmcodec.models.levels import ContinuousLevels, DiscreteLevels


def memory(field: str = "VmSize") -> int:
    """Bytes of address space."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


IMPORTED = memory()
TESTS = Path(__file__).parent
MAX_SECONDS = 2.0
MAX_MEMORY = 100_000_000
MAX_PIXELS = 20_000  # of pictures decoded
MAX_WORK = 200_000  # pixels through the network in decoding one: a part of a second with the test model
DECODED = 200  # one in so many inputs is decoded
ACCEPTED_DECODED = 15  # and one in so many of those that parse and do not take long
LARGEST_SEED = 20_000  # bytes

START = len(container.SIGNATURE) + 1
NUMBERS = sorted({max(0, 2**k + d) for k in (0, 1, 7, 8, 12, 13, 14, 15, 20, 24, 31, 32, 40, 62, 63) for d in (-1, 0, 1)})
BETAS = (0.0, -0.0, 5e-324, 1e-300, 1e-17, 1e-16, 1e-4, 0.02, 0.5, 1 - 1e-16, 1.0, -1.0, 1e308, float("inf"), float("nan"))
LETTERS = b"HASTPLEiexzZaX1\0\xe4"

Section = tuple[bytes, bytes]  # type, body


class Hang(BaseException):
    """An input takes too long. Nothing that catches exceptions catches it."""


# Files as lists of sections.


def leb128(value: int, longer: int = 0) -> bytes:
    """A number in `longer` bytes more than it needs."""
    out = []
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value]) if not longer else bytes([*out, value | 0x80, *[0x80] * (longer - 1), 0])


def read_leb128(data: bytes, at: int) -> tuple[int, int]:
    """(value, where it ends); IndexError where the data end before."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at


def spans(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(begin, begin of the body, end of the body) of each section, as far as lengths lead; the last may end beyond the data."""
    at = START
    while at < len(data):
        try:
            size, body = read_leb128(data, at + 1)
        except IndexError:
            return
        yield at, body, body + size
        at = body + size + 4


def split(data: bytes) -> list[Section]:
    return [(data[begin : begin + 1], data[body:end]) for begin, body, end in spans(data)]


def join(sections: list[Section]) -> bytes:
    out = [container.SIGNATURE, bytes([container.VERSION])]
    for kind, body in sections:
        data = kind + leb128(len(body)) + body
        out += [data, crc(data)]
    return b"".join(out)


def header_of(sections: list[Section]) -> Header | None:
    return parsed_or_none(headers.decode, dict(sections).get(b"H", b""))


def parsed_or_none(parser: Callable, *arguments):
    try:
        return parser(*arguments)
    except FormatError:
        return None


def repaired(data: bytes, within: bool) -> bytes:
    """With right checksums as far as lengths lead, `within` the payload too."""
    out = bytearray(data)
    bodies: list[Section] = []
    for begin, body, end in spans(data):
        kind = data[begin : begin + 1]
        bodies.append((kind, data[body:end]))
        if within and kind == b"P" and (header := header_of(bodies)):
            steps = parsed_or_none(steptable.decode, dict(bodies).get(b"T", b""), header)
            checked = body
            for offset in container._layout(steps)[1] if steps else ():
                if body + offset + 4 <= len(out):
                    out[body + offset : body + offset + 4] = crc(bytes(out[checked : body + offset]))
                    checked = body + offset + 4
        if end + 4 <= len(out):
            out[end : end + 4] = crc(bytes(out[begin:end]))
    return bytes(out)


# Files to begin with.


def messages_of(steps: list[Step], rng: random.Random) -> tuple[bytes, ...]:
    """Random path bits, and the zeros behind them."""
    return tuple((rng.getrandbits(step.n) << -step.n % 8).to_bytes(step.bytes, "big") if step.n else b"" for step in steps)


def steps_of(header: Header, sizes: list[int], rng: random.Random) -> list[Step]:
    """Legal steps of about so many path bits."""
    steps, level = [], header.start
    for i, size in enumerate(sizes):
        level = header.levels.descend(level, rng.randint(1, 200 if header.levels.kind == "continuous" else 3))
        n = codeword.legal_bits(min(size, header.dimensions // 2))
        steps.append(Step(level, n, rng.choice(NUS), i == 0 or rng.random() < 0.8))
    return steps


def deflated(size: int, start: bytes = b"") -> bytes:
    """So many zeros behind a start, a part at a time."""
    deflate = zlib.compressobj(9)
    parts = [deflate.compress(start)]
    while size > 0:
        parts.append(deflate.compress(bytes(min(size, 1 << 20))))
        size -= 1 << 20
    return b"".join([*parts, deflate.flush()])


def png(width: int, height: int, rows: bytes, depth: int = 8, color: int = 0, *chunks: tuple[bytes, bytes]) -> bytes:
    """With deflated rows, and more chunks before them."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    out = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", header), *chunks, (b"IDAT", rows), (b"IEND", b"")):
        out += struct.pack(">I", len(body)) + kind + body + crc(kind + body)
    return out


def alpha_of(header: Header) -> bytes:
    rows = header.height * header.pictures
    return png(header.width, rows, zlib.compress((b"\0" + bytes(range(header.width))) * rows))


def gains_of(rng: random.Random) -> whitening.Gains:
    luma, chroma = (
        tuple(tuple(rng.randint(0, whitening.GAIN_UNITS) for _ in whitening.GAIN_NODES) for _ in whitening.GAIN_LEVELS) for _ in range(2)
    )
    return luma, chroma


def shape_of(header: Header, rng: random.Random, own: bool, cell: int) -> Shape:
    """A legal one, with a random map where there are cells."""
    rows, columns = shapes.grid(header.height, header.width, cell) if cell else (0, 0)
    quarter, half = (0, 0) if header.levels.kind == "discrete" else sorted(rng.randint(-4000, 4096) for _ in range(2))
    gains = rng.choice((None, whitening.GAINS, gains_of(rng)))
    shape = Shape(
        gains=gains, quarter=quarter, half=half, cell=cell, cells=bytes(rng.randint(0, shapes.COARSEST) for _ in range(rows * columns))
    )
    if own:
        full, most = rng.randint(-4000, 2000), shapes.LARGEST_ENTRY
        table = tuple(tuple(rng.randint(-most, most) for _ in range(shapes.NODES)) for _ in range(shapes.COLOURS))
        shape = replace(shape, table=table, ramp=(full, full + 16 * most + rng.randint(1, 2000)))
    return shape


def seed_files() -> list[bytes]:
    """Of every kind, some with the test model's name, so that they decode; with random path bits, so that no network is needed."""
    rng = random.Random(0)
    paths = sorted([*TESTS.glob("data/*.ddpm"), *TESTS.glob("conformance/**/*.ddpm")])
    found = [data for path in paths if len(data := path.read_bytes()) <= LARGEST_SEED]
    base = Header(16, 12, "test-model", bytes.fromhex("f075a9cdb047ff0b"), ContinuousLevels(), -3734)  # of tests/data
    tail = bytes(4) + b"\x04" + rng.randbytes(24) + bytes(range(20, 44)) + rng.randbytes(400)
    metadata = Metadata(rng.randbytes(300), b"Exif\0\0MM\0*\0\0\0\x08" + bytes(40), b"<x:xmpmeta/>" * 20)
    some = [100, 0, 7, 600, 300]

    def add(
        sizes: list[int],
        tail: bytes | None = None,
        alpha: bool = False,
        metadata: Metadata = NONE,
        shaped: tuple[bool, int] | None = None,  # whether the table is its own, and the map's cells
        **changes,
    ) -> None:
        header = replace(base, **changes)
        steps = steps_of(header, sizes, rng)
        kept = alpha_of(header) if alpha else None
        shape = None if shaped is None else shape_of(header, rng, *shaped)
        found.append(container.serialize(Container(header, tuple(steps), messages_of(steps, rng), tail, kept, metadata, shape)))

    add([])
    add(some)
    add([8, 9], width=1, height=1, seed=2**63 - 1)
    add(some, gray=True, orientation=6)
    add(some, pictures=3, alpha=True)
    add(some, tail=tail)
    add(some, tail=tail, gray=True, alpha=True, metadata=metadata)
    add(some, metadata=metadata, alpha=True, orientation=8)
    add([3000, 4096, 8192, 100, 10000], width=97, height=64)
    add([50] * 60, width=33, height=5)
    add(some, levels=DiscreteLevels("linear", 1000), start=1000)
    add(some, levels=DiscreteLevels("cosine", 50, 0.5, 0.5), start=49, tail=tail)
    add([0, 0], width=1 << 20, height=1 << 20, pictures=1 << 20)
    add([1000, 2000], width=1 << 20, height=3, model_name="a" * 64, model_hash=bytes(8))
    add(some, shaped=(False, 0))
    add(some, shaped=(True, 0), gray=True, orientation=6)
    add(some, shaped=(True, 32), pictures=3, alpha=True, metadata=metadata)
    add([300, 4096, 100], shaped=(False, 32), width=97, height=64)
    add(some, shaped=(True, 64), width=161, height=70)
    add(some, shaped=(False, 128), levels=DiscreteLevels("linear", 1000), start=1000)
    add([0, 0], shaped=(True, 32), width=256 * 32, height=256 * 32)
    return found


# Mutations: of bytes, ...

Mutation = Callable[[random.Random, bytes], bytes]


def place(rng: random.Random, data: bytes) -> int:
    """Sections' beginnings, where lengths and fields are, are as likely as all else."""
    if rng.random() < 0.5 and (begins := [begin for begin, _, _ in spans(data)]):
        return min(rng.choice(begins) + rng.randrange(24), max(0, len(data) - 1))
    return rng.randrange(len(data) or 1)


def flip_bits(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8)) if out else 0):
        out[place(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(out)


def set_bytes(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8)) if out else 0):
        out[place(rng, data)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(out)


def cut(rng: random.Random, data: bytes) -> bytes:
    return data[: place(rng, data)]


def delete_bytes(rng: random.Random, data: bytes) -> bytes:
    at = place(rng, data)
    return data[:at] + data[at + rng.choice((1, 1, 4, 50)) :]


def insert_bytes(rng: random.Random, data: bytes) -> bytes:
    at, size = place(rng, data), rng.choice((1, 1, 4, 50))
    again = place(rng, data)
    return data[:at] + rng.choice((rng.randbytes(size), bytes(size), data[again : again + size])) + data[at:]


def splice(rng: random.Random, data: bytes) -> bytes:
    other = rng.choice(SEEDS)
    return data[: place(rng, data)] + other[place(rng, other) :]


def edit_length(rng: random.Random, data: bytes) -> bytes:
    """Of a section, by a little or to something extreme, or in more bytes than it needs."""
    found = list(spans(data))
    if not found:
        return data
    begin, body, end = rng.choice(found)
    size = end - body
    length = rng.choice(
        (
            leb128(max(0, size + rng.choice((-4, -1, 1, 4, 128)))),
            leb128(rng.choice(NUMBERS)),
            leb128(size, rng.randint(1, 9)),
            b"\xff" * rng.randint(1, 12),
        )
    )
    return data[: begin + 1] + length + data[body:]


# ... of sections, ...


def edit_sections(rng: random.Random, data: bytes) -> bytes:
    """One is removed, doubled, moved, added, or taken from another file."""
    sections = split(data)
    other = split(rng.choice(SEEDS)) or [(b"z", b"")]
    i, j = rng.randrange(len(sections) + 1), rng.randrange(len(sections) + 1)
    new = (bytes([rng.choice(LETTERS)]), rng.choice((b"", rng.randbytes(rng.randrange(40)), rng.choice(other)[1])))
    action = rng.randrange(7)
    if action == 0:
        del sections[i : i + 1]
    elif action == 1:
        sections[j:j] = sections[i : i + 1]
    elif action == 2:
        moved = sections[i : i + 1]
        del sections[i : i + 1]
        sections[j:j] = moved
    elif action == 3:
        sections[i : i + 1] = [new]
    elif action == 4:
        sections[i:i] = [new]
    elif action == 5:
        sections[i:i] = [(rng.choice((b"z", new[0])), new[1][:20])] * rng.choice((2, 55, 60, 65, 200))
    else:
        kinds = dict(other)
        sections[i : i + 1] = [(kind, kinds.get(kind, body)) for kind, body in sections[i : i + 1]]
    return join(sections)


def edit_header(rng: random.Random, data: bytes) -> bytes:
    """Fields set to something extreme."""
    sections = split(data)
    header = header_of(sections)
    if header is None:
        return data
    discrete = isinstance(header.levels, DiscreteLevels)
    levels = header.levels if isinstance(header.levels, DiscreteLevels) else DiscreteLevels("linear", 1000)
    numbers = {
        "width": header.width,
        "height": header.height,
        "pictures": header.pictures,
        "mode": int(header.gray),
        "orientation": header.orientation,
        "name": len(header.model_name),
        "kind": int(discrete),
        "schedule": DiscreteLevels.SCHEDULES.index(levels.schedule),
        "T": levels.T,
        "start": zigzag(header.start),
        "seed": header.seed,
    }
    betas = [levels.beta_1, levels.beta_T]
    name, longer = header.model_name.encode(), Counter[str]()
    for _ in range(rng.choice((1, 1, 2))):
        field = rng.choice([*numbers, "beta", "letters", "longer"])
        if field == "beta":
            numbers["kind"] = 1
            betas[rng.randrange(2)] = rng.choice((*BETAS, rng.random(), struct.unpack(">d", rng.randbytes(8))[0]))
            betas.sort()
        elif field == "letters":
            name = bytes(rng.choice(b"a-._9A/\0\xff") for _ in range(rng.choice((1, 10, 64, 65))))
            numbers["name"] = len(name)
        elif field == "longer":
            longer[rng.choice(list(numbers))] = rng.randint(1, 9)
        else:
            numbers[field] = rng.choice((rng.choice(NUMBERS), rng.randrange(1, 9), max(0, numbers[field] + rng.choice((-1, 1)))))
    text = {field: leb128(value, longer[field]) for field, value in numbers.items()}
    body = b"".join(text[field] for field in ("width", "height", "pictures", "mode", "orientation", "name"))
    body += name + header.model_hash + text["kind"]
    if numbers["kind"] == 1:
        body += text["schedule"] + text["T"] + struct.pack(">dd", *betas)
    body += text["start"] + text["seed"]
    return join([(kind, body if kind == b"H" else old) for kind, old in sections])


def edit_shape(rng: random.Random, data: bytes) -> bytes:
    """Fields of the shape of the noise set to something extreme, and words behind them; a legal one, or none."""
    sections = split(data)
    header = header_of(sections)
    if header is None:
        return data
    action = rng.randrange(6)
    own, cell = rng.random() < 0.5, rng.choice((0, 0, *shapes.CELLS))
    cells_fit = cell == 0 or -(-header.width // cell) * -(-header.height // cell) <= 2000
    body = shapes.encode(shape_of(header, rng, own, cell if cells_fit else 0), header)
    if action < 4:
        fields: list[int] = []
        at = 0

        def read(count: int) -> None:
            nonlocal at
            for _ in range(count):
                value, at = read_leb128(body, at)
                fields.append(value)

        read(1)
        read(shapes.COLOURS * shapes.NODES + 3 if fields[-1] == shapes.OWN else 1)  # up to the number of the gains
        read(2 * len(whitening.GAIN_LEVELS) * len(whitening.GAIN_NODES) + 3 if fields[-1] == shapes.OWN else 3)
        words, longer = body[at:], [0] * len(fields)
        for _ in range(rng.choice((0, 1, 1, 2))):
            i = rng.choice((0, len(fields) - 1, rng.randrange(len(fields))))
            some = (rng.choice(NUMBERS), rng.choice((0, 1, 2, 32, 48, 64, 128, 255, 256)), max(0, fields[i] + rng.choice((-1, 1))))
            fields[i] = rng.choice(some)
            longer[i] = rng.choice((0, 0, 0, 1, 9))
        other = (words, words + bytes(4), words[:-4], rng.randbytes(4 * rng.randrange(9)), rng.randbytes(rng.randrange(9)), b"\xff" * 8)
        body = b"".join(map(leb128, fields, longer)) + rng.choice((words, words, *other))
    sections = [section for section in sections if section[0] != b"S"]
    at = next((i for i, section in enumerate(sections) if section[0] == b"T"), len(sections))
    if action < 5:
        sections[at:at] = [(b"S", body)]
    return join(sections)


def edit_table(rng: random.Random, data: bytes) -> bytes:
    """Steps that are odd, most of them legal, with the payload that they ask for or the beginning of one."""
    sections = split(data)
    header = header_of(sections)
    if header is None:
        return data
    count = rng.choice((0, 1, 2, 5, 20))
    most = rng.choice((1, 3, 100, 1000))
    odd = rng.random() < 0.3
    sizes = [0, rng.randrange(3000), rng.choice(NUMBERS), header.dimensions // 2]
    if rng.random() < 0.001:  # as many steps as there can be
        header = replace(header, levels=ContinuousLevels(), start=ContinuousLevels.LOWEST)
        count, most, odd, sizes = rng.choice((MAX_STEPS, MAX_STEPS + 1)), 1, False, [0, 8]
    steps, level = [], header.start
    for _ in range(count):
        level = header.levels.descend(level, rng.choice(NUMBERS) if odd and rng.random() < 0.1 else rng.randint(1, most))
        n = min(rng.choice(sizes), header.dimensions // 2)
        n = rng.choice((n + 1, rng.choice(NUMBERS))) if odd and rng.random() < 0.1 else codeword.legal_bits(n)
        steps.append(Step(level, n, rng.choice(NUS), rng.random() < 0.9 or (not steps and not odd)))
    try:
        with mock.patch.multiple(steptable, validate=lambda *_: None, MAX_STEPS=2 * MAX_STEPS):
            table = steptable.encode(steps, header)
    except (ArithmeticError, AssertionError, LookupError, ValueError):  # not to be written, by far
        return data
    size = container._layout(tuple(steps))[2]
    small = size <= 50_000
    payload = container._payload(messages_of(steps, rng)) if small else rng.randbytes(rng.randrange(3000))
    new = {b"H": headers.encode(header), b"T": table, b"P": payload}
    whole = [(kind, new.get(kind, body)) for kind, body in sections]
    if small:
        return join(whole)
    upto = next((i for i, (kind, _) in enumerate(whole) if kind == b"P"), len(whole))
    return join(whole[:upto]) + b"P" + leb128(size) + payload


def bombs() -> list[Section]:
    """Bodies that are a thousand times as long when inflated, or nearly valid."""
    zeros = [deflated(size) for size in (0, 1, MAX_BYTES, MAX_BYTES + 1, 1 << 28)]
    bomb, longer = zeros[2:4]
    text = zlib.compress(b"<x:xmpmeta/>" * 50)
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    dictionary = zlib.compressobj(zdict=b"xmpmeta")
    bodies = [
        b"",
        *zeros,
        bomb[:-1],
        bomb + b"x",
        deflated(MAX_BYTES - 8, b"Exif\0\0MM"),
        text[:-1],
        text + text,
        text[:-4] + bytes(4),
        raw.compress(bytes(1000)) + raw.flush(),
        dictionary.compress(b"xmpmeta") + dictionary.flush(),
    ]
    rows = deflated(17 * 12)
    texts = ((b"zTXt", b"a\0\0" + bomb), (b"iCCP", b"a\0\0" + longer), (b"iTXt", b"a\0\1\0\0\0" + bomb))
    pictures = [
        png(1 << 30, 1 << 30, rows),
        png(16, 12, bomb),
        png(16, 12, rows)[:-20],
        png(16, 12, deflated(17 * 11)),
        png(16, 12, deflated(33 * 12), 16),
        png(16, 12, deflated(3 * 12), 1),
        png(16, 12, deflated(49 * 12), 8, 2),
        *(png(16, 12, rows, 8, 0, chunk) for chunk in texts),
        png(16, 12, rows, 8, 0, (b"tRNS", b"\0\0")),
        png(16, 12, rows, 8, 0, (b"acTL", struct.pack(">II", 2**31, 0))),
        b"GIF89a",
    ]
    return [(kind, body) for body in bodies for kind in (b"i", b"e", b"x")] + [(b"A", body) for body in pictures]


def place_bombs(rng: random.Random, data: bytes) -> bytes:
    """One, or all that a file can hold."""
    chosen = dict(rng.choice(BOMBS) for _ in range(rng.choice((1, 1, 1, 5))))
    sections = [section for section in split(data) if section[0] not in chosen]
    for kind, body in chosen.items():
        before = b"ST" if kind in b"iA" else b"E"
        at = next((i for i, section in enumerate(sections) if section[0] in before), 0)
        sections[at:at] = [(kind, body)]
    return join(sections)


def edit_tail(rng: random.Random, data: bytes) -> bytes:
    """A lossless file's end, random behind its fields, or with one more."""
    body = rng.randbytes(4) + bytes([rng.choice((0, 1, 4, 255))]) + rng.randbytes(24)
    body += bytes(rng.choice((0, 20, 43, 43 + (rng.random() < 0.05))) for _ in range(24))
    body += rng.choice((b"", bytes(4), rng.randbytes(4 * rng.randrange(200)), rng.randbytes(rng.randrange(9))))
    sections = [section for section in split(data) if section[0] != b"L"]
    at = next((i + 1 for i, section in enumerate(sections) if section[0] == b"P"), len(sections))
    sections[at:at] = [(b"L", body)]
    return join(sections)


# ... and files from nothing.


def random_file(rng: random.Random, data: bytes) -> bytes:
    return rng.choice(
        (
            rng.randbytes(rng.randrange(200)),
            data[:START] + rng.randbytes(rng.randrange(200)),
            join([(b"H", rng.randbytes(rng.randrange(60)))]),
            join([(kind, rng.randbytes(4 * rng.randrange(9)) if kind == b"T" else body) for kind, body in split(data)]),
            join([(bytes([rng.choice(LETTERS)]), rng.randbytes(rng.randrange(40))) for _ in range(rng.randrange(9))]),
        )
    )


MUTATIONS: dict[Mutation, int] = {
    flip_bits: 15,
    set_bytes: 15,
    cut: 5,
    delete_bytes: 5,
    insert_bytes: 5,
    splice: 5,
    edit_length: 8,
    edit_sections: 12,
    edit_header: 12,
    edit_table: 12,
    edit_shape: 6,
    place_bombs: 2,
    edit_tail: 4,
    random_file: 3,
}  # and how often each is taken


def input_of(seed: int, number: int) -> bytes:
    rng = random.Random(f"{seed} {number}")
    data = rng.choice(SEEDS)
    for mutation in rng.choices(list(MUTATIONS), list(MUTATIONS.values()), k=rng.choice((1, 1, 1, 2, 3))):
        data = mutation(rng, data)
    if rng.random() < 0.5:
        data = repaired(data, within=rng.random() < 0.9)
    return cut(rng, data) if rng.random() < 0.05 else data


# What is asked of each input.


longest = [0.0]  # CPU time of one call


@contextmanager
def limited_time() -> Iterator[None]:
    """Of CPU time, for which it does not matter what else runs."""
    signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def limited(act: Callable, *arguments, **options):
    """A call's result."""
    begin = time.process_time()
    try:
        with limited_time():
            return act(*arguments, **options)
    finally:
        longest[0] = max(longest[0], time.process_time() - begin)


def on_alarm(number, frame) -> None:
    raise Hang(f"more than {MAX_SECONDS} s of CPU time")


def content(parsed: Container) -> tuple:
    """Metadata as their sections: inflated, two files' would be over the limit that is one's."""
    return parsed.header, parsed.shape, parsed.steps, parsed.messages, parsed.tail, parsed.alpha, parsed.metadata.bodies, parsed.complete


def result_or_error(act: Callable, *arguments, **options):
    """What a call returns, or the name of its error: not the error, whose traceback would keep all that the call held."""
    try:
        return limited(act, *arguments, **options)
    except DdpmcodecError as e:
        assert str(e) and len(str(e).splitlines()) == 1, repr(e)
        return type(e).__name__


def check_reading(data: bytes, rng: random.Random) -> Container | str:
    """The file without its metadata, or the name of the error that refuses it: all that needs no network says the same."""
    parsed = result_or_error(container.parse, data)
    if isinstance(parsed, str):
        for act in (api.info, api.truncate):
            assert result_or_error(act, data) == parsed, f"{parsed} once, and then not"
        return parsed
    said, again = content(parsed), limited(container.serialize, parsed)
    parsed = replace(parsed, metadata=NONE)
    if parsed.complete:
        kinds = [section.type for section in parsed.sections]
        if kinds == sorted(set(kinds), key="HiASTPLexE".find):
            assert again == data, "what is parsed is not what is written"
        assert content(limited(container.parse, again)) == said, "what is written is not what is parsed"
    info = limited(api.info, data)
    assert info["whole_steps"] == len(parsed.messages) and info["bytes"] == len(data)
    limits = {"max_bytes": rng.choice((0, 60, len(data) // 2, len(data)))}
    limits = rng.choice((limits, {"bpp": rng.choice((1e-300, 0.5, 1e300))}, {"steps": rng.randrange(9)}))
    small = result_or_error(api.truncate, data, strip=rng.random() < 0.5, **limits)
    if small != "RateError":
        assert len(small) <= limits.get("max_bytes", len(small))
        whole = container.parse(small)
        assert whole.complete and whole.messages == parsed.messages[: len(whole.messages)]
    return parsed


def affordable(parsed: Container) -> bool:
    """Whether decoding takes a moment; a picture over `MAX_PIXELS` is refused in no time."""
    evaluations = 1 + sum(step.evaluate for step in parsed.steps[: len(parsed.messages)])
    return parsed.header.pixels > MAX_PIXELS or evaluations * parsed.header.network_pixels <= MAX_WORK


def check_decoding(data: bytes, directory: Path) -> str:
    """By the command line: a picture, or one line that says why not."""
    from click.testing import CliRunner

    from ddpmcodec.cli import main

    source, output = directory / "input.ddpm", directory / "output.png"
    source.write_bytes(data)
    options = ["--quiet", "--max-pixels", str(MAX_PIXELS), "--device", "cpu", "--threads", "1"]
    result = CliRunner().invoke(main, ["decode", str(source), "-o", str(output), *options])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    written = [path for path in directory.rglob("*") if path.is_file() and path != source]
    if result.exit_code == 0:
        assert written and not result.stderr, f"decoded to {written}, saying {result.stderr!r}"
    else:
        assert result.exit_code in EXIT_CODES, result.exit_code
        assert not written, f"refused, and {written} left"
        assert len(result.stderr.splitlines()) == 1 and "Traceback" not in result.stderr, result.stderr
    return EXIT_CODES[result.exit_code]


def kinds_of_error(base: type[DdpmcodecError] = DdpmcodecError) -> Iterator[type[DdpmcodecError]]:
    for kind in base.__subclasses__():
        yield from (kind, *kinds_of_error(kind))


EXIT_CODES = {0: "pictures"} | {kind.exit_code: kind.__name__ for kind in kinds_of_error() if kind.exit_code > 1}


def counted(outcomes: Counter[str]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz what reads .ddpm files.")
    parser.add_argument("files", nargs="*", type=Path, help="try these instead, such as a failure left behind")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    total = len(options.files) or options.inputs

    def data_of(number: int) -> bytes:
        return options.files[number].read_bytes() if options.files else input_of(options.seed, number)

    begin = time.monotonic()
    outcomes, decoded = Counter[str](), Counter[str]()
    to_decode: list[int] = []
    accepted = 0
    # Of address space, not of what is resident: then it is the very allocation that is too much that fails, as a MemoryError.
    resource.setrlimit(resource.RLIMIT_AS, (IMPORTED + MAX_MEMORY, resource.RLIM_INFINITY))
    signal.signal(signal.SIGPROF, on_alarm)
    number, data = 0, b""
    try:
        for number in range(total):
            with limited_time():  # what makes them parses them
                data = data_of(number)
            outcome = check_reading(data, random.Random(number))
            if refused := isinstance(outcome, str):
                outcomes[outcome] += 1
            else:
                outcomes["accepted"] += 1
                accepted += affordable(outcome)
            chosen = number % DECODED == 0 if refused else affordable(outcome) and accepted % ACCEPTED_DECODED == 1
            if options.files or chosen:
                to_decode.append(number)
        beyond = memory("VmPeak") - IMPORTED
        assert "torch" not in sys.modules, "reading has imported torch"

        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
        os.environ["DDPMCODEC_MODELS"] = str(TESTS / "data")
        warnings.simplefilter("always")  # each is a line on stderr
        for number in to_decode:
            data = data_of(number)
            with tempfile.TemporaryDirectory() as directory:
                decoded[check_decoding(data, Path(directory))] += 1
    except BaseException as e:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
        if isinstance(e, KeyboardInterrupt):
            raise
        traceback.print_exc()
        path = Path(f"fuzz-{hashlib.sha256(data).hexdigest()[:16]}.ddpm")
        path.write_bytes(data)
        sys.exit(f"input {number} of seed {options.seed} fails, see {path}: {e!r}")
    print(
        f"{total} inputs: {counted(outcomes)}; at most {longest[0]:.2f} s of CPU time a call and {beyond / 1e6:.0f} MB beyond import;"
        f" {decoded.total()} decoded: {counted(decoded)}; {time.monotonic() - begin:.0f} s"
    )


SEEDS = seed_files()
BOMBS = bombs()

if __name__ == "__main__":
    main()
