"""The conformance set: files that every decoder of the format has to read, or to refuse. python -P tests/make_conformance.py

Adds to tests/conformance/VERSION what is named here and not there yet; what is there never changes, as the format's version does not.
manifest.json has for each file what it is about, its SHA-256, and

    error      the error that reading it must end in; or
    steps      how many of its steps are whole,
    integers   SHA-256 of what its payload stands for: for each whole step the +-1 word, then the rotation signs, as bytes,
    exact      whether its picture is the one encoded, to the last bit,
    info       SHA-256 of each piece of metadata,

and the picture is NAME.png, of several one above the other: to be met within 1 of 255, or exactly.
"""

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image, ImageCms

from ddpmcodec import api, target
from ddpmcodec.channel import codeword, randomness
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.errors import (
    CorruptFileError,
    DdpmcodecError,
    DriftError,
    ForeignFileError,
    ModelError,
    TruncatedFileError,
    UnsupportedVersionError,
)
from ddpmcodec.format import alpha as alpha_section
from ddpmcodec.format import container, steptable
from ddpmcodec.format import shape as shapes
from ddpmcodec.format.container import END, VERSION, Container
from ddpmcodec.format.metadata import Metadata
from ddpmcodec.format.sections import crc, section, varint, zigzag
from ddpmcodec.format.shape import Shape
from ddpmcodec.format.steptable import Step
from ddpmcodec.models import checkpoint, registry, whitening
from ddpmcodec.picture import Picture
from ddpmcodec.roi import Roi

TESTS = Path(__file__).parent
SET = TESTS / "conformance" / str(VERSION)


def integers(parsed: Container) -> str:
    """SHA-256 of the words and the rotation signs of a file's whole steps."""
    digest = hashlib.sha256()
    header = parsed.header
    D = header.dimensions
    shared = randomness.SharedRandomness(header.seed, VERSION)
    for i, (step, message) in enumerate(zip(parsed.steps, parsed.messages, strict=False)):
        bits = np.unpackbits(np.frombuffer(message, np.uint8), count=step.n)
        used = codeword.polynomial_count(step.n, step.nu, D)
        middle = shared.permutation(used, 1 << (step.nu - 1), randomness.STREAM_POLYNOMIALS, i)
        signs = shared.signs(D, randomness.STREAM_CODE, i)
        word = codeword.word(bits, step.nu, codeword.share_starts(step.n, D), codeword.polynomials(middle, step.nu), signs)
        digest.update(word.astype(np.int8).tobytes() + shared.signs(D, randomness.STREAM_ROTATION, i).tobytes())
    return digest.hexdigest()


def drawing(width: int, height: int) -> np.ndarray:
    """Gradients, an edge and a disc."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 // width, y * 255 // height, (x + y) % 16 * 8 + 60], 2).astype(np.uint8)
    pixels[(x - width // 2) ** 2 + (y - height // 2) ** 2 < height**2 // 9] = (240, 200, 30)
    pixels[2 * height // 3 :, : width // 4] //= 3
    return pixels


def photo(width: int, height: int, left: int = 430, top: int = 230) -> np.ndarray:
    with Image.open(TESTS / "data" / "raccoon-1021x683.jpg") as image:
        return np.asarray(image.convert("RGB").crop((left, top, left + width, top + height)))


def grayed(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels.mean(2, keepdims=True).astype(np.uint8), 3, 2)


def disc(height: int, width: int) -> np.ndarray:
    """An alpha channel: opaque, a soft edge, and nothing outside."""
    y, x = np.mgrid[:height, :width]
    return np.clip(255 * (1.2 - np.hypot(x / width - 0.5, y / height - 0.5) * 3), 0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, name: str = "test-model", effort: int = 1, evaluations: int = 4, **options) -> bytes:
    model = registry.find(name) if name != "test-model" else checkpoint.load(TESTS / "data" / "test-model.safetensors")
    kinds, others = {"gray", "alpha", "metadata", "count"}, {"seed", "roi", "tune"}
    source = Picture(pixels, **{k: v for k, v in options.items() if k in kinds})
    asked = {k: v for k, v in options.items() if k not in kinds | others}
    chosen = {"tune": "psnr"} | {k: v for k, v in options.items() if k in others}  # white, where nothing else is said
    return encode_pixels(source, model, target.choose(**asked), EncodeOptions(evaluations, effort, **chosen, precision="fp32")).data


def shaped(pixels: np.ndarray, *arguments, shape: Shape | None = None, **options) -> bytes:
    """With shaped noise: of a given shape, or as the encoder shapes it."""
    if shape is None:
        return encoded(pixels, *arguments, **{"tune": "perception"} | options)
    with mock.patch("ddpmcodec.encoder.shape_for", lambda *_: shape):
        return encoded(pixels, *arguments, **options)


OWN = Shape(((-20, -8, 0, 10, 30, 40), (5, 10, 20, 30, 40, 50), (-5, 0, 11, 17, 23, 29)), (-500, 2100), quarter=-1200, half=-200)
FIRST = Shape(whitening.TABLES[1], gains=whitening.GAINS_OF[1])
DEFAULT = replace(FIRST, quarter=-768, half=179)
# Gains that rise and fall with frequency and with the level, in luma and in chroma differently; the wild ones would cost too many bits
# where steps are coded by their predictions.
GAINS: whitening.Gains = (
    tuple(tuple(64 - column * ((3 * row + 5 * column) % 11) for column in range(7)) for row in range(7)),
    tuple(tuple(64 - (5 * row + 3 * column) % 7 - column * ((4 * row + column) % 7) for column in range(7)) for row in range(7)),
)
WILD: whitening.Gains = (
    tuple(tuple((64 + 29 * row - 41 * column + 5 * row * column) % 65 for column in range(7)) for row in range(7)),
    tuple(tuple((30 + 17 * row + 23 * column + 3 * column * column) % 65 for column in range(7)) for row in range(7)),
)


def mapped(shape: Shape, cell: int, *cells: int) -> Shape:
    return replace(shape, cell=cell, cells=bytes(cells))


def valid_shaped() -> dict[str, tuple[str, Callable[[], bytes]]]:
    """The same of those with shaped noise."""
    sizes = [(1, 1), (1, 37), (2, 2), (23, 17), (61, 45)]
    colours = Metadata(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    all_of_it = Metadata(colours.icc_profile, b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0", b"<x:xmpmeta/>")
    folds = shaped(photo(70, 33), levels=[-2600, -1400, -768, -300, 0, 900, 1700], evaluations=8)
    long = shaped(photo(60, 40), bpp=5, effort=2, seed=3)
    parsed = container.parse(long)
    P = parsed.sections[3].offset
    alpha = shaped(photo(26, 20), bpp=9, alpha=disc(20, 26))
    _, _, S, T, *_ = (s.offset for s in container.parse(alpha).sections)
    turned = container.parse(shaped(photo(50, 40), shape=mapped(DEFAULT, 32, 0, 12, 9, 3), bpp=3))
    fine, steep = [-1000, 500, 1368, 2500, 3580, 3900], Shape(((128, -128, 64, 0, -64, 128),) * 3, (-4096, 4096), quarter=-768, half=179)
    # levels of gains: below their rows, between them, on one, and above; the first two with fewer pixels
    levels = [-3000, -1600, -650, -300, 512, 1300, 1900, 2800]
    gained = {"levels": levels, "evaluations": 9}
    own_gains, no_gains, default_gains = (replace(FIRST, gains=gains, quarter=-1500, half=-700) for gains in (GAINS, None, FIRST.gains))
    second = Shape(whitening.TABLES[2], gains=whitening.GAINS_OF[2], quarter=-1500, half=-700)
    third = replace(second, gains=whitening.GAINS_OF[3])

    def wild(half: int, last: int) -> bytes:
        """Only at the last level the network sees all of the resolution."""
        levels = [level for level in (-2000, -1000, 0, 1000, 2000) if level < half] + [half, last]
        shape = replace(FIRST, gains=WILD, quarter=-1500, half=half)
        return shaped(photo(45, 38), shape=shape, levels=levels, evaluations=len(levels) + 1)

    everything = {"gray": True, "alpha": disc(60, 40), "metadata": all_of_it, "count": 2, "max_bytes": 2600}
    q = section("q", b"what is this")
    return {
        f"shaped-{w}x{h}": ("shaped noise", lambda w=w, h=h: shaped(photo(w, h), max_bytes=200 + w * h // 4, seed=w)) for w, h in sizes
    } | {
        "shaped-70x33": ("shaped noise, seen at a quarter, a half and all of the resolution", lambda: folds),
        "shaped-tiles-1030x3": ("shaped noise, edge of a tile", lambda: shaped(drawing(1030, 3), levels=[-100, 600, 1200])),
        "shaped-fine": ("shaped noise, up to the ramp's end and beyond", lambda: shaped(photo(17, 14), levels=fine, evaluations=7)),
        "shaped-gray": ("shaped noise, gray", lambda: shaped(grayed(photo(40, 30)), bpp=4, gray=True)),
        "shaped-alpha": ("shaped noise, alpha", lambda: alpha),
        "shaped-icc": ("shaped noise, colour profile", lambda: shaped(photo(24, 18), max_bytes=900, metadata=colours)),
        "shaped-several": ("shaped noise, 3 pictures", lambda: shaped(photo(20, 45), bpp=5, count=3)),
        "shaped-own": ("shaped noise, table and ramp of its own", lambda: shaped(photo(37, 29), shape=OWN, bpp=5, seed=9)),
        "shaped-own-steep": ("shaped noise, the table's largest entries", lambda: shaped(photo(16, 11), shape=steep, bpp=9)),
        "shaped-gains": ("shaped noise, gains of all levels", lambda: shaped(photo(41, 34), shape=default_gains, **gained)),
        "shaped-2-61x45": ("shaped noise, table and gains 2", lambda: shaped(photo(61, 45), shape=second, bpp=4, seed=11)),
        "shaped-2-gains": ("shaped noise, table and gains 2, of all levels", lambda: shaped(photo(41, 34), shape=second, **gained)),
        "shaped-2-gray": ("shaped noise, table and gains 2, gray", lambda: shaped(grayed(photo(40, 30)), shape=second, bpp=4, gray=True)),
        "shaped-2-gains-1": (
            "shaped noise, table 2 with gains 1",
            lambda: shaped(photo(23, 19), shape=replace(second, gains=FIRST.gains), bpp=6),
        ),
        "shaped-2-map": (
            "shaped noise, table and gains 2, a map",
            lambda: shaped(photo(50, 40), shape=mapped(second, 32, 0, 12, 9, 3), bpp=3),
        ),
        "shaped-3-61x45": ("shaped noise, table 2 with gains 3", lambda: shaped(photo(61, 45), shape=third, bpp=4, seed=12)),
        "shaped-3-gains": ("shaped noise, table 2 with gains 3, of all levels", lambda: shaped(photo(41, 34), shape=third, **gained)),
        "shaped-3-gray": ("shaped noise, table 2 with gains 3, gray", lambda: shaped(grayed(photo(40, 30)), shape=third, bpp=4, gray=True)),
        "shaped-gains-none": ("shaped noise without gains", lambda: shaped(photo(41, 34), shape=no_gains, **gained)),
        "shaped-gains-own": ("shaped noise, gains of its own", lambda: shaped(photo(41, 34), shape=own_gains, **gained)),
        "shaped-gains-own-gray": (
            "gains and a table of its own, a map, gray",
            lambda: shaped(grayed(photo(50, 30)), shape=replace(mapped(OWN, 32, 3, 8), gains=GAINS), gray=True, **gained),
        ),
        "shaped-gains-below": ("wild gains of a last level below those of the table", lambda: wild(-650, -600)),
        "shaped-gains-between": ("wild gains of a last level between those of the table", lambda: wild(500, 650)),
        "shaped-gains-at": ("wild gains of a last level of the table", lambda: wild(900, 1024)),
        "shaped-gains-above": ("wild gains of a last level above those of the table", lambda: wild(2650, 2700)),
        "shaped-gains-discrete": (
            "gains of its own, a model of the paper's kind",
            lambda: shaped(photo(32, 28), "tiny", shape=replace(FIRST, gains=GAINS), bpp=4),
        ),
        "shaped-map-32": (
            "shaped noise with a map of 3 x 2 cells",
            lambda: shaped(photo(70, 45), shape=mapped(DEFAULT, 32, 4, 0, 5, 24, 1, 0), bpp=3),
        ),
        "shaped-map-64": (
            "shaped noise with a map of cells that pictures share",
            lambda: shaped(photo(66, 60), shape=mapped(DEFAULT, 64, 0, 8), bpp=3, count=2),
        ),
        "shaped-map-128": ("a map of one value", lambda: shaped(photo(20, 30), shape=mapped(DEFAULT, 128, 6), bpp=6)),
        "shaped-map-white": (
            "a map on a table of zeros",
            lambda: encoded(photo(100, 70), bpp=1.5, roi=Roi(((40, 20, 20, 20),), gain=12)),
        ),
        "shaped-map-own": (
            "a map on a table of its own, gray",
            lambda: shaped(grayed(photo(50, 30)), shape=mapped(OWN, 32, 0, 10), bpp=4, gray=True),
        ),
        "shaped-kept": ("shaped noise, steps that keep x0hat", lambda: shaped(photo(33, 21), levels=[0, 1200, 2400])),
        "shaped-no-bits": ("shaped noise, steps of no path bits", lambda: shaped(photo(18, 14), levels=[-3733, -1500, 300, 301])),
        "shaped-no-steps": ("shaped noise, the empty chain", lambda: container.serialize(turned.first(0))),
        "shaped-turned": (
            "shaped noise with a map, turned",
            lambda: container.serialize(replace(turned, header=replace(turned.header, orientation=6))),
        ),
        "shaped-everything": (
            "all that a file of shaped noise can have",
            lambda: shaped(grayed(photo(40, 60)), shape=mapped(OWN, 32, 2, 9), **everything),
        ),
        "shaped-ancillary": (
            "unknown ancillary sections before and behind the shape of the noise",
            lambda: alpha[:S] + q + alpha[S:T] + q + alpha[T:],
        ),
        "shaped-cut-table": ("shaped noise, cut behind the step table", lambda: long[:P]),
        "shaped-cut-step": ("shaped noise, cut within the payload", lambda: long[: parsed.ends[2] - 3]),
        "shaped-cut-end": ("shaped noise without the end mark", lambda: folds[: -len(END)]),
        "shaped-discrete": ("shaped noise, a model of the paper's kind", lambda: shaped(photo(32, 28), "tiny", bpp=4)),
        "shaped-photo-2": ("shaped noise, photo-2", lambda: shaped(photo(64, 48), "photo-2", bpp=2, evaluations=8)),
        "shaped-photo-3": ("shaped noise, photo-3", lambda: shaped(photo(64, 48), "photo-3", bpp=2, evaluations=8)),
    }


def valid() -> dict[str, tuple[str, Callable[[], bytes]]]:
    """Name, what it is about, and how it is made, of each file that decodes."""
    noise = np.random.default_rng(1).integers(0, 256, (12, 13, 3), np.uint8)
    sizes = [(1, 1), (1, 37), (37, 1), (2, 2), (3, 5), (16, 16), (17, 15), (61, 45), (64, 64), (98, 91)]
    edges = [(1023, 4), (1024, 4), (1025, 4), (2050, 3), (3, 1025), (2, 2049)]
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    extras = Metadata(profile, b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0", b"<x:xmpmeta/>")
    lossless = encoded(drawing(23, 31), lossless=True, seed=2)
    long = encoded(photo(97, 64), bpp=5, effort=5, evaluations=6, seed=2**62 + 5)
    turned = container.parse(encoded(photo(31, 20), bpp=4))
    parsed = container.parse(long)
    table = parsed.sections[1].offset
    unknown = long[:table] + section("q", b"what is this") + long[table : -len(END)] + section("z", b"") + END

    def edge(w: int, h: int) -> np.ndarray:
        return photo(w, h, 0, 0) if max(w, h) < 684 else drawing(w, h)

    return (
        {f"size-{w}x{h}": ("size", lambda w=w, h=h: encoded(photo(w, h), max_bytes=200 + w * h // 6, seed=w)) for w, h in sizes}
        | {f"tiles-{w}x{h}": ("edge of a tile", lambda w=w, h=h: encoded(edge(w, h), bpp=1.5)) for w, h in edges}
        | {f"effort-{e}": ("memory of the code", lambda e=e: encoded(photo(48, 40), bpp=4, effort=e, seed=e)) for e in range(1, 6)}
        | {
            "gray": ("gray", lambda: encoded(grayed(photo(40, 30)), bpp=3, gray=True)),
            "gray-1x1": ("gray", lambda: encoded(grayed(photo(1, 1)), max_bytes=90, gray=True)),
            "gray-lossless": ("gray, lossless", lambda: encoded(grayed(photo(20, 19)), lossless=True, gray=True)),
            "gray-several": ("gray, 5 pictures", lambda: encoded(grayed(photo(9, 35)), bpp=8, gray=True, count=5)),
            "alpha": ("alpha", lambda: encoded(photo(40, 30), bpp=6, alpha=disc(30, 40))),
            "alpha-gray": ("gray, alpha", lambda: encoded(grayed(photo(21, 30)), bpp=8, gray=True, alpha=disc(30, 21))),
            "alpha-lossless": ("alpha, lossless", lambda: encoded(photo(20, 15), lossless=True, alpha=disc(15, 20))),
            "several": ("3 pictures", lambda: encoded(photo(20, 45), bpp=5, count=3)),
            "several-lossless": ("2 pictures, lossless", lambda: encoded(photo(11, 24), lossless=True, count=2)),
            "lossless": ("lossless", lambda: lossless),
            "lossless-1x1": ("lossless", lambda: encoded(photo(1, 1), lossless=True)),
            "lossless-noise": ("lossless, escapes in the tail", lambda: encoded(noise, lossless=True)),
            "metadata": ("colour profile, EXIF, XMP", lambda: encoded(photo(24, 18), max_bytes=900, metadata=extras)),
            "orientation-6": ("turned", lambda: container.serialize(replace(turned, header=replace(turned.header, orientation=6)))),
            "no-steps": ("the empty chain", lambda: container.serialize(turned.first(0))),
            "no-bits": ("steps of no path bits", lambda: encoded(photo(18, 14), levels=[-3733, -3000, -1500, 300, 301])),
            "kept": ("steps that keep x0hat", lambda: encoded(photo(33, 21), levels=[0, 1200, 2000])),
            "long": ("blocks, checksums within the payload, a large seed", lambda: long),
            "ancillary": ("unknown ancillary sections", lambda: unknown),
            "cut-table": ("cut behind the step table", lambda: long[: parsed.sections[2].offset]),
            "cut-step": ("cut within a step", lambda: long[: parsed.ends[3] - 1]),
            "cut-whole-step": ("cut behind a step", lambda: long[: parsed.ends[3]]),
            "cut-checksum": ("cut within a checksum of the payload", lambda: long[: parsed.ends[4] + 2]),
            "cut-end": ("without the end mark", lambda: long[: -len(END)]),
            "cut-tail": ("cut within the tail", lambda: lossless[:-50]),
            "cut-tail-end": ("lossless without the end mark", lambda: lossless[: -len(END)]),
            "discrete": ("timesteps of a schedule, a model of the paper's kind", lambda: encoded(photo(32, 28), "tiny", bpp=4)),
            "discrete-lossless": ("the same, lossless", lambda: encoded(photo(17, 12), "tiny", lossless=True, evaluations=8)),
            "photo-2": ("photo-2", lambda: encoded(photo(64, 48), "photo-2", bpp=2, evaluations=8)),
            "photo-2-gray": ("photo-2, gray", lambda: encoded(grayed(photo(48, 31)), "photo-2", bpp=2, gray=True)),
            "photo-2-lossless": ("photo-2, lossless", lambda: encoded(photo(20, 16), "photo-2", lossless=True)),
            "photo-3": ("photo-3", lambda: encoded(photo(64, 48), "photo-3", bpp=2, evaluations=8)),
            "photo-3-gray": ("photo-3, gray", lambda: encoded(grayed(photo(48, 31)), "photo-3", bpp=2, gray=True)),
            "photo-3-lossless": ("photo-3, lossless", lambda: encoded(photo(20, 16), "photo-3", lossless=True)),
        }
        | valid_shaped()
    )


def malformed_shaped() -> dict[str, tuple[str, type[DdpmcodecError], Callable[[], bytes]]]:
    """Name, what is wrong, the error, and the bytes, of each file whose shape of the noise must be refused."""
    good = shaped(photo(40, 33), shape=mapped(DEFAULT, 32, 0, 12, 9, 3), bpp=5, alpha=disc(33, 40), seed=5)
    lossless = encoded(photo(9, 7), lossless=True)
    discrete = encoded(photo(12, 9), "tiny", bpp=8)
    parsed = container.parse(good)
    H, A, S, T, P, E = (good[s.offset : s.offset + s.size] for s in parsed.sections)
    signature = good[: parsed.sections[0].offset]

    def signed(*values: int) -> bytes:
        return b"".join(varint(zigzag(value)) for value in values)

    def body(
        table: int = 1, own: bytes = b"", gains: bytes = b"\1", folds: tuple[int, int] = (-768, 179), cell: int = 0, words: bytes = b""
    ) -> bytes:
        return varint(table) + own + gains + signed(*folds) + varint(cell) + words

    def gained(gains: whitening.Gains = GAINS, place: int | None = None, gain: bytes = b"") -> bytes:
        """Gains of its own; at a place it is other bytes."""
        fields = [varint(value) for table in gains for row in table for value in row]
        if place is not None:
            fields[place] = gain
        return body(gains=varint(255) + b"".join(fields))

    def own(ramp: tuple[int, int] = (1000, 2600), number: int = 1, **changes: int) -> bytes:
        """A table and ramp of its own; `place` of its entries is `entry`."""
        entries = [entry for row in whitening.TABLES[number] for entry in row]
        if changes:
            entries[changes["place"]] = changes["entry"]
        return body(255, signed(*ramp, *entries))

    def of(*sections: bytes) -> bytes:
        return signature + b"".join(sections)

    def with_body(content: bytes) -> bytes:
        return of(H, A, section("S", content), T, P, E)

    def before_table(data: bytes, content: bytes) -> bytes:
        at = next(s.offset for s in container.parse(data).sections if s.type == "T")
        return data[:at] + section("S", content) + data[at:]

    large = replace(parsed, header=replace(parsed.header, width=65, height=699041), alpha=None, shape=None, steps=(), messages=())
    assert parsed.shape is not None
    whole = shapes.encode(parsed.shape, parsed.header)
    words = whole[len(body()) :]
    assert body(cell=32, words=words) == whole and len(words) == 4 * (len(words) // 4) > 0 and with_body(whole) == good
    container.parse(with_body(own()))
    container.parse(with_body(gained()))
    container.parse(with_body(gained(place=97, gain=b"\x40")))
    flipped = S[:3] + bytes([S[3] ^ 1]) + S[4:]
    return {
        f"bad-shape-{name}": entry
        for name, entry in {
            "checksum": ("a bit of the shape of the noise", CorruptFileError, lambda: of(H, A, flipped, T, P, E)),
            "cut": ("cut within the shape of the noise", TruncatedFileError, lambda: of(H, A, S[:-5])),
            "short": ("a shape shorter than its fields", CorruptFileError, lambda: with_body(body()[:-1])),
            "short-own": ("a table of its own that lacks its last entries", CorruptFileError, lambda: with_body(own()[:23])),
            "empty": ("a shape without fields", CorruptFileError, lambda: with_body(b"")),
            "long": ("a byte behind the fields", CorruptFileError, lambda: with_body(body() + b"\0")),
            "form": ("an integer not in its shortest form", CorruptFileError, lambda: with_body(b"\x81\0" + body()[1:])),
            "twice": ("two shapes of the noise", CorruptFileError, lambda: of(H, A, S, S, T, P, E)),
            "place": ("a shape before alpha", CorruptFileError, lambda: of(H, S, A, T, P, E)),
            "place-icc": (
                "a shape before the colour profile",
                CorruptFileError,
                lambda: of(H, A, S, section("i", zlib.compress(b"a")), T, P, E),
            ),
            "behind-table": ("a shape behind the step table", CorruptFileError, lambda: of(H, A, T, S, P, E)),
            "behind-payload": ("a shape behind the payload", CorruptFileError, lambda: of(H, A, T, P, S, E)),
            "lossless": ("a shape in a lossless file", CorruptFileError, lambda: before_table(lossless, body())),
            "table": ("an unknown table", UnsupportedVersionError, lambda: with_body(body(253))),
            "default": ("table 1 as one of its own", CorruptFileError, lambda: with_body(own(whitening.RAMP))),
            "default-2": ("table 2 as one of its own", CorruptFileError, lambda: with_body(own(whitening.RAMP, 2))),
            "rises": ("noise that rises in one coefficient", CorruptFileError, lambda: with_body(own(place=10, entry=-101))),
            "flat": ("noise that stays in one coefficient", CorruptFileError, lambda: with_body(own(place=3, entry=-100))),
            "entry": ("an entry of 129", CorruptFileError, lambda: with_body(own(place=17, entry=129))),
            "ramp": ("a ramp that is a jump", CorruptFileError, lambda: with_body(own((1000, 1000)))),
            "ramp-high": ("a ramp beyond the highest level", CorruptFileError, lambda: with_body(own((1000, 8193)))),
            "gains": ("unknown gains", UnsupportedVersionError, lambda: with_body(body(gains=varint(127)))),
            "gains-254": ("unknown gains, of a number of two bytes", UnsupportedVersionError, lambda: with_body(body(gains=varint(254)))),
            "gains-luma": ("a gain of 65", CorruptFileError, lambda: with_body(gained(place=0, gain=b"\x41"))),
            "gains-chroma": ("a gain of 65, the last", CorruptFileError, lambda: with_body(gained(place=97, gain=b"\x41"))),
            "gains-large": ("a gain of 2^40", CorruptFileError, lambda: with_body(gained(place=50, gain=varint(1 << 40)))),
            "gains-default": ("gains 1 as ones of its own", CorruptFileError, lambda: with_body(gained(whitening.GAINS_OF[1]))),
            "gains-default-2": ("gains 2 as ones of its own", CorruptFileError, lambda: with_body(gained(whitening.GAINS_OF[2]))),
            "gains-default-3": ("gains 3 as ones of its own", CorruptFileError, lambda: with_body(gained(whitening.GAINS_OF[3]))),
            "gains-form": ("a gain not in its shortest form", CorruptFileError, lambda: with_body(gained(place=3, gain=b"\x85\0"))),
            "gains-short": ("gains of its own that lack their last ones", CorruptFileError, lambda: with_body(gained()[:90])),
            "gains-lack": ("a shape that ends before its gains", CorruptFileError, lambda: with_body(b"\1")),
            "folds": ("a quarter of the resolution longer than half of it", CorruptFileError, lambda: with_body(body(folds=(180, 179)))),
            "folds-high": ("half of the resolution up to level 4097", CorruptFileError, lambda: with_body(body(folds=(-768, 4097)))),
            "discrete": ("a part of the resolution with discrete levels", CorruptFileError, lambda: before_table(discrete, body())),
            "cell": ("cells of 48 pixels", CorruptFileError, lambda: with_body(body(cell=48, words=words))),
            "cells": ("more than 65536 cells", CorruptFileError, lambda: before_table(container.serialize(large), body(cell=32))),
            "map-short": ("a map without its words", CorruptFileError, lambda: with_body(body(cell=32))),
            "map-bytes": ("a map of half a word", CorruptFileError, lambda: with_body(whole[:-2])),
            "map-words": ("a map with a word too much", CorruptFileError, lambda: with_body(whole + bytes(4))),
            "map-value": ("a map of words that are no values", CorruptFileError, lambda: with_body(body(cell=32, words=b"\xff" * 8))),
            "map-none": ("a map's words without cells", CorruptFileError, lambda: with_body(body(words=words))),
        }.items()
    }


def malformed() -> dict[str, tuple[str, type[DdpmcodecError], Callable[[], bytes]]]:
    """Name, what is wrong, the error, and the bytes, of each file that must be refused."""
    good = encoded(photo(33, 29), bpp=8, seed=5)
    lossless = encoded(photo(9, 7), lossless=True)
    parsed, whole = container.parse(good), container.parse(lossless)
    H, T, P, E = ((s.offset, s.offset + s.size) for s in parsed.sections)
    first, *rest = parsed.steps
    tail = whole.tail
    assert tail is not None

    def flipped(at: int, data: bytes = good) -> bytes:
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    def before_table(sections: bytes) -> bytes:
        return good[: T[0]] + sections + good[T[0] :]

    def with_header(before: bytes, after: bytes) -> bytes:
        """One field of the header changed, its checksum right."""
        body = good[H[0] + 2 : H[1] - 4]
        assert body.count(before) == 1
        return good[: H[0]] + section("H", body.replace(before, after)) + good[H[1] :]

    def with_table(body: bytes) -> bytes:
        return good[: T[0]] + section("T", body) + good[T[1] :]

    def with_steps(*steps: Step) -> bytes:
        """A table that no encoder writes: `steptable.encode` checks its steps."""
        writer = steptable._Writer()
        check, steptable.validate = steptable.validate, lambda *args: None
        try:
            steptable._code(writer, parsed.header, steps)
        finally:
            steptable.validate = check
        return with_table(writer.body())

    def second(**changes) -> bytes:
        """The second step changed."""
        return with_steps(first, replace(rest[0], **changes), *rest[1:])

    def with_tail(body: bytes) -> bytes:
        return container.serialize(replace(whole, tail=body))

    long_length = b"H" + bytes([H[1] - H[0] - 6 | 128, 0]) + good[H[0] + 2 : H[1] - 4]
    sizes, start_and_seed = b"\x21\x1d\1\0\1", varint(7467) + b"\5"  # width, height, pictures, mode, orientation
    cosine = b"\1\2" + varint(1000) + struct.pack(">dd", 1e-4, 0.02) + varint(1000)
    tail_at = whole.sections[3].offset
    parted = lossless[:tail_at] + section("q", b"") + lossless[tail_at:]
    padded = tuple(m if step.n % 8 == 0 else m[:-1] + bytes([m[-1] | 1]) for step, m in zip(parsed.steps, parsed.messages, strict=True))
    table = good[T[0] + 2 : T[1] - 4]
    name = varint(10) + b"test-model"
    return {
        "bad-empty": ("no bytes", ForeignFileError, lambda: b""),
        "bad-foreign": ("a PNG's signature", ForeignFileError, lambda: b"\x89PNG\r\n\x1a\n" + good[9:]),
        "bad-version-0": ("a draft", UnsupportedVersionError, lambda: good[:9] + b"\0" + good[10:]),
        "bad-version-2": ("a version to come", UnsupportedVersionError, lambda: good[:9] + b"\2" + good[10:]),
        "bad-cut-signature": ("cut within the signature", TruncatedFileError, lambda: good[:5]),
        "bad-cut-header": ("cut within the header", TruncatedFileError, lambda: good[: H[1] - 9]),
        "bad-cut-table": ("cut within the step table", TruncatedFileError, lambda: good[: T[1] - 1]),
        "bad-header-checksum": ("a bit of the header", CorruptFileError, lambda: flipped(H[0] + 3)),
        "bad-table-checksum": ("a bit of the step table", CorruptFileError, lambda: flipped(T[0] + 4)),
        "bad-payload-checksum": ("a bit of the payload", CorruptFileError, lambda: flipped(P[0] + 20)),
        "bad-section-checksum": ("a bit of the payload's CRC", CorruptFileError, lambda: flipped(P[1] - 1)),
        "bad-end": ("an end mark that is not empty", CorruptFileError, lambda: good[: E[0]] + section("E", b"\0")),
        "bad-trailing": ("a byte behind the end mark", CorruptFileError, lambda: good + b"\0"),
        "bad-critical": ("an unknown critical section", UnsupportedVersionError, lambda: before_table(section("Q", b""))),
        "bad-type": ("a section of no type", CorruptFileError, lambda: before_table(section("3", b""))),
        "bad-twice": ("two colour profiles", CorruptFileError, lambda: before_table(section("i", zlib.compress(b"a")) * 2)),
        "bad-place": ("EXIF before the step table", CorruptFileError, lambda: before_table(section("e", zlib.compress(b"a")))),
        "bad-tail-place": ("a section between payload and tail", CorruptFileError, lambda: parted),
        "bad-sections": ("65 sections", CorruptFileError, lambda: before_table(section("q", b"") * 61)),
        "bad-length": (
            "a length not in its shortest form",
            CorruptFileError,
            lambda: good[: H[0]] + long_length + crc(long_length) + good[H[1] :],
        ),
        "bad-width": ("a width of 0", CorruptFileError, lambda: with_header(sizes, b"\0\x1d\1\0\1")),
        "bad-pictures": ("no pictures", CorruptFileError, lambda: with_header(sizes, b"\x21\x1d\0\0\1")),
        "bad-mode": ("mode 2", UnsupportedVersionError, lambda: with_header(sizes, b"\x21\x1d\1\2\1")),
        "bad-orientation": ("orientation 9", CorruptFileError, lambda: with_header(sizes, b"\x21\x1d\1\0\x09")),
        "bad-name": ("a model's name that is a path", CorruptFileError, lambda: with_header(name, varint(10) + b"../../weig")),
        "bad-model": ("a model that is not there", ModelError, lambda: with_header(parsed.header.model_hash, bytes(8))),
        "bad-seed": ("a seed of 2^63", CorruptFileError, lambda: with_header(start_and_seed, varint(7467) + b"\x80" * 9 + b"\1")),
        "bad-header-long": ("a header with a byte too much", CorruptFileError, lambda: with_header(start_and_seed, start_and_seed + b"\0")),
        "bad-schedule": ("an unknown schedule", CorruptFileError, lambda: with_header(b"\0" + varint(7467), cosine)),
        "bad-table-empty": ("a step table of no words", CorruptFileError, lambda: with_table(b"")),
        "bad-table-words": ("a step table with a word too much", CorruptFileError, lambda: with_table(table + bytes(4))),
        "bad-kept": ("a first step that keeps x0hat", CorruptFileError, lambda: with_steps(replace(first, evaluate=False), *rest)),
        "bad-bits": ("more than D / 2 path bits", CorruptFileError, lambda: second(n=parsed.header.dimensions // 2 + 2)),
        "bad-blocks": ("path bits that are no multiple of the blocks", CorruptFileError, lambda: second(n=2 * 2048 + 1)),
        "bad-level": ("a level above the highest", CorruptFileError, lambda: second(level=8193)),
        "bad-descent": ("a step towards more noise", CorruptFileError, lambda: with_steps(first, replace(rest[0], level=first.level))),
        "bad-payload-length": (
            "a payload longer than its steps",
            CorruptFileError,
            lambda: good[: P[0]] + section("P", bytes(P[1] - P[0])) + END,
        ),
        "bad-padding": ("padding bits that are not zero", CorruptFileError, lambda: container.serialize(replace(parsed, messages=padded))),
        "bad-tail-length": ("a tail of half a word", CorruptFileError, lambda: with_tail(tail[:-2])),
        "bad-tail-margin": ("a margin of 0", CorruptFileError, lambda: with_tail(tail[:4] + b"\0" + tail[5:])),
        "bad-tail-scale": ("a scale that there is not", CorruptFileError, lambda: with_tail(tail[:29] + bytes([44]) + tail[30:])),
        "bad-tail-picture": ("a tail of another picture's CRC", DriftError, lambda: with_tail(bytes([tail[0] ^ 1]) + tail[1:])),
        "bad-metadata": ("a colour profile that cannot be inflated", CorruptFileError, lambda: before_table(section("i", b"abc"))),
        "bad-alpha": (
            "alpha of another size",
            CorruptFileError,
            lambda: container.serialize(replace(parsed, alpha=alpha_section.pack(disc(28, 33)))),
        ),
    } | malformed_shaped()


def described(name: str, about: str, data: bytes) -> dict:
    """The manifest's entry of a file that decodes, and its picture."""
    parsed = container.parse(data)
    images = api.decode_pictures(data, reconstruct="mean", orientations=1)
    Image.fromarray(np.concatenate([np.asarray(image) for image in images])).save(SET / f"{name}.png", optimize=True)
    return {
        "about": about,
        "sha256": hashlib.sha256(data).hexdigest(),
        "steps": len(parsed.messages),
        "integers": integers(parsed),
        "exact": parsed.tail is not None,
        "info": {key: hashlib.sha256(content).hexdigest() for key, content in parsed.metadata.info.items()},
    }


def main() -> None:
    os.environ["DDPMCODEC_MODELS"] = str(TESTS / "data")
    SET.mkdir(parents=True, exist_ok=True)
    path = SET / "manifest.json"
    manifest = json.loads(path.read_text()) if path.exists() else {}
    for name, (about, make) in valid().items():
        if name not in manifest:
            data = make()
            (SET / f"{name}.ddpm").write_bytes(data)
            manifest[name] = described(name, about, data)
            print(name, len(data), "bytes,", manifest[name]["steps"], "steps")
    for name, (about, error, make) in malformed().items():
        if name not in manifest:
            data = make()
            (SET / f"{name}.ddpm").write_bytes(data)
            try:
                api.decode_pictures(data)
                raise SystemExit(f"{name} is not refused")
            except error as e:
                print(name, len(data), "bytes:", e)
            manifest[name] = {"about": about, "sha256": hashlib.sha256(data).hexdigest(), "error": error.__name__}
    path.write_text(json.dumps(dict(sorted(manifest.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()
