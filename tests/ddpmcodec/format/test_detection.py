"""What damage is found, over whole files of every kind: every flipped bit, and every cut for what it is."""

import random
from dataclasses import replace

import numpy as np
import pytest

from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.errors import ForeignFileError, FormatError, TruncatedFileError
from ddpmcodec.format import container
from ddpmcodec.format.metadata import Metadata
from ddpmcodec.picture import Picture
from ddpmcodec.roi import Roi
from ddpmcodec.target import Bytes, Lossless, Rate

CUTS = 10_000
METADATA = Metadata(bytes(range(90)), b"Exif\0\0MM\0*\0\0\0\x08", b"<x:xmpmeta/>")


@pytest.fixture(scope="module")
def files(photo, model, discrete_model) -> dict[str, bytes]:
    gray = np.repeat(photo[..., :1], 3, 2)
    alpha = np.arange(16 * 20, dtype=np.uint8).reshape(16, 20)
    fast = EncodeOptions(evaluations=5, effort=1)
    made = {
        "RGB": encode_pixels(Picture(photo[:33, :40]), model, Rate(3), replace(fast, roi=Roi(((0, 0, 4, 4),)))),
        "checksums in the payload": encode_pixels(Picture(photo[40:64, :40]), model, Rate(20), replace(fast, tune="psnr")),
        "1 x 1": encode_pixels(Picture(photo[:1, :1]), model, Bytes(100), fast),
        "gray": encode_pixels(Picture(gray[:32, :32], gray=True), model, Rate(3), fast),
        "lossless": encode_pixels(Picture(photo[:9, :12]), model, Lossless(), fast),
        "alpha": encode_pixels(Picture(photo[:16, :20], alpha=alpha), model, Bytes(400), fast),
        "metadata": encode_pixels(Picture(photo[:16, :20], metadata=METADATA), model, Bytes(500), fast),
        "all of them": encode_pixels(Picture(gray[:16, :20], gray=True, alpha=alpha, metadata=METADATA), model, Lossless(), fast),
        "pictures": encode_pixels(Picture(photo[:48, :20], count=3), model, Rate(4), fast),
        "discrete levels": encode_pixels(Picture(photo[:16, :20]), discrete_model, Bytes(500), fast),
    }
    return {name: encoding.data for name, encoding in made.items()}


def sections_of(data: bytes) -> dict[str, tuple[int, int, int]]:
    """(begin, begin of the body, end) by type: a second reader of sections."""
    found, at = {}, 10
    while at < len(data):
        begin, size, shift = at, 0, 0
        at += 1
        while True:
            size |= (data[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if data[at - 1] < 0x80:
                break
        found[chr(data[begin])] = begin, at, at + size + 4
        at += size + 4
    return found


def ends_of(data: bytes) -> list[int]:
    """Where each step ends in the file: path bits fill bytes, and 4 bytes of checksum follow each 1024 or more."""
    _, at, end = sections_of(data)["P"]
    ends, since = [], 0
    for step in container.parse(data).steps:
        at, since = at + (step.n + 7) // 8, since + (step.n + 7) // 8
        ends.append(at)
        if since >= 1024:
            at, since = at + 4, 0
    assert at + 4 == end
    return ends


def test_the_files_cover_what_files_can_have(files):
    parsed = [container.parse(data) for data in files.values()]
    assert {kind for data in files.values() for kind in sections_of(data)} == set("HiASTPLexE")
    assert {(each.header.gray, each.header.levels.kind) for each in parsed} >= {
        (False, "continuous"),
        (True, "continuous"),
        (False, "discrete"),
    }
    assert {each.shape and each.shape.cell for each in parsed if each.tail is None} == {None, 0, 32}  # white, shaped, with a map
    assert max(each.header.pictures for each in parsed) == 3 and all(each.complete for each in parsed)
    assert any(end - begin > 1100 for begin, _, end in (sections_of(data)["P"] for data in files.values()))


@pytest.mark.long
def test_every_flipped_bit_is_found(files):
    flips = 0
    for data in files.values():
        for bit in range(8 * len(data)):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(FormatError):
                container.parse(bytes(flipped))
            flips += 1
    print(f"{flips} of {flips} single-bit flips in {len(files)} files ({sum(map(len, files.values()))} bytes) are refused")


def test_cut_files_have_the_steps_that_are_whole(files):
    rng = random.Random(0)
    refused = 0
    layouts = {name: (data, container.parse(data), sections_of(data), ends_of(data)) for name, data in files.items()}
    for _ in range(CUTS):
        data, whole, sections, ends = layouts[rng.choice(list(layouts))]
        size = rng.randrange(len(data))
        table_end = sections["T"][2]
        if size < table_end:
            with pytest.raises(TruncatedFileError if size else ForeignFileError):
                container.parse(data[:size])
            refused += 1
            continue
        cut = container.parse(data[:size])
        count = sum(end <= size for end in ends)
        assert len(cut.messages) == count and cut.messages == whole.messages[:count] and cut.steps == whole.steps
        lossless = "L" in sections and size >= sections["L"][2]
        assert cut.tail == (whole.tail if lossless else None) and not cut.complete
    print(f"{CUTS} cuts: {refused} before the end of the step table, which are refused; all others have exactly the steps that are whole")
