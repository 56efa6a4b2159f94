"""Metadata that a picture carries beside its pixels: a colour profile, EXIF, XMP, each a section of the file, deflated."""

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property

from ddpmcodec.errors import CorruptFileError, LimitError
from ddpmcodec.format import tiff

ORIENTATION = 0x0112  # in EXIF
MAX_BYTES = 1 << 24  # of one kind, inflated: a profile has less than 4 MB, and JPEG's EXIF less than 64 kB


@dataclass(frozen=True)
class Metadata:
    """The metadata of a picture as Pillow has them in an image's `info`; b"" where there is none.

    Raises:
        LimitError: one has more than `MAX_BYTES` bytes.
    """

    icc_profile: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""

    def __post_init__(self):
        for name, content in vars(self).items():
            if len(content) > MAX_BYTES:
                raise LimitError(f"the picture's {name} has {len(content)} bytes, the limit is {MAX_BYTES}")

    @property
    def info(self) -> dict[str, bytes]:
        """The metadata that there are, by name. EXIF says that the picture is upright, as a decoded one is."""
        found = {name: content for name in NAMES if (content := getattr(self, name))}
        return found | {"exif": upright(self.exif)} if self.exif else found

    @cached_property
    def bodies(self) -> tuple[bytes | None, ...]:
        """The bodies of their sections. Those of a file are kept: content made to be slow would take minutes to deflate again."""
        return tuple(pack(content) if (content := getattr(self, name)) else None for name in NAMES)

    @classmethod
    def from_bodies(cls, bodies: Iterable[bytes | None]) -> "Metadata":
        """Return the metadata in the bodies of sections, in the order of `KINDS`; None where there is no section.

        Raises:
            CorruptFileError: as `unpack`.
        """
        known = tuple(bodies)
        metadata = cls(*(b"" if body is None else unpack(body) for body in known))
        metadata.__dict__["bodies"] = known
        return metadata


NONE = Metadata()
NAMES = tuple(field.name for field in fields(Metadata))
KINDS = "iex"  # the type of the section of each


def upright(exif: bytes) -> bytes:
    """Return EXIF with its orientation, where it has one, set to 1, so that no viewer turns a picture again that has been turned."""
    changed = bytearray(exif)
    for entry in tiff.entries(exif):
        if entry.tag == ORIENTATION and entry.at + 12 <= len(exif):  # EXIF that ends before it should stays as it is
            struct.pack_into(f"{tiff.order(exif, tiff.start(exif))}HIHH", changed, entry.at + 2, 3, 1, 1, 0)  # one SHORT
    return bytes(changed)


def pack(content: bytes) -> bytes:
    """Return the body of a section with this content."""
    return zlib.compress(content, 9)


def unpack(body: bytes) -> bytes:
    """Return the content of a section's body.

    Raises:
        CorruptFileError: the body is no zlib stream, or one of nothing or more than `MAX_BYTES`.
    """
    inflate = zlib.decompressobj()
    try:
        content = inflate.decompress(body, MAX_BYTES)
    except zlib.error as e:
        raise CorruptFileError(f"metadata cannot be inflated: {e}") from e
    if not inflate.eof or inflate.unused_data or not content:
        raise CorruptFileError("metadata are empty, cut off, or longer than the limit")
    return content
