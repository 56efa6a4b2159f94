"""docs/ddpm.magic, as file(1) reads it."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ddpmcodec.format import container
from ddpmcodec.format.container import Container

MAGIC = Path(__file__).parents[2] / "docs/ddpm.magic"


@pytest.fixture
def described(tmp_path):
    """What file(1) says of files."""
    if shutil.which("file") is None:
        pytest.skip("needs file(1)")

    def described(data: list[bytes], *options: str) -> list[str]:
        paths = [tmp_path / f"{i}.ddpm" for i in range(len(data))]
        for path, content in zip(paths, data, strict=True):
            path.write_bytes(content)
        done = subprocess.run(["file", "-b", *options, "-m", MAGIC, *paths], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    return described


def test_sizes(described, header):
    sides = [1, 8, 127, 128, 129, 200, 255, 256, 300, 683, 768, 1021, 8191, 8192, 16383]
    sizes = [(8, 8), (200, 300), (1021, 683), (3, 16383), *((side, 16384 - side) for side in sides)]
    files = [container.serialize(Container(replace(header, width=w, height=h), (), ())) for w, h in sizes]
    assert described(files) == [f"DDPM progressive image, version 1, {w} x {h}" for w, h in sizes]


def test_every_side_of_two_bytes(described, header):
    """One of each line of the table."""
    sides = [128 * k + 5 * k % 128 for k in range(1, 128)]
    files = [container.serialize(Container(replace(header, width=side, height=7), (), ())) for side in sides]
    assert described(files) == [f"DDPM progressive image, version 1, {side} x 7" for side in sides]


def test_long_sides_are_not_worked_out(described, header):
    files = [container.serialize(Container(replace(header, width=w, height=h), (), ())) for w, h in ((20000, 3), (300, 1 << 20))]
    assert described(files) == [f"DDPM progressive image, version 1, {size}" for size in ("16384 or more x 3", "300 x 16384 or more")]


def test_real_files_and_what_is_none(described, drawing_encoding):
    data = drawing_encoding.data
    later = data[:9] + bytes([2]) + data[10:]
    whole, cut, version, none = described([data, data[:10], later, data[1:]])
    assert whole == "DDPM progressive image, version 1, 61 x 45"
    assert (cut, version) == ("DDPM progressive image, version 1", "DDPM progressive image, version 2")
    assert "DDPM" not in none


def test_mime(described, drawing_encoding):
    assert described([drawing_encoding.data], "--mime-type") == ["image/x-ddpm"]
    assert described([drawing_encoding.data], "--extension") == ["ddpm"]
