"""Metadata in the files that pictures are written to: colour profile, EXIF, XMP, resolution. What is not read back is not there."""

from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ddpmcodec import exif as exifs
from ddpmcodec import opening
from ddpmcodec.carried import XMP_KEYWORD
from ddpmcodec.format import tiff
from ddpmcodec.format.metadata import NAMES
from ddpmcodec.format.tiff import PREFIX

XMP_TAG = 700  # of TIFF
MAX_READ_BACK = 1 << 40  # pixels: what has just been written is no bomb


def _options(kind: str, metadata: Mapping[str, bytes]) -> dict[str, Any]:
    """Return what Pillow is to be told so that a format has metadata."""
    chosen: dict[str, Any] = dict(metadata)
    if "exif" in metadata:  # some formats need the prefix, the others drop it
        chosen["exif"] = PREFIX + metadata["exif"].removeprefix(PREFIX)
    if "exif" in metadata and (dpi := exifs.resolution(metadata["exif"])) is not None:
        chosen["dpi"] = dpi
    if kind == "PNG" and "xmp" in metadata:
        chosen["pnginfo"] = info = PngInfo()
        info.add_itxt(XMP_KEYWORD, chosen.pop("xmp").decode())
    if kind == "TIFF" and ("exif" in metadata or "xmp" in metadata):
        chosen["exif"] = tags = exifs.descriptions(metadata.get("exif", b""))
        if "xmp" in metadata:
            tags[XMP_TAG] = chosen.pop("xmp")
    return chosen


def _is_held(kind: str, data: bytes, image: Image.Image, name: str, content: bytes) -> bool:
    """Whether a file has a piece of metadata. The plugin of JPEG XL writes XMP that it does not read."""
    if name == "exif" and kind == "TIFF":
        wanted, found = exifs.descriptions(content), image.getexif()
        if not wanted:  # there is nothing to hold, or nothing that can be read
            return {entry.tag for entry in tiff.entries(content)} == {exifs.Tag.Orientation}
        return all(found.get_ifd(tag) if tag in exifs.DIRECTORIES else tag in found for tag in wanted)
    held = image.info.get(name) or b""
    if name == "exif":
        content, held = content.removeprefix(PREFIX), held.removeprefix(PREFIX)
    return held == content or (kind == "JXL" and name == "xmp" and content in data)


def _missing(kind: str, data: bytes, metadata: Mapping[str, bytes]) -> list[str]:
    """Return the names of the metadata that a file has not."""
    try:
        with opening.opened(data, MAX_READ_BACK, [kind]) as image:
            return [name for name, content in metadata.items() if not _is_held(kind, data, image, name, content)]
    except Exception:  # PDF and EPS are written only
        return [name for name, content in metadata.items() if content not in data]


def with_metadata(written: Callable[[dict[str, Any]], bytes], kind: str, info: Mapping[Any, Any]) -> tuple[bytes, list[str]]:
    """Write a picture with the metadata that its format can hold.

    Args:
        written: makes the file's bytes, given options of Pillow's.
        kind: the format, as Pillow calls it.
        info: an image's, in which the metadata are.

    Returns:
        The bytes, and the names of the metadata that are not in them.

    Raises:
        Exception: what Pillow raises where the picture itself cannot be written.
    """
    metadata = {name: info[name] for name in NAMES if info.get(name)}

    def attempt(names: list[str]) -> bytes | None:
        try:
            return written(_options(kind, {name: metadata[name] for name in names}))
        except Exception:  # too long for the format, say, or EXIF that Pillow cannot make out
            return None

    kept = list(metadata)
    data = attempt(kept)
    if data is None:
        kept = [name for name in metadata if attempt([name]) is not None]
        data = attempt(kept)
    if data is None:
        kept, data = [], written({})
    missing = _missing(kind, data, {name: metadata[name] for name in kept})
    return data, [name for name in metadata if name not in kept or name in missing]
