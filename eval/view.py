"""One file as a page: its picture at every prefix, and what it is made of."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from ddpmcodec import api, decoder, picture, quality
from ddpmcodec.denoiser import Denoiser
from ddpmcodec.eval import curves, figures, page
from ddpmcodec.format.container import NAMES, Container
from ddpmcodec.progress import Progress


def prefixes(parsed: Container, denoiser: Denoiser, progress: Progress) -> Iterator[tuple[int, Image.Image]]:
    """Yield bytes, and the picture that they decode to (of several the first), wherever the chain evaluates the network."""
    payload = next(section.offset for section in parsed.sections if section.type == "P")
    tail = next((section.offset + section.size for section in parsed.sections if section.type == "L"), 0)
    whole, total = len(parsed.messages), len(decoder.evaluated_levels(parsed))
    found = 0
    for state in decoder.states(parsed, denoiser):
        if state.index == whole or parsed.steps[state.index].evaluate:
            at_end = state.index == len(parsed.steps) and parsed.tail is not None
            size = tail if at_end else parsed.ends[state.index - 1] if state.index else payload
            yield size, picture.to_images(decoder.pixels(parsed, state), parsed)[0]
            found += 1
            progress(found, total)


def view(data: bytes, name: str, shown: Iterable[tuple[int, Image.Image]], original: Image.Image | None = None) -> bytes:
    """Return the page.

    Args:
        name: of the file.
        shown: of `prefixes`.
        original: the picture that was encoded, of the same size.

    Raises:
        ImportError: matplotlib, which draws the curve where there is an original, is missing.
    """
    info = api.info(data)
    area = info["width"] * info["height"] * info["pictures"]
    files: list[dict[str, Any]] = []
    before = None if original is None else np.asarray(original.convert("RGB"))
    for size, image in shown:
        entry: dict[str, Any] = {"bytes": size, "bpp": 8 * size / area, "psnr": None}
        entry |= {"src": page.picture_uri(image), "small": page.thumbnail_uri(image)}
        if before is not None:
            psnr = quality.psnr(before, np.asarray(image.convert("RGB")), _visible(image))
            entry["psnr"] = psnr
            if math.isinf(psnr):
                del entry["psnr"]
        files.append(entry)
    others = {}
    parts = []
    if original is not None:
        others["original"] = [{"bytes": 3 * area, "bpp": 24.0, "src": page.picture_uri(original)}]
        points = [(each["bpp"], each["psnr"]) for each in files if "psnr" in each]
        if points:
            curve = curves.Curve(name, "", tuple(rate for rate, _ in points), {"psnr-rgb": tuple(value for _, value in points)})
            parts.append(
                page.section("Rate and distortion", page.figure(figures.rate_distortion([curve], kind="svg"), "PSNR over the rate"))
            )
    sections = [
        [f"{s['type']}, {NAMES.get(s['type'], 'not known')}", str(s["offset"]), str(s["size"]), "" if s["whole"] else "cut"]
        for s in info["sections"]
    ]
    steps = [
        [str(s["step"]), str(s["level"]), f"{s['sigma']:.2f}", str(s["bits"]), str(s["end"]), "" if s["evaluate"] else "kept"]
        for s in info["steps"]
    ]
    facts = f"{info['width']} x {info['height']} {info['mode']}, {info['bytes']} bytes, {info['bpp']:.4f} bpp"
    whole = info["width"], info["height"]
    width, height = page.shown_size(*whole)
    facts += f"; {info['model']} {info['model_hash']}, format version {info['format_version']}, seed {info['seed']}."
    reduced = "" if (width, height) == whole else f" Pictures are shown at {width} x {height}."
    return page.document(
        name,
        page.paragraph(facts + reduced),
        page.viewer({"name": name, "files": files, "others": others, "start": len(files) - 1}),
        *parts,
        page.section("Sections", page.table(["section", "offset", "bytes", ""], sections)),
        page.section("Steps", page.table(["step", "level", "sigma", "bits", "end", "x0hat"], steps)),
    )


def _visible(image: Image.Image) -> np.ndarray | None:
    return np.asarray(image.getchannel("A")) > 0 if "A" in image.mode else None
