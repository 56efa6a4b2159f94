"""A thousand pictures in one process, and several processes at work in one place: minutes, so they run with `make long`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddpmcodec

COMMAND = str(Path(sys.executable).parent / "ddpmcodec")
PICTURES, SETTLED, LARGEST = 1000, 100, 96  # how many, after how many memory is measured first, and sides up to
THOUSAND = """
import json, sys
import numpy as np
from PIL import Image
import ddpmcodec

def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096

photo = np.asarray(Image.open(sys.argv[1]).convert("RGB"))
count, settled, largest = map(int, sys.argv[2:])
rng = np.random.default_rng(0)
after = {}
for i in range(1, count + 1):
    height, width = rng.integers(1, largest + 1, 2)
    top, left = rng.integers(0, photo.shape[0] - height), rng.integers(0, photo.shape[1] - width)
    pixels = photo[top : top + height, left : left + width]
    if i % 3 == 0:
        pixels = pixels[..., 0]  # gray
    lossless = i % 10 == 0
    data = ddpmcodec.encode(pixels, seed=i, evaluations=3, effort=1, lossless=lossless)
    decoded = np.asarray(ddpmcodec.decode(data))
    assert decoded.shape == pixels.shape and (not lossless or np.array_equal(decoded, pixels))
    after[i] = resident()
json.dump([after[settled], after[count]], sys.stdout)
"""


@pytest.mark.long
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")
def test_memory_is_flat_over_a_thousand_pictures(data_dir):
    photo = str(data_dir / "raccoon-1021x683.jpg")
    arguments = [sys.executable, "-c", THOUSAND, photo, *map(str, (PICTURES, SETTLED, LARGEST))]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, check=True)
    settled, end = json.loads(done.stdout)
    print(f"\nresident: {settled / 2**20:.0f} MiB after {SETTLED} pictures, {end / 2**20:.0f} MiB after {PICTURES}")
    assert end <= 1.1 * settled


@pytest.mark.long
def test_processes_that_share_an_output_and_a_cache(tmp_path, data_dir, model_path):
    """Each of 8 encodes the same 12 pictures into one directory, with one cache of compiled code, empty at first."""
    (tmp_path / "in").mkdir()
    with Image.open(data_dir / "raccoon-1021x683.jpg") as photo:
        for i in range(12):
            photo.crop((40 * i, 30 * i, 40 * i + 61 + i, 30 * i + 45)).save(tmp_path / "in" / f"{i}.png")
    pictures = sorted(map(str, (tmp_path / "in").iterdir()))
    options = ["--model", model_path, "--evaluations", "4", "--effort", "2", "--threads", "1"]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    encode = [COMMAND, "encode", *pictures, "-o", str(tmp_path / "out") + os.sep, *options]
    processes = [subprocess.Popen(encode, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    complaints = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, complaints
    written = sorted((tmp_path / "out").iterdir())
    assert len(written) == 12
    for path, source in zip(written, pictures, strict=True):
        with Image.open(source) as image:
            alone = ddpmcodec.encode(image, model=model_path, evaluations=4, effort=2)
        data = path.read_bytes()
        assert len(data) == len(alone) and np.asarray(ddpmcodec.decode(data)).shape == np.asarray(ddpmcodec.decode(alone)).shape
        assert data == alone
    print("\n8 processes, 12 files, each byte for byte what one process alone writes")
