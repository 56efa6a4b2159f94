"""What is needed of EXIF, of which single tags may be odd: they cost nothing but themselves."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from PIL import ExifTags, Image

from ddpmcodec.format import tiff

Tag = ExifTags.Base
# Of the first directory, what describes the picture: other tags of TIFF say where and how its own pixels lie.
DESCRIPTIVE = frozenset((Tag.ImageDescription, Tag.Make, Tag.Model, Tag.XResolution, Tag.YResolution, Tag.ResolutionUnit, Tag.Software,
                         Tag.DateTime, Tag.Artist, Tag.HostComputer, Tag.Copyright, Tag.Rating, Tag.RatingPercent, Tag.XPTitle,
                         Tag.XPComment, Tag.XPAuthor, Tag.XPKeywords, Tag.XPSubject))  # fmt: skip
DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
RESOLUTION = frozenset((Tag.XResolution, Tag.YResolution, Tag.ResolutionUnit))
INCHES, CENTIMETRES = 2, 3  # ResolutionUnit
MAX_DPI = 1e6
USUAL = frozenset((72, 96))  # dpi that programs write where nobody has chosen any


def parsed(exif: bytes) -> Image.Exif:
    """Return EXIF as Pillow reads it; empty where it cannot, or would take memory many times that of EXIF."""
    found = Image.Exif()
    if _claimed(exif) > 4 * len(exif):
        return found
    try:
        found.load(exif)
    except Exception:  # what Pillow raises for damaged EXIF has many types
        return Image.Exif()
    return found


def _claimed(exif: bytes) -> int:
    """Return the bytes that the values of EXIF claim to have, which may all be the same ones."""
    first = list(tiff.entries(exif))
    others = (entry for pointer in first if pointer.tag in DIRECTORIES for entry in tiff.entries(exif, pointer.at + 8))
    return sum(entry.size for entry in first) + sum(entry.size for entry in others)


def orientation(exif: bytes) -> int | None:
    """Return the orientation that EXIF has, 1 ... 8; None where it has none."""
    found = (tiff.number(exif, entry) for entry in tiff.entries(exif) if entry.tag == Tag.Orientation)
    return next((int(value) for value in found if value is not None and 1 <= value <= 8), None)


def descriptions(source: bytes | Image.Exif) -> Image.Exif:
    """Return the tags of EXIF that describe the picture, but for those that cannot be written."""
    found = parsed(source) if isinstance(source, bytes) else source
    kept = Image.Exif()
    for tag in sorted(DESCRIPTIVE.intersection(found)):
        with suppress(Exception):  # a value of the wrong type
            kept.update(_writable([(tag, found[tag])]))
    for directory in DIRECTORIES:
        with suppress(Exception):
            if content := _writable(found.get_ifd(directory).items()):
                kept[directory] = content
    return parsed(kept.tobytes())  # only what has been read has directories that can be asked for


def _writable(tags: Iterable[tuple[int, Any]]) -> dict[int, Any]:
    """Return those tags that Pillow can write, each tried alone."""
    kept = {}
    for tag, value in tags:
        alone = Image.Exif()
        alone[tag] = value
        with suppress(Exception):
            alone.tobytes()
            kept[tag] = value
    return kept


def resolution(exif: bytes) -> tuple[float, float] | None:
    """Return the resolution in dots per inch, across and down; None where EXIF has none."""
    found = {entry.tag: tiff.number(exif, entry) for entry in tiff.entries(exif) if entry.tag in RESOLUTION}
    x, y, unit = found.get(Tag.XResolution), found.get(Tag.YResolution), found.get(Tag.ResolutionUnit, INCHES)
    if not x or not y or max(x, y) > MAX_DPI or unit not in (INCHES, CENTIMETRES):
        return None
    scale = 2.54 if unit == CENTIMETRES else 1
    return x * scale, y * scale


def of_resolution(x: float, y: float) -> bytes:
    """Return EXIF of a resolution in dots per inch, across and down, and nothing else."""
    made = Image.Exif()
    made[Tag.XResolution], made[Tag.YResolution], made[Tag.ResolutionUnit] = round(x, 2), round(y, 2), INCHES
    return made.tobytes()
