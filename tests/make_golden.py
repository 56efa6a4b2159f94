"""Make the golden files of tests/ddpmcodec/test_golden.py anew: python tests/make_golden.py

Run this only when the draft format changes on purpose: a file that no longer decodes to its picture is otherwise a bug. Each
tests/data/golden-WxH.ddpm, made with the frozen test model, comes with the picture it decodes to, golden-WxH.png, and the picture
after half of its steps, golden-WxH-half.png.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from ddpmcodec import container, decoder, picture
from ddpmcodec.encoder import encode_pixels
from ddpmcodec.models import checkpoint

DATA = Path(__file__).parent / "data"


def drawing(width: int, height: int) -> np.ndarray:
    """Gradients, an edge and a disc."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 // width, y * 255 // height, (x + y) % 16 * 8 + 60], 2).astype(np.uint8)
    pixels[(x - width // 2) ** 2 + (y - height // 2) ** 2 < height**2 // 9] = (240, 200, 30)
    pixels[2 * height // 3 :, : width // 4] //= 3
    return pixels


def crop(width: int, height: int) -> np.ndarray:
    """A part of the photo."""
    with Image.open(DATA / "raccoon-1021x683.jpg") as photo:
        return np.asarray(photo.convert("RGB").crop((430, 230, 430 + width, 230 + height)))


def main() -> None:
    model = checkpoint.load(DATA / "test-model.safetensors")
    # The second has all that a file can have: steps that keep the last prediction, blocks, and checksums within the payload.
    for pixels, options in (
        (drawing(40, 33), {"bpp": 2.5, "evaluations": 8, "effort": 1, "seed": 1}),
        (crop(97, 64), {"bpp": 5, "evaluations": 6, "effort": 5, "seed": 2**62 + 5}),
        (drawing(23, 31), {"lossless": True, "evaluations": 4, "effort": 2, "seed": 2}),
    ):
        data = encode_pixels(pixels, model, **options).data
        name = f"golden-{pixels.shape[1]}x{pixels.shape[0]}"
        (DATA / f"{name}.ddpm").write_bytes(data)
        parsed = container.parse(data)
        for part, suffix in ((parsed, ""), (parsed.first(len(parsed.steps) // 2), "-half")):
            state = decoder.last_state(part, model, lambda done, total: None)
            decoded = decoder.pixels(part, state)
            Image.fromarray(decoded).save(DATA / f"{name}{suffix}.png", optimize=True)
            print(f"{name}{suffix}: {len(data)} bytes, {len(part.steps)} steps, PSNR {picture.psnr(pixels, decoded):.2f} dB")


if __name__ == "__main__":
    main()
