"""No command replaces what it reads, under whatever name: a lossy file in place of the picture would be all that is left of it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ddpmcodec.models import diffusers_layout

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


@pytest.mark.parametrize("source", ["in.png", "-"])
def test_what_goes_to_stdout(names, source):
    """Appended to the picture, it would stay one, with bytes behind it."""
    command = [str(Path(sys.executable).parent / "ddpmcodec"), "encode", source, "-o", "-", *map(str, FAST)]
    before = Path("in.png").read_bytes()
    with open("in.png", "rb") as stdin, open("in.png", "ab") as stdout:
        done = subprocess.run(command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 12 and "stdout would replace its own input" in done.stderr and Path("in.png").read_bytes() == before


def test_pictures_of_a_folder(fails, folder):
    Path("set").mkdir()
    for name in ("bpd.png", "sample-00001.png"):
        shutil.copy("in.png", f"set/{name}")
    model = ("--model", "test-model")
    size = ("--size", "8x8", "-n", 2)
    assert "set/sample-00001.png" in fails(12, "sample", *model, *size, "--nearest", "set", "-o", "set/", "--steps", 2)
    assert "set/bpd.png" in fails(12, "sample", *model, *size, "--nearest", "set", "-o", "set/bpd.png", "--steps", 2)
    fails(12, "bpd", *model, "--data", "set", "-o", "set", "--steps", 2)
    fails(12, "eval", "comparison", "set", "-o", "a.json", "--plot", "set/bpd.png", *model)


def test_an_earlier_output_beside_what_is_imported_is_no_input(run, folder, paper_model):
    model = paper_model()
    diffusers_layout.write(Path("published"), model.config, model.network.state_dict())
    for _ in range(2):
        run("import", "published", "-o", "published/model.safetensors")
