"""A directory with which others compare without running us: our files, the pictures they decode to, all measurements, and what they are."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ddpmcodec import atomic
from ddpmcodec.eval.codecs import Codec, Coded, Ddpm
from ddpmcodec.eval.rate_distortion import compared, fingerprint

OURS = "ddpm-files"  # each point is a file of its own, as users make them
DEFAULT = (OURS, "jpeg", "webp", "avif")
FILES, DECODED, RESULTS = "files", "decoded", "results"  # folders


@dataclass(frozen=True)
class Published(Ddpm):
    """Ours, which keeps each file and what it decodes to.

    Attributes:
        directory: where.
        names: of pictures, by their `rate_distortion.fingerprint`.
    """

    directory: str = ""
    names: Mapping[str, str] = field(default_factory=dict)

    def curve(self, pixels: np.ndarray) -> Iterator[Coded]:
        """As `Ddpm.curve`.

        Raises:
            OutputError: a file cannot be written.
        """
        name = self.names[fingerprint(pixels)].replace("/", "_")
        for coded in super().curve(pixels):
            stem = f"{name}-{coded.bytes}"
            atomic.write(Path(self.directory, FILES, f"{stem}.ddpm"), coded.data)
            atomic.write(Path(self.directory, DECODED, f"{stem}.png"), _png(coded.pixels))
            yield coded


def keeping(codec: Codec, directory: str, pictures: Sequence[tuple[str, np.ndarray]]) -> Published:
    """Return ours, keeping its files in a directory's folders `FILES` and `DECODED`, which are there."""
    assert isinstance(codec, Ddpm)
    return Published(**vars(codec), directory=directory, names={fingerprint(pixels): name for name, pixels in pictures})


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def readme(of_codecs: Mapping[str, Mapping[str, Any]], tables: Sequence[str]) -> str:
    """Return the directory's README.md.

    Args:
        of_codecs: results by name, ours among them.
        tables: in Markdown.
    """
    settings = of_codecs[OURS]["settings"]
    model, version = settings["model"], settings["versions"]["ddpmcodec"]
    count = len(compared(of_codecs[OURS]["pictures"]))
    codecs = "\n".join(f"- {name}: {result['description']}" for name, result in of_codecs.items())
    return f"""# {count} pictures by ddpmcodec {version}

- `{FILES}/PICTURE-BYTES.ddpm`: our files. `ddpmcodec decode FILE -o out.png` (`pip install ddpmcodec`) decodes them with the model
  {model["name"]}, whose hash is {model["hash"]}.
- `{DECODED}/PICTURE-BYTES.png`: what they decode to, by the CPU in fp32. Another machine may differ by a gray level here and there.
- `{RESULTS}/CODEC.json`: all measurements and settings of a codec, in the schema of CompressAI's results; `{RESULTS}/pictures.csv`:
  those of single pictures, as a table. Rates are bytes of whole files; every metric is of 8-bit RGB against the original.

The originals are not here. They are known by name and by hash: the first 16 digits of the SHA-256 of `repr(shape)` and the bytes of
their pixels, (H, W, 3) uint8, "sha256" in the JSON files.

{codecs}

{(chr(10) * 2).join(tables)}
"""
