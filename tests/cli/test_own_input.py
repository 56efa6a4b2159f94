"""No command replaces what it reads, under whatever name: a lossy file in place of the picture would be all that is left of it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FAST = ("--model", "test-model", "--evaluations", 3, "--effort", 1)


@pytest.fixture
def names(folder):
    """Names of one picture and of one file."""
    os.symlink("in.png", "link.png")
    os.link("in.png", "hard.png")
    os.symlink("in.ddpm", "link.ddpm")
    Path("in.ddpm").rename("picture.png.ddpm")
    shutil.copy("picture.png.ddpm", "in.ddpm")
    shutil.copy("in.ddpm", "coded.png")  # a .ddpm file under a name of pictures
    os.symlink("coded.png", "coded-link.png")
    Path("frames").mkdir()
    shutil.copy("in.ddpm", "frames/step-001.png")


@pytest.mark.parametrize(
    "command",
    [
        ("encode", "in.png", "-o", "in.png", *FAST),
        ("encode", "in.png", "-o", "./in.png", *FAST),
        ("encode", "in.png", "-o", "link.png", *FAST),
        ("encode", "link.png", "-o", "in.png", *FAST),
        ("encode", "in.png", "-o", "hard.png", *FAST),
        ("encode", "in.png", "link.png", "-o", "link.png", *FAST),
        ("encode", "in.png", "-o", "in.ddpm", "--exif", "in.ddpm", *FAST),
        ("encode", "in.png", "-o", "in.ddpm", "--roi", "in.ddpm", *FAST),
        ("decode", "coded.png", "-o", "coded.png"),
        ("decode", "coded.png", "-o", "coded-link.png"),
        ("decode", "frames/step-001.png", "--every", "frames"),
        ("truncate", "in.ddpm", "-o", "in.ddpm", "--steps", 1),
        ("truncate", "link.ddpm", "-o", "in.ddpm", "--strip"),
        ("view", "in.ddpm", "-o", "in.ddpm"),
        ("view", "in.ddpm", "-o", "link.png", "--original", "in.png"),
        ("interpolate", "in.png", "in.png", "-o", "link.png"),
        ("bench", "in.png", "-o", "in.png"),
        ("report", "in.png", "-o", "in.png"),
        ("plot", "in.png", "-o", "in.png"),
        ("eval", "cut", "in.png", "-o", "in.png"),
    ],
    ids=lambda command: " ".join(map(str, command[:5])),
)
def test_an_output_that_is_an_input(fails, names, command):
    assert "would replace its own input" in fails(12, *command)


def test_in_a_batch_another_input(fails, names):
    Path("out").mkdir()
    os.symlink("../in.png", "out/picture.ddpm")
    shutil.copy("in.png", "picture.jpg")
    assert "own input in.png" in fails(12, "encode", "picture.jpg", "in.png", "-o", "out", *FAST)


def test_models(fails, folder, model_path):
    shutil.copy(model_path, "m.safetensors")
    fails(12, "import", "m.safetensors", "-o", "./m.safetensors", "--resolution", 32)
    fails(12, "encode", "in.png", "-o", "m.safetensors", "--model", "m.safetensors")


def test_what_comes_from_stdin(names):
    command = [str(Path(sys.executable).parent / "ddpmcodec"), "truncate", "-", "-o", "in.ddpm", "--steps", "1"]
    before = Path("in.ddpm").read_bytes()
    with open("in.ddpm", "rb") as stdin:
        done = subprocess.run(command, stdin=stdin, capture_output=True, text=True)
    assert done.returncode == 12 and "in.ddpm would replace its own input stdin" in done.stderr and Path("in.ddpm").read_bytes() == before
