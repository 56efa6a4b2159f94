"""Self-contained HTML pages: text, tables, figures and viewers of pictures, with nothing to fetch."""

import base64
import html
import io
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from PIL import Image

_WEB = files("ddpmcodec.eval") / "web"


def data_uri(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def picture_uri(pixels: np.ndarray) -> str:
    """(H, W, 3) or (H, W) uint8, without loss, as a data URI."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    try:
        image.save(buffer, "WEBP", lossless=True, method=4)
    except (OSError, ValueError):  # WebP ends at 16383 pixels a side
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return data_uri(buffer.getvalue(), "image/png")
    return data_uri(buffer.getvalue(), "image/webp")


def figure(svg: bytes, alt: str) -> str:
    return f'<img class="plot" alt="{html.escape(alt)}" src="{data_uri(svg, "image/svg+xml")}">'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "numbers") -> str:
    """`kind`: "numbers" or "text"."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>\n"

    return f'<table class="{kind}">\n<thead>{line(head, "th")}</thead>\n<tbody>{"".join(line(row, "td") for row in rows)}</tbody></table>'


def viewer(data: dict[str, Any]) -> str:
    """See web/viewer.js."""
    source = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    return f'<div data-viewer><script type="application/json">{source}</script></div>'


def section(title: str, *parts: str) -> str:
    return "\n".join([f"<h2>{html.escape(title)}</h2>", *parts])


def paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def document(title: str, *parts: str) -> bytes:
    """The whole page."""
    name, body = html.escape(title), "\n".join(parts)
    style, script = ((_WEB / source).read_text() for source in ("style.css", "viewer.js"))
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{name}</title>
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
