"""Several inputs to a directory."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddpmcodec
from ddpmcodec.cli import decode

FAST = ("--model", "test-model", "--evaluations", 4, "--effort", 1)
COMMAND = str(Path(sys.executable).parent / "ddpmcodec")


@pytest.fixture
def photos(folder, drawing) -> list[str]:
    Path("photos").mkdir()
    for i in range(3):
        Image.fromarray(np.roll(drawing, 7 * i, 0)).save(f"photos/{i}.png")
    return [f"photos/{i}.png" for i in range(3)]


def test_a_file_each_and_a_table(run, photos, drawing):
    done = run("encode", *photos, "-o", "coded/", "--bpp", 2, "-j", 2, *FAST)
    assert sorted(p.name for p in Path("coded").iterdir()) == ["0.ddpm", "1.ddpm", "2.ddpm"]
    for i in range(3):
        expected = ddpmcodec.encode(np.roll(drawing, 7 * i, 0), model="test-model", evaluations=4, effort=1, bpp=2)
        assert Path(f"coded/{i}.ddpm").read_bytes() == expected
    lines = done.stderr.splitlines()
    assert lines[0].split() == ["file", "bytes", "bpp", "PSNR", "seconds"] and lines[-1] == "3 done, 0 failed"
    assert lines[1].split()[:2] == ["coded/0.ddpm", str(len(Path("coded/0.ddpm").read_bytes()))]

    run("decode", "coded/0.ddpm", "coded/1.ddpm", "-o", "back", "-j", 1, "--steps", 2)
    for i in range(2):
        with Image.open(f"back/{i}.png") as image:
            expected = ddpmcodec.decode(Path(f"coded/{i}.ddpm").read_bytes(), 2, model="test-model")
            assert np.array_equal(np.asarray(image), np.asarray(expected))


def test_one_file_to_a_directory_keeps_its_name(run):
    Path("out").mkdir()
    run("encode", "in.png", "-o", "out", *FAST)
    run("decode", "in.ddpm", "-o", "out")
    assert sorted(p.name for p in Path("out").iterdir()) == ["in.ddpm", "in.png"]


def test_a_file_of_several_pictures_in_a_batch(run, photos):
    run("encode", *photos, "-o", "all.ddpm", *FAST)
    run("decode", "all.ddpm", "in.ddpm", "-o", "out/", "-j", 1)
    assert sorted(str(p) for p in Path("out").rglob("*.png")) == [*(f"out/all/000{i}.png" for i in range(3)), "out/in.png"]


def test_what_is_there_is_skipped(run, photos):
    run("encode", *photos, "-o", "coded/", "-j", 1, *FAST)
    times = {p: p.stat().st_mtime_ns for p in Path("coded").iterdir()}
    Path("coded/1.ddpm").unlink()
    done = run("encode", *photos, "-o", "coded/", "-j", 1, "--skip-existing", *FAST)
    assert done.stderr.endswith("1 done, 0 failed, 2 skipped\n")
    assert {p: p.stat().st_mtime_ns == times[p] for p in sorted(times)} == dict(zip(sorted(times), (True, False, True), strict=True))


def test_a_failure_stops_none_of_the_others(folder, photos):
    Path("photos/bad.png").write_bytes(b"no picture")
    inputs = ["photos/bad.png", "nowhere.png", *photos]
    done = subprocess.run([COMMAND, "encode", *inputs, "-o", "coded/", "-j", "2", *map(str, FAST)], capture_output=True, text=True)
    assert done.returncode == 4 and "2 failed" in done.stderr and "Traceback" not in done.stderr
    assert "ddpmcodec: photos/bad.png: not a picture" in done.stderr and "ddpmcodec: nowhere.png: " in done.stderr
    assert len(list(Path("coded").iterdir())) == 3


def test_outputs_that_would_collide(fails, photos, drawing):
    Path("other").mkdir()
    Image.fromarray(drawing).save("other/0.jpg")
    assert "both become coded/0.ddpm" in fails(12, "encode", "photos/0.png", "other/0.jpg", "-o", "coded/", *FAST)
    assert "its own input" in fails(12, "decode", "in.png", "photos/1.png", "-o", "photos")
    fails(2, "decode", "in.ddpm", "in.ddpm")
    fails(12, "decode", "in.ddpm", "photos/0.png", "-o", "-")
    fails(2, "encode", "-", "in.png", "-o", "coded/", *FAST)
    fails(2, "encode", "in.png", "-o", "out.ddpm", "-j", 2, *FAST)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_stopped_from_outside(folder, photo, number, code):
    """Nothing half-written, no traceback, and no worker left."""
    for i in range(4):
        Image.fromarray(np.tile(photo, (4, 4, 1))).save(f"{i}.png")
    inputs = [f"{i}.png" for i in range(4)]
    command = [COMMAND, "encode", *inputs, "-o", "coded/", "-j", "1", "--model", "test-model", "--evaluations", "600"]

    def heed():  # where the tests run in the background, SIGINT is ignored, and children inherit that
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heed) as process:
        while not Path("coded").exists():
            time.sleep(0.1)
        time.sleep(4)
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        complaints = process.communicate(timeout=60)[1]
    assert process.returncode == code and "Traceback" not in complaints
    assert not [p for p in Path("coded").iterdir() if p.suffix != ".ddpm"]
    for _ in range(50):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.2)
    pytest.fail("a worker is left")


@pytest.mark.parametrize("name", ["..ddpm", "...ddpm"])
def test_names_that_would_lead_out_of_the_directory(run, photos, name):
    """Their stems are "." and "..", and files of several pictures become directories."""
    run("encode", *photos[:2], "-o", name, *FAST)
    Path("0000.png").write_bytes(b"precious")
    run("decode", f"./{name}", "in.ddpm", "-o", "out/", "-j", 1)
    assert Path("0000.png").read_bytes() == b"precious"
    stem = name.removesuffix(".ddpm")
    expected = [f"out/{stem}.png", f"out/{stem}.png/0000.png", f"out/{stem}.png/0001.png", "out/in.png"]
    assert sorted(map(str, Path("out").rglob("*.png"))) == sorted(expected)


def test_metadata_are_not_multiplied_without_end(run, photos, monkeypatch):
    Path("in.exif").write_bytes(b"MM\0*\0\0\0\x08\0\1\1\x0e\0\2\0\0\0\2a\0\0\0\0\0\0\0" + bytes(200))
    run("encode", *photos[:2], "-o", "two.ddpm", "--exif", "in.exif", *FAST)
    run("decode", "two.ddpm", "-o", "with/")
    monkeypatch.setattr(decode, "MAX_CARRIED", 100)
    said = run("decode", "two.ddpm", "-o", "without/").stderr
    assert "metadata are left out" in said
    with Image.open("with/0000.png") as image, Image.open("without/0000.png") as bare:
        assert "exif" in image.info and "exif" not in bare.info
