"""Picture files opened with Pillow: with the formats of plugins that are installed, and up to a limit of pixels that is ours."""

import importlib
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from PIL import Image
from PIL.ImageFile import ImageFile

from ddpmcodec import headers
from ddpmcodec.errors import PictureError
from ddpmcodec.progress import Note, silent

PLUGINS = {"pillow_jxl": "JXL", "pillow_heif": "HEIF"}  # modules, and what Pillow calls the format then
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
EXTRA = "pip install 'ddpmcodec[formats]'"

LIMIT = threading.RLock()  # of who changes Pillow's, which all threads share


@cache
def register_plugins() -> None:
    """Make Pillow know JPEG XL and HEIC, where pillow-jxl-plugin and pillow-heif are installed."""
    for name in PLUGINS:
        try:
            plugin = importlib.import_module(name)
        except ImportError:  # not installed, or not for this system
            continue
        if name == "pillow_heif":
            plugin.register_heif_opener()


@contextmanager
def _pillows_limit(pixels: int) -> Iterator[None]:
    """Let Pillow open pictures of so many pixels, where its own limit is less."""
    if Image.MAX_IMAGE_PIXELS is None or pixels <= 2 * Image.MAX_IMAGE_PIXELS:
        yield
        return
    with LIMIT:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, (pixels + 1) // 2
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _missing(data: bytes) -> str | None:
    """Return the name of a file's format where that needs a plugin which is not installed."""
    if headers.is_jxl(data) and "JXL" not in Image.OPEN:
        return "JPEG XL"
    return "HEIC" if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS and "HEIF" not in Image.OPEN else None


def _open(data: bytes, formats: list[str] | None, note: Note) -> ImageFile:
    """Open the picture in a file's bytes, without its EXIF where that is all that is wrong: AVIF's decoder gives up on it."""
    try:
        return Image.open(io.BytesIO(data), formats=formats)
    except Exception:  # what Pillow raises is up to each format's library
        bare = headers.without_exif(data)
        if bare is None:
            raise
        image = Image.open(io.BytesIO(bare), formats=formats)
    note("its EXIF, which cannot be read, is left out")
    return image


@contextmanager
def opened(data: bytes, max_pixels: int, formats: list[str] | None = None, note: Note = silent) -> Iterator[ImageFile]:
    """Open the picture in a file's bytes, and close it. Pillow's warnings are silent meanwhile.

    Args:
        max_pixels: the most that Pillow has to bear; where it bears more, the caller refuses.
        formats: Pillow's names of the only ones to try.
        note: called with a sentence where the picture had to be opened without a part of the file.

    Raises:
        PictureError: it is EPS.
        Exception: what Pillow raises, which is up to each format's library.
    """
    if formats is None:
        register_plugins()
    with warnings.catch_warnings(), _pillows_limit(max_pixels):
        warnings.simplefilter("ignore")
        if formats is None and (missing := _missing(data)):
            raise PictureError(f"{missing} needs a plugin: {EXTRA}")
        with _open(data, formats, note) as image:
            if image.format == "EPS":
                raise PictureError("EPS is a program, which Pillow has Ghostscript run")
            yield image
