"""Metadata that are given as files, beside the picture: they are what they are said to be, or refused."""

import io

from PIL import ImageCms

from ddpmcodec import colour
from ddpmcodec.cli import files
from ddpmcodec.errors import InputError, PictureError
from ddpmcodec.format import tiff


def profile(path: str) -> bytes:
    """Return the colour profile in a file.

    Raises:
        InputError: it cannot be read, or is none of RGB or gray.
    """
    data = files.read(path)
    try:
        ImageCms.ImageCmsProfile(io.BytesIO(data))
    except (OSError, ImageCms.PyCMSError) as e:
        raise InputError(f"{path}: not a colour profile") from e
    if colour.space_of(data) not in colour.SPACES:
        raise InputError(f"{path}: a colour profile of {colour.space_of(data)}, and pictures are coded as RGB or gray")
    return data


def exif(path: str) -> bytes:
    """Return the EXIF in a file: a TIFF structure, with or without `Exif\\0\\0` before it.

    Raises:
        InputError: it cannot be read, or is none.
    """
    data = files.read(path)
    if next(tiff.entries(data), None) is None:
        raise InputError(f"{path}: not EXIF, which is a TIFF structure of at least one tag, alone or behind the bytes Exif\\0\\0")
    return data


def check_space(path: str, icc_profile: bytes, gray: bool) -> None:
    """Refuse a profile of another colour space than a picture is coded in.

    Raises:
        PictureError: it is.
    """
    if (space := colour.space_of(icc_profile)) != colour.SPACES[gray]:
        raise PictureError(f"{path} is coded as {colour.SPACES[gray]}, and the profile of --icc is of {space}")
