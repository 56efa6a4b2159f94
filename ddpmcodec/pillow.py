"""A plugin for Pillow: importing this module, or `ddpmcodec.register()`, makes `Image.open` and `Image.save` know .ddpm files.

    import ddpmcodec.pillow
    Image.open("photo.ddpm").save("photo.png")
    image.save("photo.ddpm", quality=60)       # or bpp, max_bytes, psnr, lossless; speed, evaluations, effort, seed, model

Opening a file reads and verifies it, and decodes nothing yet. A cut one is decoded where `ImageFile.LOAD_TRUNCATED_IMAGES` is set.
Files of several pictures have as many frames; `save_all=True, append_images=[...]` writes them, of one size, the frames of each image.
"""

import io
from typing import IO, Any

from PIL import Image, ImageFile, ImageSequence

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
    "speed",
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
    "backend",
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
        self._shown = False  # whether the current frame is the image's content
        self._frames: list[Image.Image] = []

    def load(self) -> Any:
        """Make the current frame the image's content; the first time, decode all frames.

        Raises:
            OSError: the file is cut and `ImageFile.LOAD_TRUNCATED_IMAGES` is not set, or it cannot be decoded.
        """
        if not self._shown:
            self.im = self._decoded()[self._frame].copy().im
            self.tile = []
            self._shown = True
        return super().load()

    def _decoded(self) -> list[Image.Image]:
        """Return all frames."""
        if not self._frames:
            if not self._complete and not ImageFile.LOAD_TRUNCATED_IMAGES:
                raise OSError("the file is cut: set ImageFile.LOAD_TRUNCATED_IMAGES to decode it to its last whole step")
            try:
                self._frames = api.decode_pictures(self._data)
            except DdpmcodecError as e:
                raise OSError(str(e)) from e
        return self._frames

    def seek(self, frame: int) -> None:
        """Go to a frame, numbered from 0; EOFError where there is none."""
        if self._seek_check(frame):
            self._frame = frame
            self._shown = False

    def tell(self) -> int:
        """Return the number of the current frame."""
        return self._frame

    def __getstate__(self) -> list[Any]:
        """Return the file, for copies and other processes, and the content where there is one: it may have been changed."""
        return [self._data, self.filename, self.info, self._frame, super().__getstate__() if self._shown else None]

    def __setstate__(self, state: list[Any]) -> None:
        """Open the file again, at the same frame, with the same content."""
        data, filename, info, frame, content = state
        DdpmImageFile.__init__(self, io.BytesIO(data), filename)
        self.info, self._frame = info, frame
        if content is not None:
            super().__setstate__(content)
            self._shown = True


def _save_all(image: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    """Write all frames of an image, and of those of `append_images`."""
    _save(image, fp, filename, True)


def _save(image: Image.Image, fp: IO[bytes], filename: str | bytes, several: bool = False) -> None:
    """Write an image's current frame; with `several` all of them, and those of `append_images`."""
    given = image.encoderinfo
    images = ImageSequence.all_frames([image, *given.get("append_images", [])]) if several else [image]
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
