"""What a file says about its picture and its chain, before the steps."""

from dataclasses import dataclass

from ddpmcodec.channel import codeword
from ddpmcodec.models.levels import Levels

CHANNELS = 3
MAX_SIDE = 1 << 20  # in pixels, so that the element count fits 63 bits
MAX_PICTURES = 1 << 20
NETWORK_STRIDE = 16  # to multiples of which a denoiser pads both sides (the bundled one's)


@dataclass(frozen=True)
class Header:
    """The H section. `levels` and `start` say where the chain begins; `model_hash` which denoiser it needs.

    `width` and `height` are one picture's; `pictures` of this size are coded together. `gray`: of a picture's three dimensions of colour
    only luma is coded.
    """

    width: int
    height: int
    model_name: str
    model_hash: bytes
    levels: Levels
    start: int
    seed: int = 0
    orientation: int = 1
    pictures: int = 1
    gray: bool = False

    @property
    def pixels(self) -> int:
        """Of all pictures together."""
        return self.width * self.height * self.pictures

    @property
    def network_pixels(self) -> int:
        """Of all pictures as a denoiser sees them, which is what the time of decoding depends on: 256 for a picture of 1 x 1."""
        width, height = (-(-side // NETWORK_STRIDE) * NETWORK_STRIDE for side in (self.width, self.height))
        return width * height * self.pictures

    @property
    def elements(self) -> int:
        """N, the number of coded elements."""
        return self.pixels if self.gray else CHANNELS * self.pixels

    @property
    def dimensions(self) -> int:
        """D, N padded to whole rotation blocks."""
        return codeword.padded_size(self.elements, self.width)
