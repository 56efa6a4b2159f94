"""Decoded pictures as files, in the format that a name asks for. What a file does not hold of a picture is found by reading it back."""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image, ImageColor

from ddpmcodec import opening
from ddpmcodec.cli import carrying, files
from ddpmcodec.errors import OutputError
from ddpmcodec.quality import psnr

OF_PLUGINS = {".jxl", ".heic", ".heif"}
ICONS = {"ICO", "ICNS"}  # Pillow scales what it saves in these
DEFAULT_QUALITY = 95  # no difference is seen, and the file has no more of it than it needs
BEST_QUALITY = 100
HALF = 77  # an alpha that is neither 0 nor 255
Say = Callable[[str], None]


def _jpeg(quality: int, lossless: bool) -> dict[str, Any]:
    return {"quality": BEST_QUALITY if lossless else quality, "subsampling": 0}


def _webp(quality: int, lossless: bool) -> dict[str, Any]:
    return {"lossless": True, "exact": True} if lossless else {"quality": quality}


def _avif(quality: int, lossless: bool) -> dict[str, Any]:
    return {"quality": BEST_QUALITY if lossless else quality, "subsampling": "4:4:4"}


def _heif(quality: int, lossless: bool) -> dict[str, Any]:
    return {"chroma": 444, **({"quality": -1, "matrix_coefficients": 0} if lossless else {"quality": quality})}


def _jxl(quality: int, lossless: bool) -> dict[str, Any]:
    return {"lossless": True} if lossless else {"quality": quality}


# Of the formats that have a quality, what Pillow is told; those that can do it are asked to be lossless. The others are as they are.
QUALITIES = {"JPEG": _jpeg, "MPO": _jpeg, "PDF": _jpeg, "WEBP": _webp, "AVIF": _avif, "HEIF": _heif, "JXL": _jxl}


def picture_format(path: str, kind: str | None = None) -> str:
    """Return Pillow's name of the format that a file name asks for, unless another, `kind`, is wanted.

    Raises:
        OutputError: it asks for none that can be written.
    """
    if path == "-" and kind is None:
        return "PNG"
    if kind is not None:
        opening.register_plugins()
        if kind in ICONS or kind not in Image.registered_extensions().values() or not _is_writable(kind, "RGB"):
            raise OutputError(f"{path}: no picture format that can be written is called {kind}")
        return kind
    name = _format_of_extension(Path(path).suffix.lower())
    if name is None or name in ICONS or not _is_writable(name, "RGB"):
        hint = f" ({opening.EXTRA})" if Path(path).suffix.lower() in OF_PLUGINS else ""
        raise OutputError(f"{path}: no picture format that can be written has the extension {Path(path).suffix!r}{hint}")
    return name


def _format_of_extension(suffix: str) -> str | None:
    """Return Pillow's name of the format of an extension; None where there is none. Most formats, and plugins, take time to import."""
    Image.preinit()  # PNG, JPEG and a few
    if suffix in Image.EXTENSION:
        return Image.EXTENSION[suffix]
    opening.register_plugins()
    return Image.registered_extensions().get(suffix)


@cache
def _is_writable(kind: str, mode: str) -> bool:
    """Whether a format takes pictures of a mode, and gives their alpha back: some drop it without a word."""
    transparent = mode.endswith("A")
    image = Image.new("RGB", (16, 16)).convert(mode)
    if transparent:
        image.putalpha(HALF)
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind)
        if not transparent:
            return True
        with opening.opened(buffer.getvalue(), 256, [kind]) as read:
            return read.convert("RGBA").getchannel("A").getextrema() == (HALF, HALF)
    except Exception:  # each format's own way to say that it cannot
        return False


def _mode_for(kind: str, mode: str) -> str | None:
    """Return the mode in which a format takes a picture of a mode: the same, or in colour; None where its alpha would be lost."""
    return next((each for each in (mode, mode.replace("L", "RGB")) if _is_writable(kind, each)), None)


@dataclass(frozen=True)
class Style:
    """How pictures are to be written.

    Attributes:
        quality: 1 ... 100, of formats that have one; None: the default, or lossless where that is possible and the picture is exact.
        background: (red, green, blue) to lay transparent pictures on; None: they stay transparent.
        kind: Pillow's name of the format; None: that of the path.
    """

    quality: int | None = None
    background: tuple[int, int, int] | None = None
    kind: str | None = None

    def check(self, path: str, mode: str) -> None:
        """Fail before long work rather than after it.

        Args:
            mode: of the picture, as Pillow calls it: L, LA, RGB or RGBA.

        Raises:
            OutputError: the format cannot be written, or loses alpha.
            click.UsageError: there is a quality, and the format has none.
        """
        kind = picture_format(path, self.kind)
        if self.quality is not None and kind not in QUALITIES:
            raise click.UsageError(f"--output-quality is for formats that have one: {kind} has none")
        if self.background is None and _mode_for(kind, mode) is None:
            raise OutputError(f"{path}: {kind} does not keep the picture's alpha: give --background COLOR, or write a PNG")


def format_option(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return a format's name as Pillow has it: jpg and JPEG are JPEG."""
    if value is None:
        return None
    opening.register_plugins()
    return Image.registered_extensions().get(f".{value.lower()}", value.upper())


def background_option(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int, int] | None:
    """Return the colour of a name or #rrggbb."""
    if value is None:
        return None
    try:
        colour = ImageColor.getrgb(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no colour: give a name such as white, or #rrggbb", ctx, param) from None
    return colour[:3]


def _laid_on(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Return a transparent picture laid on a colour; a gray one stays gray on a gray one."""
    base = Image.new("RGBA", image.size, (*background, 255))
    flat = Image.alpha_composite(base, image.convert("RGBA")).convert("RGB")
    flat.info.update(image.info)
    return flat.convert("L") if image.mode == "LA" and len(set(background)) == 1 else flat


def save(image: Image.Image, path: str, style: Style, say: Say, exact: bool = False) -> str:
    """Write a picture, with what its format can hold of its metadata.

    Args:
        exact: the picture is the original to the last bit: the file is to be so, where its format can.

    Returns:
        What the file loses of the picture itself, in words; "" for nothing.

    Raises:
        OutputError: it cannot be written.
    """
    kind = picture_format(path, style.kind)
    if flat := style.background is not None and image.mode.endswith("A"):
        image = _laid_on(image, style.background)
    mode = _mode_for(kind, image.mode) or image.mode
    quality = DEFAULT_QUALITY if style.quality is None else style.quality
    lossless = quality == BEST_QUALITY or (exact and style.quality is None)
    chosen = QUALITIES[kind](quality, lossless) if kind in QUALITIES else {}
    bare = image.convert(mode) if mode != image.mode else image.copy()
    bare.info.clear()  # Pillow takes from there what it is not told

    def written(more: dict[str, Any]) -> bytes:
        buffer = io.BytesIO()
        bare.save(buffer, kind, **chosen, **more)
        return buffer.getvalue()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of EXIF
        try:
            data, missing = carrying.with_metadata(written, kind, image.info)
        except Exception as e:  # what Pillow raises, for a picture too large for the format say, is up to each format's library
            raise OutputError(f"{path}: {' '.join(str(e).split())}") from e
    if missing:
        say(f"{path}: left out, as it cannot be written there: {', '.join(missing)}")
    files.write(path, data)
    return "; ".join(filter(None, ["its alpha is laid on the background" if flat else "", _loss(data, kind, bare)]))


def _loss(data: bytes, kind: str, image: Image.Image) -> str:
    """Return in words what a file loses of a picture; "" for nothing."""
    try:
        with opening.opened(data, image.width * image.height, [kind]) as read:
            back = np.asarray(read.convert(image.mode))
    except Exception:  # PDF and EPS are written only
        return f"{kind} may lose some of it"
    pixels = np.asarray(image)
    return "" if np.array_equal(back, pixels) else f"{kind} itself loses some of it ({psnr(back, pixels):.1f} dB)"
