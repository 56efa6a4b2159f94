"""Pictures in and out: Pillow images and arrays to x in [-1, 1] and back.

Several pictures of one size that are coded together are one array, (P H, W, 3): one above the other.
"""

import io
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from ddpmcodec.errors import DdpmcodecError, LimitError, PictureError
from ddpmcodec.header import MAX_PICTURES, MAX_SIDE, Header

# Encoding takes about 300 MB and 500 bytes a pixel: this fits in 4 GB.
MAX_PIXELS = 7_000_000


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if not width or not height:
        raise PictureError(f"the picture has {width} x {height} pixels")
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise LimitError(f"the picture has {width} x {height} pixels, the limit is {max_pixels} (--max-pixels), {MAX_SIDE} a side")


def from_image(image: Image.Image, note: Callable[[str], None] = lambda text: None, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """An image's pixels, (H, W, 3) uint8, turned as its EXIF orientation says.

    Args:
        note: called with a sentence for each thing that the coded picture will not have.

    Raises:
        PictureError: alpha, several pages or more than 8 bits, which cannot be coded yet.
        LimitError: more than `max_pixels` pixels.
    """
    _check_size(image.width, image.height, max_pixels)
    if (pages := getattr(image, "n_frames", 1)) > 1:
        if image.format != "MPO":
            raise PictureError(f"the file has {pages} pages or frames: give one picture")
        note(f"only the first of {pages} pictures is coded")  # a JPEG photo with a preview or depth map behind it
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        if image.mode not in ("LA", "RGBA") or image.getchannel("A").getextrema() != (255, 255):
            raise PictureError("pictures with transparency cannot be coded yet: flatten it first")
        note("its alpha channel, opaque throughout, is left out")
    if _is_deep(image):
        raise PictureError("pictures of more than 8 bits a channel cannot be coded yet")
    if image.mode not in ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr", "LAB", "HSV"):
        raise PictureError(f"pictures of mode {image.mode} (more than 8 bits a channel) cannot be coded yet")
    if image.mode not in ("RGB", "RGBA"):
        note(f"converted from mode {image.mode} to RGB")
    kept_out = [text for key, text in (("icc_profile", "colour profile"), ("exif", "EXIF"), ("xmp", "XMP")) if image.info.get(key)]
    if kept_out:
        note(f"not kept: {', '.join(kept_out)}")
    try:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError) as e:
        raise PictureError(f"the picture is damaged: {e}") from e


def _is_deep(image: Image.Image) -> bool:
    """Whether Pillow reads more than 8 bits a channel as 8: known before the pixels are read, from what the decoder is told."""
    for tile in getattr(image, "tile", ()):
        raw, *rest = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if str(raw).endswith((";16B", ";16L", ";16N")) or (tile[0] == "ppm" and rest[0] > 255):
            return True
    return False


def read(data: bytes, note: Callable[[str], None] = lambda text: None, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels of a picture file that Pillow opens: `from_image` of it.

    Raises:
        PictureError, LimitError: as `from_image`; PictureError also for what is no picture.
    """
    if not data:
        raise PictureError("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's: max_pixels is the limit, and damage is an error
            with Image.open(io.BytesIO(data)) as image:
                return from_image(image, note, max_pixels)
    except DdpmcodecError:
        raise
    except UnidentifiedImageError as e:
        raise PictureError("not a picture that Pillow can open") from e
    except Image.DecompressionBombError as e:
        raise LimitError(str(e)) from e
    except Exception as e:  # what Pillow raises for damaged files is up to each format's library
        raise PictureError(f"the picture is damaged: {' '.join(str(e).split())}") from e


def from_array(array: np.ndarray, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Check that an array is (H, W, 3) uint8 and not empty.

    Raises:
        PictureError, LimitError: it is not, or is too large.
    """
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise PictureError(f"expected a uint8 array (H, W, 3), got {array.dtype} {array.shape}")
    _check_size(array.shape[1], array.shape[0], max_pixels)
    return array


def to_tensor(pixels: np.ndarray, pictures: int = 1) -> torch.Tensor:
    """(P H, W, 3) uint8 to (P, 3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(np.stack(np.split(pixels, pictures)).transpose(0, 3, 1, 2).copy()).float() / 127.5 - 1


def planes(x: torch.Tensor) -> np.ndarray:
    """(P, 3, H, W) to (3, P H, W)."""
    return x.transpose(0, 1).flatten(1, 2).cpu().numpy()


def to_pixels(x: torch.Tensor) -> np.ndarray:
    """(P, 3, H, W) in [-1, 1] to (P H, W, 3) uint8."""
    return np.ascontiguousarray(planes(((x.clamp(-1, 1) + 1) * 127.5).round().byte()).transpose(1, 2, 0))


def together(arrays: Sequence[np.ndarray], max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Pictures of one size as one array (P H, W, 3).

    Raises:
        PictureError: there is none, or their sizes differ.
        LimitError: more than `max_pixels` pixels in all.
    """
    if not arrays:
        raise PictureError("no picture is given")
    height, width = arrays[0].shape[:2]
    for i, array in enumerate(arrays):
        if array.shape != arrays[0].shape:
            other = f"number {i + 1} {array.shape[1]} x {array.shape[0]}"
            raise PictureError(f"pictures coded together have one size: the first has {width} x {height} pixels, {other}")
    if len(arrays) > 1 and (len(arrays) * height * width > max_pixels or len(arrays) > MAX_PICTURES):
        raise LimitError(f"{len(arrays)} pictures of {width} x {height} pixels are over the limit of {max_pixels} (--max-pixels)")
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def to_images(pixels: np.ndarray, header: Header) -> list[Image.Image]:
    """(P H, W, 3) uint8 to the images of a file."""
    return [to_image(part, header.orientation) for part in np.split(pixels, header.pictures)]


def to_image(pixels: np.ndarray, orientation: int) -> Image.Image:
    """(H, W, 3) uint8 to an image, turned as the EXIF orientation says."""
    image = Image.fromarray(pixels)
    if orientation != 1:
        image.getexif()[0x0112] = orientation
        image = ImageOps.exif_transpose(image)
    return image


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 pictures in dB, over all channels; infinite where they are equal."""
    mse = float(np.mean(np.square(a.astype(np.int32) - b)))
    return float("inf") if mse == 0 else 10 * float(np.log10(255**2 / mse))


def load(source: Image.Image | np.ndarray, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels of whatever `ddpmcodec.encode` takes."""
    if isinstance(source, np.ndarray):
        return from_array(source, max_pixels)
    if isinstance(source, Image.Image):
        return from_image(source, max_pixels=max_pixels)
    raise PictureError(f"expected a PIL image or a uint8 array, got {type(source).__name__}")
