"""Every way to fail: its exit code, one line on stderr, and nothing written (the `fails` fixture looks)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from ddpmcodec.format import container

PICTURE, FOREIGN, VERSION, CUT, CORRUPT, MODEL, LIMIT, RATE, OUTPUT, UNREADABLE = 4, 5, 6, 7, 8, 9, 10, 11, 12, 3
ENCODE = ("--model", "test-model", "--evaluations", "3", "--effort", "1")


@pytest.fixture
def old():
    """An output that exists already, and has to stay as it is."""
    Path("old.ddpm").write_bytes(b"precious")
    Path("old.png").write_bytes(b"precious")


def commands(file):
    """Every command that reads a .ddpm file."""
    return [
        ("decode", file, "-o", "old.png"),
        ("decode", file, "-o", "new.png"),
        ("decode", file, "-o", "-"),
        ("decode", file, "--every", "frames"),
        ("info", file),
        ("info", file, "--json"),
        ("truncate", file, "-o", "old.ddpm", "--steps", "1"),
        ("truncate", file, "-o", "-", "--steps", "1"),
    ]


def broken(data):
    """Name, exit code and bytes of files that cannot be decoded."""
    table = next(s for s in container.parse(data).sections if s.type == "T")
    flipped = bytearray(data)
    flipped[-15] ^= 16
    version = bytearray(data)
    version[9] = 77
    return [
        ("empty", FOREIGN, b""),
        ("text", FOREIGN, b"just text\n"),
        ("picture", FOREIGN, b"\x89PNG\r\n\x1a\n" + bytes(100)),
        ("version", VERSION, bytes(version)),
        ("cut in the header", CUT, data[:20]),
        ("cut in the table", CUT, data[: table.offset + table.size - 1]),
        ("damaged", CORRUPT, bytes(flipped)),
        ("too long", CORRUPT, data + b"more"),
    ]


@pytest.mark.parametrize(
    "options",
    [
        ("--device", "vulkan:999"),
        ("--device", "vulkan:0", "--backend", "torch"),
        ("--device", "vulkan:0", "--model", "tiny"),
        ("--device", "mps" if sys.platform == "linux" else "cuda"),
        ("--device", "cpu", "--model", "tiny", "--backend", "ncnn"),
        ("--precision", "fp16"),
    ],
    ids=" ".join,
)
def test_devices_that_are_not_here_or_cannot_run_it(fails, folder, old, options):
    fails(MODEL, "encode", "in.png", "-o", "old.ddpm", *ENCODE, *options)
    if "--model" not in options:
        fails(MODEL, "decode", "in.ddpm", "-o", "old.png", *options)


def test_a_device_without_such_a_name(fails):
    said = fails(2, "encode", "in.png", "-o", "new.ddpm", *ENCODE, "--device", "vulkan:x")
    assert "device 'vulkan:x' is not one of auto, cpu, vulkan, cuda, mps, xpu, vulkan:N" in said


def test_files_that_cannot_be_decoded(fails, folder, old, drawing_encoding):
    for name, code, data in broken(drawing_encoding.data):
        Path("bad.ddpm").write_bytes(data)
        for command in commands("bad.ddpm"):
            fails(code, *command)
        fails(code, "info", "-", input=data)
        assert name


def test_unreadable_inputs(fails, folder, old):
    Path("directory").mkdir()
    for path in ("missing", "directory", "missing/too", "in.png/too"):
        for command in (*commands(path), ("encode", path, "-o", "old.ddpm", *ENCODE), ("encode", path, "-o", "-", *ENCODE)):
            message = fails(UNREADABLE, *command)
            assert path in message


def pictures_that_cannot_be_coded():
    rgb = Image.new("RGB", (8, 8))
    Path("empty.png").write_bytes(b"")
    Path("text.png").write_text("just text\n")
    Image.fromarray(np.zeros((8, 8), np.uint16)).save("deep.png")
    rgb.save("frames.gif", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")])
    Path("cut.png").write_bytes(Path("in.png").read_bytes()[:-200])
    return ["empty.png", "text.png", "deep.png", "frames.gif", "cut.png", "in.ddpm"]


def test_pictures_that_cannot_be_coded(fails, folder, old):
    for name in pictures_that_cannot_be_coded():
        fails(PICTURE, "encode", name, "-o", "old.ddpm", *ENCODE)
        fails(PICTURE, "encode", "-", "-o", "-", *ENCODE, input=Path(name).read_bytes())


def test_models(fails, folder, old, discrete_model_path, monkeypatch):
    shutil.copy("in.png", "fake.safetensors")
    for model in ("nowhere", "/nowhere.safetensors", "fake.safetensors", "."):
        fails(MODEL, "encode", "in.png", "-o", "old.ddpm", "--model", model)
        fails(MODEL, "decode", "in.ddpm", "-o", "old.png", "--model", model)
    assert "test-model" in fails(MODEL, "decode", "in.ddpm", "-o", "old.png", "--model", discrete_model_path)
    fails(MODEL, "decode", "in.ddpm", "--every", "frames", "--model", discrete_model_path)
    monkeypatch.delenv("DDPMCODEC_MODELS")
    assert "--model" in fails(MODEL, "decode", "in.ddpm", "-o", "old.png")


def test_limits(fails, run, old):
    size = 61 * 45
    assert f"{size - 1}" in fails(LIMIT, "encode", "in.png", "-o", "old.ddpm", "--max-pixels", size - 1, *ENCODE)
    fails(LIMIT, "decode", "in.ddpm", "-o", "old.png", "--max-pixels", size - 1)
    run("encode", "in.png", "-o", "new.ddpm", "--max-pixels", size, *ENCODE)
    run("decode", "in.ddpm", "-o", "new.png", "--max-pixels", size)


def test_a_rate_that_no_file_has(fails, old):
    assert "0.05 bpp" in fails(RATE, "encode", "in.png", "-o", "old.ddpm", "--bpp", "0.05", *ENCODE)


def test_outputs_that_cannot_be_written(fails, folder):
    Path("directory.png").mkdir()
    for path in ("nowhere/out", "in.png/out"):
        fails(OUTPUT, "encode", "in.png", "-o", path, *ENCODE)
    for path in ("nowhere/out", "in.png/out", "directory.png"):
        fails(OUTPUT, "truncate", "in.ddpm", "-o", path, "--steps", "1")
    for path in ("nowhere/out.png", "in.png/out.png", "out.xyz", "out", "out.ddpm"):
        fails(OUTPUT, "decode", "in.ddpm", "-o", path)
    fails(OUTPUT, "encode", "in.png", "-o", "in.png/", *ENCODE)
    fails(OUTPUT, "decode", "in.ddpm", "--every", "in.png/frames")
    fails(2, "decode", "in.ddpm", "--every", "in.png")


def test_a_full_disk_leaves_the_old_file(folder, old, monkeypatch):
    """What cannot be written whole does not replace what was there: a limit on the size of files stands for a full disk."""
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); from ddpmcodec.cli import main; main(sys.argv[1:])"
    )
    arguments = ["truncate", "in.ddpm", "-o", "old.ddpm", "--steps", "99"]
    result = subprocess.run([sys.executable, "-B", "-c", program, *arguments], capture_output=True, text=True)
    assert result.returncode == OUTPUT and result.stderr.count("\n") == 1 and result.stderr.startswith("ddpmcodec: old.ddpm: ")
    assert Path("old.ddpm").read_bytes() == b"precious"
    assert sorted(os.listdir()) == ["in.ddpm", "in.png", "old.ddpm", "old.png"]


def test_errors_in_a_real_process(folder):
    command = str(Path(sys.executable).with_name("ddpmcodec"))
    for code, arguments in ((FOREIGN, ["info", "in.png"]), (UNREADABLE, ["decode", "missing", "-o", "out.png"]), (2, ["encode"])):
        result = subprocess.run([command, *arguments], capture_output=True, text=True)
        assert result.returncode == code and result.stdout == "" and "Traceback" not in result.stderr


def test_what_files_say_does_nothing_to_a_terminal(fails, run, folder):
    """Escape sequences in a profile, in a model's configuration and in names."""
    profile = bytes(16) + b"\x1bc\n\x9b" + bytes(108)
    Image.new("RGB", (8, 8)).save("profile.png", icc_profile=profile)
    said = run("encode", "profile.png", "-o", "out.ddpm", "--model", "test-model", "--evaluations", 2, "--effort", 1).stderr
    assert "\\x1bc\\n\\x9b" in said and said.replace("\n", "").isprintable() and len(said.splitlines()) == 2
    save_file({}, "model.safetensors", {"name": "m", "config": '{"architecture": "ddpm-unet", "\\u001b[2J": 1}'})
    assert "\\x1b[2J" in fails(9, "encode", "in.png", "-o", "out.ddpm", "--model", "model.safetensors")
    for name in ("\x1b[31m.ddpm", "\udcff.ddpm"):
        assert fails(3, "info", name)[:-1].isprintable()
