"""Pictures to be coded, from Pillow's images, picture files and arrays; and the images of a decoded file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ddpmcodec import arguments, carried, colour, headers, jpeg, opening
from ddpmcodec.errors import DdpmcodecError, LimitError, PictureError
from ddpmcodec.format import alpha as alpha_section
from ddpmcodec.format.container import Container
from ddpmcodec.format.header import MAX_PICTURES, MAX_SIDE
from ddpmcodec.format.metadata import NONE, Metadata
from ddpmcodec.headers import Header
from ddpmcodec.progress import Note, silent

MAX_PIXELS = 50_000_000
MODES = ("RGB", "RGBA", "RGBa", "L", "LA", "La", "P", "PA", "1", "CMYK", "YCbCr", "LAB", "HSV", "RGBX")  # Pillow's, that can be coded
BC6H = 6  # a compression of DDS, of 16 bits
BITS = 258  # a tag of TIFF: bits of each channel


def _check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise PictureError where a picture is empty, LimitError where it is too large."""
    if not width or not height:
        raise PictureError(f"the picture has {width} x {height} pixels")
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise LimitError(f"the picture has {width} x {height} pixels, the limit is {max_pixels}, {MAX_SIDE} a side", parameter="max_pixels")


@dataclass(frozen=True)
class Picture:
    """The parts of a picture that are coded, or of several of one size, one above the other.

    Attributes:
        pixels: (P H, W, 3) uint8.
        gray: whether it came as gray, so that the three channels are equal.
        alpha: (P H, W) uint8; None where all is opaque.
        metadata: colour profile, EXIF, XMP.
        count: P, the number of pictures.
    """

    pixels: np.ndarray
    gray: bool = False
    alpha: np.ndarray | None = None
    metadata: Metadata = NONE
    count: int = 1

    def __post_init__(self):
        if self.count < 1 or len(self.pixels) % self.count:
            raise ValueError(f"{len(self.pixels)} rows are not {self.count} pictures")


@contextmanager
def _reading() -> Iterator[None]:
    """Turn Pillow's errors into PictureError and LimitError."""
    try:
        yield
    except DdpmcodecError:
        raise
    except UnidentifiedImageError as e:
        raise PictureError("not a picture that Pillow can open") from e
    except Image.DecompressionBombError as e:
        raise LimitError(str(e), parameter="max_pixels") from e
    except Exception as e:  # what Pillow raises for damaged files is up to each format's library
        raise PictureError(f"the picture is damaged: {' '.join(str(e).split())}") from e


@_reading()
def from_image(
    image: Image.Image,
    note: Note = silent,
    max_pixels: int = MAX_PIXELS,
    page: int | None = None,
    *,
    current: bool = False,
    or_only: bool = False,
) -> Picture:
    """Return the picture of an image, turned as its EXIF orientation says.

    Args:
        note: called with a sentence for each thing that the coded picture will not have.
        page: the number of the one to take of several, from 1 on.
        current: take the one that the image is at, where there is no `page`.
        or_only: take the only one, whatever `page` says, where there is one.

    Raises:
        PictureError: there are several pages and none is chosen, or more than 8 bits a channel, or the image is damaged.
        LimitError: there are more than `max_pixels` pixels.
    """
    _check_size(image.width, image.height, max_pixels)  # before its pages are counted, which reads them
    pages = getattr(image, "n_frames", 1)
    if image.format == "PSD" and pages > 1:  # of which Pillow has the picture, and numbers the layers
        note(f"its {pages} layers are left out")
        pages = 1
    if page is not None and not (or_only and pages == 1):
        if page > pages:
            raise PictureError(f"there is no page {page}: the file has {pages}")
        if pages > 1:
            image.seek(page - 1)
            _check_size(image.width, image.height, max_pixels)
    elif pages > 1:
        if not current and image.format != "MPO":  # behind a JPEG photo there may be a preview or a depth map
            raise PictureError(f"the file has {pages} pages or frames: choose one", parameter="page")
        note(f"only {f'number {image.tell() + 1}' if image.tell() else 'the first'} of {pages} pictures is coded")
    header = _header(image)
    if (header.bits or 8) > 8 or _is_deep(image):
        raise PictureError("pictures of more than 8 bits a channel cannot be coded yet")
    if image.mode not in MODES:
        raise PictureError(f"pictures of mode {image.mode} (more than 8 bits a channel) cannot be coded yet")
    image.load()
    metadata, turn = carried.of_image(image, header, note)
    if turn is not None:
        image = image.transpose(turn)
    if image.mode in ("RGBa", "La"):  # colours multiplied with alpha
        image = image.convert(image.mode.upper())
    gray = image.mode in ("L", "LA", "1")
    metadata = _of_space(_with_colours(metadata, image, header, gray, note), colour.SPACES[gray], note)
    alpha = _alpha(image, note)
    if image.mode not in ("RGB", "RGBA", "L", "LA"):
        note(f"converted from mode {image.mode} to {'gray' if gray else 'RGB'}")
    return Picture(np.asarray(image.convert("RGB")), gray, alpha, metadata)


def _alpha(image: Image.Image, note: Note) -> np.ndarray | None:
    """Return alpha, (H, W) uint8; None where there is none, or all is opaque."""
    if not image.has_transparency_data:
        return None
    alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    if alpha.min() == 255:
        note("its alpha channel, opaque throughout, is left out")
        return None
    return alpha


def _header(image: Image.Image) -> Header:
    """Return what Pillow does not tell of the file of an image, where that is still open."""
    try:
        if image.format not in headers.FORMATS or (file := getattr(image, "fp", None)) is None:
            return Header()
        before = file.tell()
        file.seek(0)
        data = file.read()
        file.seek(before)
    except (OSError, ValueError):  # closed since
        return Header()
    return headers.read(data, image.format)


def _with_colours(metadata: Metadata, image: Image.Image, header: Header, gray: bool, note: Note) -> Metadata:
    """Return metadata with a profile made of what else the file has on its colours. In PNG, code points count more than a profile.

    Raises:
        PictureError: it has high dynamic range.
    """
    if header.cicp is not None and (not metadata.icc_profile or image.format == "PNG"):
        return replace(metadata, icc_profile=colour.of_codes(*header.cicp, gray) or metadata.icc_profile)
    if metadata.icc_profile:
        return metadata
    try:
        return replace(metadata, icc_profile=colour.of_png(image.info, gray)) if image.format == "PNG" else metadata
    except ValueError:
        note("its chromaticities and gamma, of which no colours can be made, are left out")
        return metadata


def _of_space(metadata: Metadata, space: str, note: Note) -> Metadata:
    """Return metadata without a colour profile that is not of the colour space in which the picture is coded."""
    profile = metadata.icc_profile
    if profile and (other := colour.space_of(profile)) != space:
        note(f"its colour profile, of {other} instead of {space}, is left out")
        return replace(metadata, icc_profile=b"")
    return metadata


def _is_deep(image: Image.Image) -> bool:
    """Whether Pillow reads more than 8 bits a channel as 8: known before the pixels are read, from what the decoder is told."""
    if max(getattr(image, "tag_v2", {}).get(BITS, (8,))) > 8:
        return True
    for tile in getattr(image, "tile", ()):
        decoder, (raw, *rest) = tile[0], tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if str(raw).endswith((";16B", ";16L", ";16N")) or decoder == "SGI16" or (decoder == "sgi_rle" and rest[-1] == 2):
            return True
        if (decoder in ("ppm", "ppm_plain") and rest[0] > 255) or (decoder == "bcn" and raw == BC6H):
            return True
    return False


def read(data: bytes, note: Note = silent, max_pixels: int = MAX_PIXELS, page: int | None = None, *, or_only: bool = False) -> Picture:
    """Return the picture in a file's bytes that Pillow can open. Arguments as `from_image`.

    Raises:
        PictureError, LimitError: as `from_image`; PictureError also where it is no picture.
    """
    if not data:
        raise PictureError("the file is empty")
    if headers.is_jxl(data) and (size := headers.read(data, "JXL").size) is not None:
        _check_size(*size, max_pixels)
    with _reading(), opening.opened(data, max_pixels, note=note) as image:
        found = from_image(image, note, max_pixels, page, or_only=or_only)
        if image.format in jpeg.KINDS and note is not silent and jpeg.is_damaged(data):
            note("its JPEG data are damaged: parts of it may be gray, or in the wrong place")
        if image.format == "JPEG" and (rest := jpeg.behind(data)):
            note(f"{rest} bytes behind the picture, a video perhaps, are left out")
        return found


def from_array(array: np.ndarray, max_pixels: int = MAX_PIXELS) -> Picture:
    """Return the picture of a uint8 array: (H, W, 3), with alpha (H, W, 4), or gray (H, W).

    Raises:
        PictureError: the array has another type or shape, or no pixels.
        LimitError: there are more than `max_pixels` pixels.
    """
    gray = array.ndim == 2
    if array.dtype != np.uint8 or not (gray or (array.ndim == 3 and array.shape[2] in (3, 4))) or 0 in array.shape:
        raise PictureError(f"expected a uint8 array (H, W, 3), (H, W, 4) or (H, W), got {array.dtype} {array.shape}")
    _check_size(array.shape[1], array.shape[0], max_pixels)
    if gray:
        return Picture(np.repeat(array[..., None], 3, 2), True)
    alpha = array[..., 3] if array.shape[2] == 4 and array[..., 3].min() < 255 else None
    return Picture(array[..., :3], alpha=alpha)


def stack(pictures: Sequence[Picture], max_pixels: int = MAX_PIXELS, note: Note = silent) -> Picture:
    """Stack pictures of one size into one. It is gray where all are, and has their metadata where they are the same.

    Args:
        note: called with a sentence where metadata are left out.

    Raises:
        PictureError: there is none, or their sizes differ.
        LimitError: there are more than `max_pixels` pixels in all.
    """
    if not pictures:
        raise PictureError("no picture is given")
    first = pictures[0]
    height, width = first.pixels.shape[:2]
    for i, each in enumerate(pictures):
        if each.pixels.shape != first.pixels.shape:
            other = f"number {i + 1} {each.pixels.shape[1]} x {each.pixels.shape[0]}"
            raise PictureError(f"pictures coded together have one size: the first has {width} x {height} pixels, {other}")
    if len(pictures) == 1:
        return first
    if len(pictures) * height * width > max_pixels or len(pictures) > MAX_PICTURES:
        raise LimitError(
            f"{len(pictures)} pictures of {width} x {height} pixels are over the limit of {max_pixels}", parameter="max_pixels"
        )
    alpha = None
    if any(each.alpha is not None for each in pictures):
        opaque = np.full((height, width), 255, np.uint8)
        alpha = np.concatenate([opaque if each.alpha is None else each.alpha for each in pictures])
    same = all(each.metadata == first.metadata for each in pictures)
    if not same:
        note("the pictures' metadata, which are not the same, are left out")
    gray, metadata = all(each.gray for each in pictures), first.metadata if same else NONE
    return Picture(np.concatenate([each.pixels for each in pictures]), gray, alpha, metadata, len(pictures))


def to_images(pixels: np.ndarray, parsed: Container) -> list[Image.Image]:
    """Return the images of a file whose pixels, (P H, W, 3) uint8, are decoded, with its alpha and metadata.

    Raises:
        CorruptFileError: alpha is damaged.
    """
    header = parsed.header
    if header.gray:
        pixels = pixels[..., 0]
    if parsed.alpha is not None:
        pixels = np.dstack([pixels, alpha_section.unpack(parsed.alpha, header)])
    images = [to_image(part, header.orientation) for part in np.split(pixels, header.pictures)]
    for image in images:
        image.info.update(parsed.metadata.info)
    return images


def to_image(pixels: np.ndarray, orientation: int) -> Image.Image:
    """Return the image of pixels, (H, W) or (H, W, 2 ... 4) uint8, turned as an EXIF orientation, 1 ... 8, says."""
    image = Image.fromarray(pixels)
    if orientation != 1:
        image.getexif()[0x0112] = orientation
        image = ImageOps.exif_transpose(image)
    return image


def load(source: Image.Image | np.ndarray, max_pixels: int = MAX_PIXELS, note: Note = silent, page: int | None = None) -> Picture:
    """Return the picture of an image or an array, as `ddpmcodec.encode` takes them; of an image with several pages the current one.

    Args:
        page: take this one instead, from 1 on; the image stays where it is.

    Raises:
        PictureError, LimitError: as `from_image` and `from_array`; PictureError also for an object of another type.
        ValueError: `page` is less than 1.
    """
    if page is not None and arguments.integer("page", page) < 1:
        raise ValueError(f"page = {page} is out of range: the first is 1")
    if isinstance(source, np.ndarray):
        if page not in (None, 1):
            raise PictureError(f"there is no page {page}: an array is one picture")
        return from_array(source, max_pixels)
    if isinstance(source, Image.Image):
        current = source.tell()
        try:
            return from_image(source, note, max_pixels, page, current=True)
        finally:
            with _reading():
                source.seek(current)
    raise PictureError(f"expected a PIL image or a uint8 array, got {type(source).__name__}")
