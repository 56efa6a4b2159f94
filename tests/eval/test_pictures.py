"""Which pictures an evaluation runs over."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddpmcodec.errors import DdpmcodecError, InputError, PictureError
from ddpmcodec.eval import pictures


def picture(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(path)
    return path


def test_files_are_sorted_and_every_nth_is_taken(tmp_path: Path):
    for name in "dbeac":
        picture(tmp_path / f"{name}.png")
    picture(tmp_path / "deeper" / "z.png")
    (tmp_path / ".hidden").touch()
    assert [p.stem for p in pictures.find([str(tmp_path)])] == list("abcde")
    assert [p.stem for p in pictures.find([str(tmp_path)], stride=2)] == list("ace")


def test_named_files_keep_their_order_and_appear_once(tmp_path: Path):
    a, b = picture(tmp_path / "a.png"), picture(tmp_path / "b.png")
    assert pictures.find([str(b), str(a), str(tmp_path)]) == [b, a]


@pytest.mark.parametrize("name", ["", "missing"])
def test_nothing_there(tmp_path: Path, name: str):
    with pytest.raises(InputError):
        pictures.find([str(tmp_path / name)])


def test_unreadable_pictures_are_told_and_skipped(tmp_path: Path):
    good = picture(tmp_path / "good.png", 7)
    broken = tmp_path / "broken.png"
    broken.write_bytes(good.read_bytes()[:50])
    text = tmp_path / "text.txt"
    text.write_text("no picture")
    gone = tmp_path / "gone.png"
    told: dict[Path, DdpmcodecError] = {}
    loaded = list(pictures.load([broken, text, gone, good], told.__setitem__))
    assert [name for name, _ in loaded] == ["good.png"]
    assert np.array_equal(loaded[0][1], np.full((4, 6, 3), 7, np.uint8))
    assert {path: type(error) for path, error in told.items()} == {broken: PictureError, text: PictureError, gone: InputError}


def test_two_pictures_of_one_name_stay_apart(tmp_path: Path):
    paths = [picture(tmp_path / "x" / "a.png", 1), picture(tmp_path / "y" / "a.png", 2), picture(tmp_path / "y" / "b.png", 3)]
    loaded = dict(pictures.load(paths, lambda path, error: pytest.fail(str(error))))
    assert {name: int(pixels[0, 0, 0]) for name, pixels in loaded.items()} == {str(paths[0]): 1, str(paths[1]): 2, "b.png": 3}


def test_pages_are_of_files_with_several(tmp_path: Path):
    a, b = (Image.new("RGB", (4, 6), colour) for colour in ("red", "blue"))
    a.save(tmp_path / "two.tif", save_all=True, append_images=[b])
    picture(tmp_path / "one.png", 7)
    found = dict(pictures.load(pictures.find([str(tmp_path)]), lambda path, error: None, 2))
    assert found["two.tif"][0, 0].tolist() == [0, 0, 255] and found["one.png"][0, 0].tolist() == [7, 7, 7]


def test_names_are_fit_to_be_printed(tmp_path: Path):
    """Neither a line break nor bytes that are no text end up in tables and results."""
    for name in (b"a\nb.png", b"\xff.png"):
        os.rename(picture(tmp_path / "x.png"), os.path.join(os.fsencode(tmp_path), name))
    assert [name for name, _ in pictures.load(pictures.find([str(tmp_path)]), lambda path, error: None)] == ["a\\nb.png", "\\udcff.png"]
