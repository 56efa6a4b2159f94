"""A large picture, in tiles: what it takes, and that it comes back."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddpmcodec import quality

PROGRAM = """
import sys
from ddpmcodec.cli import main
main(sys.argv[1:], standalone_mode=False)
for line in open("/proc/self/status"):
    if line.startswith("VmHWM:"):  # ru_maxrss would count the process that has started this one, too
        print(line.split()[1])
"""


def run(*arguments):
    """What a command says, and its peak of memory in bytes."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=True)
    return done.stderr, 1024 * int(done.stdout.split()[-1])


@pytest.fixture(scope="module")
def large(data_dir, tmp_path_factory):
    """2100 x 1440, 3.02 megapixels: three tiles by two."""
    folder = tmp_path_factory.mktemp("large")
    with Image.open(data_dir / "raccoon-1021x683.jpg") as image:
        image.convert("RGB").resize((2100, 1440), Image.Resampling.BICUBIC).save(folder / "in.png", compress_level=1)
        image.convert("RGB").crop((0, 0, 64, 64)).save(folder / "small.png")
    return folder


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="its peak of memory is Linux's")
def test_a_large_picture(large, model_path):
    options = ["--model", model_path, "--evaluations", 3, "--effort", 1, "--bpp", 0.4]
    _, least = run("encode", large / "small.png", "-o", large / "small.ddpm", *options)
    said, most = run("encode", large / "in.png", "-o", large / "out.ddpm", *options)
    assert re.search(r"3\.0 megapixels: about \d+ (s|minutes) in the network, and 1\.4 GB of memory", said)
    assert (most - least) / 3.02e6 < 230  # bytes a pixel, a tile of the network included
    told = float(re.search(r"PSNR ([\d.]+) dB", said)[1])

    said, most = run("decode", large / "out.ddpm", "-o", large / "out.png", "--threads", 1, "--reconstruct", "mean", "--orientations", 1)
    assert "3.0 megapixels: about" in said
    assert (most - least) / 3.02e6 < 250
    with Image.open(large / "in.png") as original, Image.open(large / "out.png") as decoded:
        psnr = quality.psnr(np.asarray(original), np.asarray(decoded))
    assert abs(psnr - told) < 0.05
    assert psnr > 25
    assert "megapixels" not in run("decode", large / "small.ddpm", "-o", large / "small.png", "--model", model_path)[0]
