"""`ddpmcodec install-desktop`, with the real tools where they are."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from ddpmcodec.cli import desktop

OTHERS = """<?xml version="1.0" encoding="UTF-8"?>
<delegatemap>
  <delegate decode="dvi" command="&quot;dvips&quot; -o &quot;%o&quot; &quot;%i&quot;"/>
</delegatemap>
"""


@pytest.fixture
def home(folder, monkeypatch):
    """Where the user's files go: data and config."""
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    return folder


def test_what_is_installed_is_taken_back(home, run):
    before = sorted(home.rglob("*"))
    printed = run("install-desktop", "--user", "--dry-run").stdout
    assert sorted(home.rglob("*")) == before
    run("install-desktop", "--user")
    for path in ("data/mime/packages/ddpmcodec.xml", "data/thumbnailers/ddpmcodec.thumbnailer", "config/ImageMagick/delegates.xml"):
        assert (home / path).read_text() in printed
    run("install-desktop", "--user")  # again: nothing twice
    assert (home / "config/ImageMagick/delegates.xml").read_text() in printed
    run("install-desktop", "--user", "--uninstall")
    left = [path for path in home.rglob("*") if path.is_file() and path.name not in ("in.png", "in.ddpm")]
    assert not [path for path in left if "ddpm" in path.name or path.name == "delegates.xml"]


def test_other_delegates_stay(home, run):
    path = home / "config/ImageMagick/delegates.xml"
    path.parent.mkdir(parents=True)
    path.write_text(OTHERS)
    run("install-desktop", "--user")
    assert path.read_text().startswith(OTHERS.removesuffix("</delegatemap>\n")) and 'decode="ddpm"' in path.read_text()
    run("install-desktop", "--user", "--uninstall")
    assert path.read_text() == OTHERS


@pytest.mark.parametrize("content", [b"", b"<policymap></policymap>", b"\xff\xfe"])
def test_delegates_that_are_none(home, fails, content):
    path = home / "config/ImageMagick/delegates.xml"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert str(path) in fails(12, "install-desktop", "--user")


def test_a_directory_that_cannot_be_made(home, fails):
    (home / "data").write_text("a file")
    assert "--user" in fails(12, "install-desktop", "--user")


def test_a_path_with_odd_characters_is_quoted():
    words = ["/opt/a b & c/ddpmcodec"]
    [line] = [line for line in desktop.thumbnailer(words).splitlines() if line.startswith("Exec=")]
    assert shlex.split(line.removeprefix("Exec="))[0] == words[0]
    assert "&amp;" in desktop.delegates(words)[0]


@pytest.mark.skipif(not shutil.which("update-mime-database"), reason="needs shared-mime-info")
def test_the_mime_type_is_known(home, run):
    run("install-desktop", "--user")
    assert "image/x-ddpm:*.ddpm" in (home / "data/mime/globs2").read_text()
    assert b"\x89DDPM\r\n\x1a\n" in (home / "data/mime/magic").read_bytes()
    if query := shutil.which("xdg-mime"):
        done = subprocess.run([query, "query", "filetype", "in.ddpm"], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "image/x-ddpm"


@pytest.mark.skipif(not shutil.which("convert"), reason="needs ImageMagick")
def test_imagemagick_reads_and_writes(home, run, model_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(Path(sys.executable).with_name("ddpmcodec"))])
    run("install-desktop", "--user")
    known = subprocess.run(["convert", "-list", "delegate"], capture_output=True, text=True, check=True).stdout
    if "ddpm" not in known:
        pytest.skip("this ImageMagick does not read the user's delegates")
    environment = {**os.environ, "DDPMCODEC_MODELS": str(Path(model_path).parent)}
    subprocess.run(["convert", "in.ddpm", "out.png"], env=environment, check=True)
    run("decode", "in.ddpm", "-o", "whole.png")
    with Image.open("out.png") as converted, Image.open("whole.png") as whole:
        assert converted.convert("RGB").tobytes() == whole.convert("RGB").tobytes()


def test_the_thumbnailers_command(home, run, monkeypatch):
    """Its output may have any name."""
    monkeypatch.setattr(sys, "argv", [str(Path(sys.executable).with_name("ddpmcodec"))])
    command = next(line for line in desktop.thumbnailer(desktop.program()).splitlines() if line.startswith("Exec="))
    words = shlex.split(command.removeprefix("Exec=").replace("%s", "32").replace("%i", "in.ddpm").replace("%o", "thumb.XY12"))
    assert words[0] == sys.argv[0]
    run(*words[1:])
    with Image.open("thumb.XY12") as image:
        assert image.format == "PNG" and max(image.size) == 32
