"""Codecs to compare with: Pillow's, at its defaults but for the quality."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from ddpmcodec.errors import EvaluationError


@dataclass(frozen=True)
class Anchor:
    """A codec of Pillow.

    Attributes:
        format: Pillow's name of it.
        qualities: the quality settings that make its curve.
        options: further options of Pillow's `save`.
    """

    format: str
    qualities: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def encode(self, pixels: np.ndarray, quality: int) -> bytes:
        """The file of (H, W, 3) uint8 pixels.

        Raises:
            EvaluationError: this Pillow lacks the codec, or the codec refuses the picture.
        """
        buffer = io.BytesIO()
        try:
            Image.fromarray(pixels).save(buffer, self.format, quality=quality, **self.options)
        except KeyError as e:
            raise EvaluationError(f"this Pillow cannot write {self.format}") from e
        except (OSError, ValueError) as e:
            raise EvaluationError(f"Pillow's {self.format} cannot encode {pixels.shape[1]} x {pixels.shape[0]} pixels: {e}") from e
        return buffer.getvalue()

    def decode(self, data: bytes) -> np.ndarray:
        """The pixels of a file, (H, W, 3) uint8.

        Raises:
            EvaluationError: this Pillow lacks the codec.
        """
        try:
            return np.asarray(Image.open(io.BytesIO(data), formats=[self.format]).convert("RGB"))
        except (KeyError, OSError) as e:
            raise EvaluationError(f"this Pillow cannot read {self.format}: {e}") from e

    def check(self) -> None:
        """Code a few pixels, so that a missing codec shows before long work.

        Raises:
            EvaluationError: this Pillow lacks the codec.
        """
        self.decode(self.encode(np.zeros((8, 8, 3), np.uint8), self.qualities[0]))


ANCHORS = {
    "jpeg": Anchor("JPEG", (1, 2, 3, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95)),
    "webp": Anchor("WEBP", (0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95, 100)),
    "avif": Anchor("AVIF", (5, 10, 15, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95)),
}
