"""A large picture, in tiles: what it takes, and that it comes back."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ddpmcodec import quality

PROGRAM = """
import resource, sys
from ddpmcodec.cli import main
main(sys.argv[1:], standalone_mode=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


def run(*arguments):
    """What a command says, and its peak of memory in bytes."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=True)
    return done.stderr, int(done.stdout.split()[-1])


@pytest.fixture(scope="module")
def large(data_dir, tmp_path_factory):
    """2600 x 1700, 4.4 megapixels: three tiles by two."""
    folder = tmp_path_factory.mktemp("large")
    with Image.open(data_dir / "raccoon-1021x683.jpg") as image:
        image.convert("RGB").resize((2600, 1700), Image.Resampling.BICUBIC).save(folder / "in.png", compress_level=1)
        image.convert("RGB").crop((0, 0, 64, 64)).save(folder / "small.png")
    return folder


def test_a_large_picture(large, model_path):
    options = ["--model", model_path, "--evaluations", 3, "--effort", 1, "--bpp", 0.4]
    _, least = run("encode", large / "small.png", "-o", large / "small.ddpm", *options)
    said, most = run("encode", large / "in.png", "-o", large / "out.ddpm", *options)
    assert re.search(r"4\.4 megapixels: about \d+ (s|minutes) in the network, and 1\.7 GB of memory", said)
    assert (most - least) / 4.42e6 < 200  # bytes a pixel, a tile of the network included
    told = float(re.search(r"PSNR ([\d.]+) dB", said)[1])

    said, most = run("decode", large / "out.ddpm", "-o", large / "out.png", "--threads", 1)
    assert "4.4 megapixels: about" in said
    assert (most - least) / 4.42e6 < 200
    with Image.open(large / "in.png") as original, Image.open(large / "out.png") as decoded:
        psnr = quality.psnr(np.asarray(original), np.asarray(decoded))
    assert abs(psnr - told) < 0.05
    assert psnr > 25
    assert "megapixels" not in run("decode", large / "small.ddpm", "-o", large / "small.png", "--model", model_path)[0]
