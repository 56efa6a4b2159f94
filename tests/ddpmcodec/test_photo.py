"""A photo with the bundled weights, through the installed command: encoded in one process, decoded in another."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from ddpmcodec import quality

COMMAND = str(Path(sys.executable).with_name("ddpmcodec"))


def run(*arguments):
    return subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, check=True)


def test_a_photo_is_decoded_as_the_encoder_saw_it(data_dir, tmp_path):
    photo, file, out = tmp_path / "photo.png", tmp_path / "photo.ddpm", tmp_path / "out.png"
    with Image.open(data_dir / "raccoon-1021x683.jpg") as whole:
        whole.crop((300, 150, 861, 531)).save(photo)
    summary = run("encode", photo, "-o", file, "--threads", 2, "--evaluations", 5, "--bpp", 0.3, "--effort", 1).stderr
    run("decode", file, "-o", out, "--threads", 1)
    assert 0.29 * 561 * 381 / 8 < file.stat().st_size <= 0.3 * 561 * 381 / 8
    told = float(re.search(r"PSNR ([\d.]+) dB", summary)[1])
    with Image.open(photo) as original, Image.open(out) as decoded:
        psnr = quality.psnr(np.asarray(original.convert("RGB")), np.asarray(decoded))
    assert abs(psnr - told) < 0.05
    assert psnr > 26
