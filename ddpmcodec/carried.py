"""What an image carries beside its pixels, wherever its format keeps it: colour profile, EXIF, XMP; and notes of what is left behind."""

import re
from contextlib import suppress
from typing import Any

from PIL import Image

from ddpmcodec import exif as exifs
from ddpmcodec.errors import printable
from ddpmcodec.format.metadata import Metadata, upright
from ddpmcodec.format.tiff import PREFIX
from ddpmcodec.progress import Note

XMP_KEYWORD = "XML:com.adobe.xmp"  # of PNG
XMP_KEYWORDS = ("xmp", XMP_KEYWORD)  # in an image's info
XMP_ORIENTATION = re.compile(rb"""tiff:Orientation(?:="([1-8])"|='([1-8])'|>([1-8])</tiff:Orientation>)""")
RAW_PROFILE = "Raw profile type "  # of PNG, by ImageMagick: hexadecimal digits behind three lines
LEFT_IN_TIFF = {33723: "IPTC", 34377: "Photoshop's resources", 34735: "GeoTIFF's keys"}
TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
         5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_90}  # fmt: skip
MAX_NAMED = 5


def of_image(image: Image.Image, note: Note) -> tuple[Metadata, Image.Transpose | None]:
    """Return the metadata of an image that has been loaded, and how it is to be turned to be upright, as its metadata then say it is.

    Args:
        note: called with a sentence for what is left out.

    Raises:
        LimitError: a piece of metadata is too long.
    """
    icc = _bytes(image.info.get("icc_profile")) or _raw_profile(image, "icc") or _raw_profile(image, "icm")
    app = _raw_profile(image, "APP1")
    exif = _bytes(image.info.get("exif")) or _raw_profile(image, "exif") or (app if app.startswith(PREFIX) else b"") or _of_tiff(image)
    xmp = next(filter(None, (_bytes(image.info.get(name)) for name in XMP_KEYWORDS)), b"") or _raw_profile(image, "xmp")
    exif = _with_resolution(exif, image.info.get("dpi"), note)
    for text in _left_behind(image):
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
    with suppress(Exception):
        found = image.getexif().get(exifs.Tag.Orientation)
        if found in TURNS or found == 1:
            return int(found)
    if (own := exifs.orientation(exif)) is not None:
        return own
    said = XMP_ORIENTATION.search(xmp)
    return int(said[said.lastindex or 0]) if said else 1


def _left_behind(image: Image.Image) -> list[str]:
    """Say what an image has that no .ddpm file holds."""
    texts = [key for key in getattr(image, "text", {}) if key not in XMP_KEYWORDS and not key.startswith(RAW_PROFILE)]
    found = []
    if texts:
        more = f" and {len(texts) - MAX_NAMED} more" if len(texts) > MAX_NAMED else ""
        found.append(f"its text ({printable(', '.join(texts[:MAX_NAMED]))}{more}) is")
    if image.info.get("comment"):
        found.append("its comment is")
    if image.info.get("photoshop"):
        found.append("its Photoshop resources, which may hold IPTC, are")
    found += [f"its {name} are" for tag, name in LEFT_IN_TIFF.items() if tag in getattr(image, "tag_v2", ())]
    return found
