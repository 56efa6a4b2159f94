"""Folders as inputs of encode and decode."""

import os
import shutil
from pathlib import Path

import pytest

from ddpmcodec.cli import folders

FAST = ("--model", "test-model", "--evaluations", 3, "--effort", 1, "-j", 1)


@pytest.fixture
def tree(folder):
    for path in ("photos/a.png", "photos/sub/a.png", "photos/sub/b.png", "photos/.hidden/c.png", "photos/.d.png"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("in.png", path)


def names(directory: str) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in Path(directory).rglob("*") if path.is_file())


def test_a_folder_and_back(run, tree):
    run("encode", "photos", "-o", "coded/", *FAST)
    assert names("coded") == ["a.ddpm"]
    run("encode", "photos", "-o", "coded/", "--recursive", "--skip-existing", *FAST)
    assert names("coded") == ["a.ddpm", "sub/a.ddpm", "sub/b.ddpm"]
    Path("coded/notes.txt").write_text("no file of ours")
    run("decode", "coded/", "-o", "back", "--recursive", "-j", 1)
    assert names("back") == ["a.png", "sub/a.png", "sub/b.png"]


def test_what_is_taken(tree):
    every = [("photos/a.png", ""), ("photos/sub/a.png", "sub"), ("photos/sub/b.png", "sub")]
    assert folders.listed(["photos"], "out", True, folders.is_other) == every
    assert folders.listed(["in.png", "photos/"], "out", False, folders.is_other) == [("in.png", ""), ("photos/a.png", "")]
    assert folders.listed(["photos"], "photos/sub", True, folders.is_other) == every[:1]
    assert folders.listed(["photos"], "photos", True, folders.is_other) == every
    assert folders.listed(["-", "missing"], None, False, folders.is_coded) == [("-", ""), ("missing", "")]


def test_a_folder_of_none(fails, tree):
    assert "no file to take" in fails(3, "decode", "photos", "-o", "out/", "--recursive")
    Path("empty").mkdir()
    assert "--recursive" in fails(3, "encode", "empty", "-o", "out/", *FAST)
    assert "become" in fails(12, "encode", "photos", "photos/sub/a.png", "-o", "out/", *FAST)


def test_a_folder_of_one_goes_to_a_directory(run, folder):
    Path("one").mkdir()
    shutil.copy("in.ddpm", "one/x.ddpm")
    run("decode", "one", "-o", "out", "-j", 1)
    assert names("out") == ["x.png"]


def test_links_to_nothing_are_named(tree):
    os.symlink("missing.png", "photos/sub/gone.png")
    os.mkfifo("photos/sub/pipe.png")
    found = [path for path, _ in folders.listed(["photos/sub"], "out", False, folders.is_other)]
    assert found == ["photos/sub/a.png", "photos/sub/b.png", "photos/sub/gone.png"]
