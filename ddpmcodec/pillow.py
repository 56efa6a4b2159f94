"""A plugin for Pillow: importing this module, or `ddpmcodec.register()`, makes `Image.open` and `Image.save` know .ddpm files.

    import ddpmcodec.pillow
    Image.open("photo.ddpm").save("photo.png")
    image.save("photo.ddpm", quality=60)       # or bpp, max_bytes, psnr, lossless; evaluations, effort, seed, model

Opening a file reads and verifies it, and decodes nothing yet. A cut one is decoded where `ImageFile.LOAD_TRUNCATED_IMAGES` is set.
Files of several pictures have as many frames; `save_all=True, append_images=[...]` writes them.
"""

from typing import IO, Any

from PIL import Image, ImageFile

from ddpmcodec import api
from ddpmcodec.errors import DdpmcodecError, ForeignFileError
from ddpmcodec.format import container
from ddpmcodec.format.metadata import NAMES

FORMAT = "DDPM"
OPTIONS = (
    "quality",
    "bpp",
    "max_bytes",
    "psnr",
    "lossless",
    "evaluations",
    "effort",
    "seed",
    "tune",
    "roi",
    "roi_gain",
    "model",
    "max_pixels",
    "device",
    "precision",
)


def _accept(prefix: bytes) -> bool:
    """Whether a file begins like one of ours."""
    return prefix.startswith(container.SIGNATURE)


class DdpmImageFile(ImageFile.ImageFile):
    """A .ddpm file as an image of Pillow's, decoded by `load`."""

    format = FORMAT
    format_description = "DDPM codec"

    def _open(self) -> None:
        assert self.fp is not None
        self._data = self.fp.read()
        try:
            parsed = container.parse(self._data)
        except ForeignFileError as e:
            raise SyntaxError(str(e)) from e
        except DdpmcodecError as e:
            raise OSError(str(e)) from e
        header = parsed.header
        self._size = (header.width, header.height) if header.orientation < 5 else (header.height, header.width)
        self._mode = parsed.mode
        self.info.update(parsed.metadata.info)
        self.n_frames = header.pictures
        self.is_animated = self.n_frames > 1
        self._complete = parsed.complete
        self._frame = 0
        self._frames: list[Image.Image] = []

    def load(self) -> Any:
        """Decode all frames, once.

        Raises:
            OSError: the file is cut and `ImageFile.LOAD_TRUNCATED_IMAGES` is not set, or it cannot be decoded.
        """
        if not self._frames:
            if not self._complete and not ImageFile.LOAD_TRUNCATED_IMAGES:
                raise OSError("the file is cut: set ImageFile.LOAD_TRUNCATED_IMAGES to decode it to its last whole step")
            try:
                self._frames = api.decode_pictures(self._data)
            except DdpmcodecError as e:
                raise OSError(str(e)) from e
            self._show()
        return super().load()

    def _show(self) -> None:
        """Make the current frame the image's content."""
        self.im = self._frames[self._frame].copy().im
        self.tile = []

    def seek(self, frame: int) -> None:
        """Go to a frame, numbered from 0; EOFError where there is none."""
        if self._seek_check(frame):
            self._frame = frame
            if self._frames:
                self._show()

    def tell(self) -> int:
        """Return the number of the current frame."""
        return self._frame


def _save_all(image: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    """Write an image and those of `append_images`."""
    _save(image, fp, filename, True)


def _save(image: Image.Image, fp: IO[bytes], filename: str | bytes, several: bool = False) -> None:
    """Write an image, with `several` those of `append_images` too."""
    given = image.encoderinfo
    images = [image, *given.get("append_images", [])] if several else [image]
    carried = {name: given[name] for name in NAMES if name in given}
    if isinstance(carried.get("exif"), Image.Exif):
        carried["exif"] = carried["exif"].tobytes()
    with_info = []
    for each in images:
        each = each.copy()
        each.info.update(carried)
        with_info.append(each)
    try:
        fp.write(api.encode(with_info, **{name: given[name] for name in OPTIONS if name in given}))
    except DdpmcodecError as e:
        raise OSError(str(e)) from e


def register() -> None:
    """Make Pillow know .ddpm files."""
    Image.register_open(FORMAT, DdpmImageFile, _accept)
    Image.register_save(FORMAT, _save)
    Image.register_save_all(FORMAT, _save_all)
    Image.register_extension(FORMAT, ".ddpm")
    Image.register_mime(FORMAT, "image/x-ddpm")


register()
