"""EXIF on its way out: the orientation is 1 and all else as it was, by Pillow's reading of it."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ddpmcodec.format.metadata import Metadata, upright

ORIENTATION, MAKE, COMMENT = 0x0112, 0x010F, 0x9286


def tags(data):
    exif = Image.Exif()
    exif.load(data)
    return dict(exif)


def exif_of(order, entries, before=b"Exif\0\0", gap=0):
    """One directory of (tag, type, count, 4 bytes), `gap` bytes behind the header."""
    mark = b"MM" if order == ">" else b"II"
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(struct.pack(f"{order}HHI", *entry[:3]) + entry[3] for entry in entries)
    return before + mark + struct.pack(f"{order}HI", 42, 8 + gap) + bytes(gap) + directory + bytes(4)


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("before", [b"Exif\0\0", b""])
@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_orientation_becomes_1_and_nothing_else_changes(order, before, kind, place):
    value = struct.pack(f"{order}HH", 6, 0) if kind == 3 else struct.pack(f"{order}I", 6)
    entries = [(MAKE, 2, 4, b"abc\0"), (COMMENT, 7, 4, b"\x12\x01\x12\x01")]
    entries.insert(place, (ORIENTATION, kind, 1, value))
    data = exif_of(order, entries, before, gap=10)
    assert tags(data)[ORIENTATION] == 6
    changed = upright(data)
    assert tags(changed) == tags(data) | {ORIENTATION: 1}
    upright_one = struct.pack(f"{order}HHIHH", ORIENTATION, 3, 1, 1, 0)
    assert changed.count(upright_one) == 1 and len(changed) == len(data)
    at = changed.index(upright_one)
    assert changed[:at] == data[:at] and changed[at + 12 :] == data[at + 12 :]


@pytest.mark.parametrize("order", [">", "<"])
def test_without_an_orientation_nothing_changes(order):
    data = exif_of(order, [(MAKE, 2, 4, b"abc\0"), (COMMENT, 7, 4, b"\x01\x12\x12\x01")])
    assert upright(data) == data


@given(st.binary(max_size=60), st.integers(0, 70))
def test_what_is_no_exif_stays(data, cut):
    assert upright(data) == data or data.startswith((b"MM", b"II", b"Exif\0\0"))
    whole = exif_of(">", [(MAKE, 2, 4, b"abc\0"), (ORIENTATION, 3, 1, b"\0\6\0\0")])
    assert len(upright(whole[:cut])) == len(whole[:cut])


def test_what_a_picture_is_given():
    """Only what there is, and EXIF upright."""
    data = exif_of("<", [(ORIENTATION, 3, 1, b"\6\0\0\0")])
    assert Metadata().info == {} and Metadata(xmp=b"x", icc_profile=b"p").info == {"xmp": b"x", "icc_profile": b"p"}
    assert Metadata(exif=data, xmp=b"x").info == {"exif": upright(data), "xmp": b"x"} and upright(data) != data
