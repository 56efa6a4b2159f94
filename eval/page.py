"""Self-contained HTML pages: text, tables, figures and viewers of pictures, with nothing to fetch."""

import base64
import html
import io
import json
import math
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from PIL import Image, features

_WEB = files("ddpmcodec.eval") / "web"
MAX_PIXELS = 1_250_000  # of a picture that is shown: a page is 1080 pixels wide, and has dozens of them
THUMBNAIL = (160, 48)


def data_uri(data: bytes, media_type: str) -> str:
    """Return data as a link that has them in it."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def shown_size(width: int, height: int) -> tuple[int, int]:
    """Return the size at which a page has a picture: its own, or the largest of its form with `MAX_PIXELS`."""
    scale = min(1.0, math.sqrt(MAX_PIXELS / (width * height)))
    return max(1, int(width * scale)), max(1, int(height * scale))


def picture_uri(image: Image.Image) -> str:
    """Return a picture of mode L, LA, RGB or RGBA at its `shown_size` as a data URI: AVIF whose errors are not seen, 4:4:4; else WebP
    without loss, where Pillow has no AVIF."""
    size = shown_size(*image.size)
    image = image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)
    if features.check("avif"):
        return _saved(image, "avif", quality=90, subsampling="4:4:4", speed=8, max_threads=1)
    try:
        return _saved(image, "webp", lossless=True)
    except (OSError, ValueError):  # WebP ends at 16383 pixels a side
        return _saved(image, "png")


def thumbnail_uri(image: Image.Image) -> str:
    """Return a picture within `THUMBNAIL`, as a data URI."""
    small = image.copy()
    small.thumbnail(THUMBNAIL)
    return _saved(small, "webp", quality=70)


def _saved(image: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return data_uri(buffer.getvalue(), f"image/{kind}")


def figure(svg: bytes, alt: str) -> str:
    """Return a figure as HTML."""
    return f'<div class="scroll"><img class="plot" alt="{html.escape(alt)}" src="{data_uri(svg, "image/svg+xml")}"></div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "numbers") -> str:
    """Return a table as HTML, which scrolls where the page is too narrow for it.

    Args:
        kind: "numbers" or "text".
    """

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>\n"

    body = f"<thead>{line(head, 'th')}</thead>\n<tbody>{''.join(line(row, 'td') for row in rows)}</tbody>"
    return f'<div class="scroll"><table class="{kind}">\n{body}</table></div>'


def viewer(data: dict[str, Any]) -> str:
    """Return a viewer of pictures as HTML: web/viewer.js says what it is given."""
    source = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    return f'<div data-viewer><script type="application/json">{source}</script></div>'


def section(title: str, *parts: str) -> str:
    """Return a part of the page with its heading."""
    return "\n".join([f"<h2>{html.escape(title)}</h2>", *parts])


def paragraph(text: str) -> str:
    """Return text as HTML."""
    return f"<p>{html.escape(text)}</p>"


def document(title: str, *parts: str) -> bytes:
    """Return the whole page."""
    name, body = html.escape(title), "\n".join(parts)
    style, script = ((_WEB / source).read_text() for source in ("style.css", "viewer.js"))
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{name}</title>
<style>
{style}</style></head>
<body>
<h1>{name}</h1>
{body}
<script>
{script}</script>
</body>
</html>
""".encode(errors="backslashreplace")  # names of files may not be text
