"""`make demo`: encode a photo once, decode it at several prefixes, and lay them out on one sheet.

python -m ddpmcodec.eval.demo PHOTO -o DIR
"""

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

import ddpmcodec
from ddpmcodec import quality

PREFIX_BPPS = (0.03, 0.1, 0.25, 0.5, 1.0)
COLUMNS = 3
CAPTION_HEIGHT = 30


def contact_sheet(panels: list[tuple[Image.Image, str]]) -> Image.Image:
    """Lay out pictures of one size in rows of `COLUMNS`, each with its caption below."""
    width, height = panels[0][0].size
    rows = -(-len(panels) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width, rows * (height + CAPTION_HEIGHT)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=18)
    for i, (panel, caption) in enumerate(panels):
        x, y = i % COLUMNS * width, i // COLUMNS * (height + CAPTION_HEIGHT)
        sheet.paste(panel, (x, y))
        draw.text((x + 8, y + height + 4), caption, "black", font)
    return sheet


def prefixes(data: bytes, pixels: np.ndarray) -> list[tuple[Image.Image, str]]:
    """Decode the longest prefixes within `PREFIX_BPPS`, with size and PSNR."""
    area = pixels.shape[0] * pixels.shape[1]
    ends = [0, *(step["end"] for step in ddpmcodec.info(data)["steps"])]
    wanted = {max((k for k, end in enumerate(ends) if 8 * end <= bpp * area), default=0) for bpp in PREFIX_BPPS}
    panels = []
    for step, image in tqdm(ddpmcodec.decode_progressive(data), "decode every prefix", len(ends), disable=None, leave=False):
        if step in wanted:
            decibel = quality.psnr(pixels, np.asarray(image))
            panels.append((image, f"first {ends[step]} bytes: {8 * ends[step] / area:.3f} bpp, {decibel:.1f} dB"))
    return panels


def make(photo: str, directory: Path) -> None:
    """Encode a photo at 1 bpp, decode it at several prefixes, and leave a contact sheet in the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    original = Image.open(photo).convert("RGB")
    begin = time.perf_counter()
    with tqdm(desc="encode", disable=None, leave=False) as bar:
        data = ddpmcodec.encode(original, bpp=max(PREFIX_BPPS), progress=lambda done, total: bar.update())
    (directory / "photo.ddpm").write_bytes(data)
    pixels = np.asarray(original)
    sheet = contact_sheet([(original, f"original, {pixels.nbytes} bytes"), *prefixes(data, pixels)])
    path = directory / "contact-sheet.png"
    sheet.save(path)
    print(f"{directory / 'photo.ddpm'}: {len(data)} bytes, encoded and decoded in {time.perf_counter() - begin:.0f} s")
    print(f"contact sheet: {path}")


def main() -> None:
    """Make the demo that the command line asks for."""
    parser = argparse.ArgumentParser(description="Encode PHOTO at 1 bpp, decode it at several prefixes, and leave a contact sheet.")
    parser.add_argument("photo", metavar="PHOTO")
    parser.add_argument("-o", "--output", type=Path, default=Path("demo-out"), metavar="DIR", help="default: demo-out")
    arguments = parser.parse_args()
    make(arguments.photo, arguments.output)


if __name__ == "__main__":
    main()
