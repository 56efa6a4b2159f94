"""The installed command in real processes and pipes."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddpmcodec
from ddpmcodec import quality

COMMAND = str(Path(sys.executable).parent / "ddpmcodec")


@pytest.fixture
def png(photo):
    buffer = io.BytesIO()
    Image.fromarray(photo[:48, :60]).save(buffer, "PNG")
    return buffer.getvalue()


def test_encode_and_decode_through_pipes(png, photo, model_path, tmp_path):
    encode = [COMMAND, "encode", "-", "-o", "-", "--bpp", "3", "--evaluations", "6", "--effort", "1", "--model", model_path]
    decode = [COMMAND, "decode", "-", "-o", "-", "--model", model_path, "--reconstruct", "mean", "--orientations", "1"]
    with (
        subprocess.Popen(
            [*encode, "--threads", "2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
        ) as sender,
        subprocess.Popen(
            [*decode, "--threads", "1"], stdin=sender.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
        ) as receiver,
    ):
        sender.stdin.write(png)
        sender.stdin.close()
        out, complaints = receiver.communicate()
        summary = sender.stderr.read().decode()
    assert sender.returncode == 0 and receiver.returncode == 0
    assert complaints.count(b"\n") == 1 and b"decoded from" in complaints and b"\r" not in complaints  # no progress bar: no terminal
    assert summary.count("\n") == 1 and "bits/KL" in summary and "\r" not in summary
    with Image.open(io.BytesIO(out)) as image:
        assert image.format == "PNG" and image.size == (60, 48)
        psnr = quality.psnr(photo[:48, :60], np.asarray(image))
    assert psnr == pytest.approx(float(summary.split("PSNR ")[1].split()[0]), abs=0.05)
    assert list(tmp_path.iterdir()) == []


def test_errors_are_one_line_and_a_code(tmp_path, encoding):
    (tmp_path / "photo.ddpm").write_bytes(encoding.data[:-3] + b"\0\0\0")
    done = subprocess.run([COMMAND, "info", "photo.ddpm"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (8, "")
    assert done.stderr.startswith("ddpmcodec: ") and done.stderr.count("\n") == 1


def test_a_reader_that_goes_away(tmp_path, encoding):
    """`ddpmcodec truncate ... | head -c 0`: no traceback."""
    (tmp_path / "photo.ddpm").write_bytes(encoding.data)
    for arguments in (["truncate", "photo.ddpm", "--steps", "3", "-o", "-"], ["info", "photo.ddpm"]):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run([COMMAND, *arguments], stdout=writing, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        os.close(writing)
        assert "Traceback" not in done.stderr and done.returncode != 0


def test_writing_to_a_device(tmp_path, encoding):
    (tmp_path / "photo.ddpm").write_bytes(encoding.data)
    done = subprocess.run([COMMAND, "truncate", "photo.ddpm", "--steps", "3", "-o", "/dev/null"], capture_output=True, cwd=tmp_path)
    assert done.returncode == 0 and not Path("/dev/null").is_file()


def test_the_version(tmp_path):
    done = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and ddpmcodec.__version__ in done.stdout
