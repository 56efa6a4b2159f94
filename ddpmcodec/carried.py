"""What an image carries beside its pixels, wherever its format keeps it: colour profile, EXIF, XMP; and notes of what is left behind."""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from PIL import ExifTags, Image, TiffTags

from ddpmcodec import colour
from ddpmcodec import exif as exifs
from ddpmcodec.errors import printable
from ddpmcodec.format.metadata import Metadata, upright
from ddpmcodec.format.tiff import PREFIX
from ddpmcodec.headers import Header
from ddpmcodec.progress import Note

XMP_KEYWORD = "XML:com.adobe.xmp"  # of PNG
XMP_KEYWORDS = ("xmp", XMP_KEYWORD)  # in an image's info
XMP_ORIENTATION = re.compile(rb"""tiff:Orientation(?:="([1-8])"|='([1-8])'|>([1-8])</tiff:Orientation>)""")
XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"  # of JPEG
RAW_PROFILE = "Raw profile type "  # of PNG, by ImageMagick: hexadecimal digits behind three lines
RAW_PROFILES = ("exif", "APP1", "xmp", "icc", "icm")
# JPEG's segments that are carried, named otherwise, or of no use to others: what they begin with.
SEGMENTS = (b"JFIF\0", b"JFXX\0", b"Exif\0", XMP_PREFIX, b"ICC_PROFILE\0", b"MPF\0", b"Adobe", b"Ducky", b"Photoshop 3.0\0")
# TIFF's tags that are carried, or say where and how the pixels lie.
TAGS = exifs.DESCRIPTIVE.union(exifs.DIRECTORIES, range(254, 260), range(262, 267), (273, 274), range(277, 282), (284,), range(288, 294),
                               (297, 317), range(320, 326), range(332, 342), (347,), range(512, 522), range(529, 533), (700, 34675),
                               (ExifTags.IFD.Interop,))  # fmt: skip
SUBFILE = 254  # of TIFF: bit 0 is set in a preview
TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
         5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_90}  # fmt: skip
TURNED = ("HEIF", "JXL")  # formats, as Pillow calls them, whose decoders turn pictures, whatever EXIF and XMP say
MAX_NAMED = 5


def of_image(image: Image.Image, header: Header, note: Note) -> tuple[Metadata, Image.Transpose | None]:
    """Return the metadata of an image that has been loaded, and how it is to be turned to be upright, as its metadata then say it is.

    Args:
        header: of its file.
        note: called with a sentence for what is left out.

    Raises:
        LimitError: a piece of metadata is too long.
    """
    icc = _bytes(image.info.get("icc_profile")) or header.icc_profile or _raw_profile(image, "icc") or _raw_profile(image, "icm")
    if image.format == "JXL" and colour.is_made_up(icc):
        icc = b""
    app = _raw_profile(image, "APP1")
    exif = _bytes(image.info.get("exif")) or header.exif or _raw_profile(image, "exif")
    exif = exif or (app if app.startswith(PREFIX) else b"") or _of_tiff(image)
    xmp = next(filter(None, (_bytes(image.info.get(name)) for name in XMP_KEYWORDS)), b"") or header.xmp
    xmp = xmp or _raw_profile(image, "xmp") or (app.removeprefix(XMP_PREFIX) if app.startswith(XMP_PREFIX) else b"")
    exif = _with_resolution(exif, image.info.get("dpi"), note)
    for text in _left_behind(image, header):
        note(f"{text} left out")
    turn = TURNS.get(_orientation(image, exif, xmp))
    if turn is not None:
        exif, xmp = upright(exif), XMP_ORIENTATION.sub(b"", xmp)
    return Metadata(icc, exif, xmp), turn


def _bytes(content: Any) -> bytes:
    """Return what an image's info holds as bytes; b"" for nothing."""
    if isinstance(content, Image.Exif):
        content = content.tobytes() if len(content) else b""
    return content if isinstance(content, bytes) else str(content or "").encode()


def _raw_profile(image: Image.Image, name: str) -> bytes:
    """Return the content of a PNG's text chunk of this raw profile; b"" where it has none."""
    with suppress(ValueError):
        return bytes.fromhex("".join(str(image.info.get(RAW_PROFILE + name, "")).split("\n")[3:]))
    return b""


def _of_tiff(image: Image.Image) -> bytes:
    """Return the descriptive tags of a TIFF, with its directories of EXIF and GPS, as EXIF; b"" where it has none."""
    if not hasattr(image, "tag_v2"):
        return b""
    found = exifs.descriptions(image.getexif())
    for tag in exifs.RESOLUTION.intersection(found) if _is_usual(image.info.get("dpi")) else ():
        del found[tag]
    return found.tobytes() if len(found) else b""


def _is_usual(dpi: Any) -> bool:
    """Whether a resolution says nothing, as no program was told one."""
    try:
        x, y = (round(float(value)) for value in dpi)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return True
    return x < 2 or y < 2 or (x == y and x in exifs.USUAL)


def _with_resolution(exif: bytes, dpi: Any, note: Note) -> bytes:
    """Return EXIF with a resolution that the image has elsewhere."""
    if _is_usual(dpi) or exifs.resolution(exif) is not None:
        return exif
    if exif:  # which Pillow would have to write anew
        note("its resolution, which is not in its EXIF, is left out")
        return exif
    return exifs.of_resolution(*map(float, dpi))


def _orientation(image: Image.Image, exif: bytes, xmp: bytes) -> int:
    """Return the orientation of an image, 1 ... 8. Pillow gives up on EXIF with a single odd tag."""
    if image.format in TURNED and not getattr(image, "jpeg", False):  # a JPEG within JPEG XL is as it was
        return 1
    with suppress(Exception):
        found = image.getexif().get(exifs.Tag.Orientation)
        if found in TURNS or found == 1:
            return int(found)
    if (own := exifs.orientation(exif)) is not None:
        return own
    said = XMP_ORIENTATION.search(xmp)
    return int(said[said.lastindex or 0]) if said else 1


def _left_behind(image: Image.Image, header: Header) -> Iterator[str]:
    """Say what an image has that no .ddpm file holds."""
    info, tags = image.info, getattr(image, "tag_v2", {})
    if image.format and "icc_profile" in info and not info["icc_profile"]:  # as Pillow has one that is damaged
        yield "its colour profile, which is damaged, is"
    if texts := [key for key in getattr(image, "text", {}) if not _is_carried(image, key)]:
        yield f"its text ({_listed(texts)}) is"
    if info.get("comment"):
        yield "its comment is"
    if info.get("photoshop"):
        yield "its Photoshop resources, which may hold IPTC, are"
    if segments := _segments(image):
        yield f"its segments ({_listed(segments)}) are"
    if isinstance(subfile := tags.get(SUBFILE), int) and subfile & 1:
        yield "the picture of which this is a preview is"
    if others := [_tag_name(tag) for tag in sorted(tags) if tag not in TAGS]:
        yield f"its tags ({_listed(others)}) are"
    ratios = (info.get("aspect"), info.get("pixel_aspect_ratio"), info.get("jfif_density") if info.get("jfif_unit") == 0 else None)
    if any(len(set(ratio)) > 1 for ratio in ratios if ratio):
        yield "the shape of its pixels, which are not square, is"
    if len(info.get("sizes", ())) > 1:  # of icons
        yield "its other sizes are"
    if info.get("depth_images") or info.get("aux"):
        yield "its auxiliary pictures, of depth or light, are"
    if header.packed and not getattr(image, "jpeg", False):
        yield "its metadata, which are compressed, are"
    if header.animated:
        yield "its frames but the first are"


def _listed(names: list[str]) -> str:
    """Return the first of these names, each once, and how many more there are."""
    names = list(dict.fromkeys(names))
    return printable(", ".join(names[:MAX_NAMED])) + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")


def _is_carried(image: Image.Image, key: str) -> bool:
    """Whether a text of PNG is metadata that are carried."""
    name = key.removeprefix(RAW_PROFILE)
    return key in XMP_KEYWORDS or (key.startswith(RAW_PROFILE) and name in RAW_PROFILES and _raw_profile(image, name) != b"")


def _segments(image: Image.Image) -> list[str]:
    """Return the names of a JPEG's application segments that are not carried, with what they call themselves."""
    found = [(name, content) for name, content in getattr(image, "applist", ()) if name.startswith("APP")]
    others = [(name, content) for name, content in found if not content.startswith(SEGMENTS)]
    return [f"{name} {content.partition(bytes(1))[0][:40].decode('latin-1')}".strip() for name, content in others]


def _tag_name(tag: int) -> str:
    """Return the name of a tag of TIFF, or its number."""
    name = TiffTags.lookup(tag).name
    return str(tag) if name == "unknown" else name
