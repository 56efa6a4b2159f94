"""Training data: which files are pictures, how they are reduced, and what is cut of them."""

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ddpmcodec.errors import InputError
from ddpmcodec.models import crops
from ddpmcodec.models.configuration import Data, Reduce
from ddpmcodec.models.crops import Crops

CPU = torch.device("cpu")


def labelled(number, height, width):
    """A picture whose pixels say where they are: (its number, row, column)."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([np.full_like(rows, number), rows, columns], 2).astype(np.uint8)


def draw(sizes, size, count, seed=0):
    """Pixels (count, size, size, 3) of crops of labelled pictures of these sizes."""
    source = Crops([labelled(i, *s) for i, s in enumerate(sizes)], size, CPU)
    x = source.draw(count, torch.Generator().manual_seed(seed))
    assert x.shape == (count, 3, size, size) and x.dtype == torch.float32 and x.min() >= -1 and x.max() <= 1
    pixels = (x.double() + 1) * 127.5
    assert (pixels - pixels.round()).abs().max() < 1e-4
    return pixels.round().long().permute(0, 2, 3, 1).numpy()


def symmetries(square):
    """The eight pictures that flips and transposition make of one, by name."""
    flips = {(v, h): square[:: -1 if v else 1, :: -1 if h else 1] for v in (0, 1) for h in (0, 1)}
    return {(*key, t): value.swapaxes(0, 1) if t else value for key, value in flips.items() for t in (0, 1)}


def place(pixels, sizes):
    """Picture, row, column and symmetry of a crop, which is looked up in its picture."""
    size = len(pixels)
    number, top, left = pixels[0, 0, 0], pixels[..., 1].min(), pixels[..., 2].min()
    square = labelled(number, *sizes[number])[top : top + size, left : left + size]
    (symmetry,) = [key for key, value in symmetries(square).items() if np.array_equal(value, pixels)]
    return number, top, left, symmetry


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(7, 40), st.integers(7, 40)), min_size=1, max_size=5), st.integers(2, 7), st.integers(0, 2**32))
def test_every_crop_is_one_of_a_picture(sizes, size, seed):
    for pixels in draw(sizes, size, 20, seed):
        place(pixels, sizes)  # which finds exactly one


def test_every_place_and_every_symmetry_is_drawn_equally_often():
    sizes = [(10, 12)]
    places = [place(pixels, sizes)[1:] for pixels in draw(sizes, 8, 6000)]
    for values, kinds in [([p[:2] for p in places], 3 * 5), ([p[2] for p in places], 8)]:
        counts = np.array([values.count(v) for v in set(values)])
        expected = len(places) / kinds
        assert len(counts) == kinds
        assert np.all(np.abs(counts - expected) < 4.5 * expected**0.5)


def test_pictures_are_drawn_in_proportion_to_the_root_of_their_areas():
    sizes = [(16, 16), (32, 32), (64, 16), (80, 45), (16, 17)]
    roots = np.array([(a * b) ** 0.5 for a, b in sizes])
    counts = np.bincount([pixels[0, 0, 0] for pixels in draw(sizes, 8, 6000)], minlength=5)
    expected = 6000 * roots / roots.sum()
    assert np.all(np.abs(counts - expected) < 4.5 * expected**0.5)


def test_the_generator_decides():
    a, b, other = (draw([(30, 40), (20, 20)], 8, 30, seed) for seed in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, other)


def test_the_draws_are_those_of_earlier_versions():
    """A run that is resumed goes on with the crops that it would have seen."""
    digests = [hashlib.sha256(draw([(20, 30), (40, 16), (17, 17)], 8, 50, seed).astype(np.uint8).tobytes()).hexdigest() for seed in (0, 1)]
    assert [digest[:16] for digest in digests] == ["1c8cec00a19d34a3", "a5c058095a507892"]


def test_a_picture_of_the_size_of_the_crop():
    numbers = {place(pixels, [(8, 8), (8, 9)])[0] for pixels in draw([(8, 8), (8, 9)], 8, 50)}
    assert numbers == {0, 1}


def test_the_values_of_all_pixels():
    picture = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    (x,) = Crops([picture], 16, CPU).draw(1, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(np.sort(x[0].flatten().numpy()), np.arange(256) / 127.5 - 1, atol=1e-7)


def test_the_pictures_are_moved_not_copied():
    pictures = [labelled(0, 9, 9), labelled(1, 9, 9)]
    Crops(pictures, 8, CPU)
    assert pictures == []


# ---- files


def texture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two photos, one of them deeper and both of them fit for crops of 16."""
    (tmp_path / "deep er").mkdir()
    Image.fromarray(texture(20, 30)).save(tmp_path / "a.png")
    Image.fromarray(texture(40, 16, 1)).save(tmp_path / "deep er" / "b c.png")
    return tmp_path


def loaded(folder, data=None):
    notes: list[str] = []
    return crops.load(folder, data or Data(16), notes.append), notes


def test_pictures_below_a_directory(folder):
    pictures, notes = loaded(folder)
    assert notes == []
    for picture, expected in zip(pictures, [texture(20, 30), texture(40, 16, 1)], strict=True):
        assert np.array_equal(picture, expected)


def add_odd_files(folder):
    """Files that are left out, by name, and what their note says."""
    whole = Image.fromarray(texture(64, 64, 2))
    whole.save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:-300])
    whole.save(folder / "damaged.png")
    (folder / "damaged.png").write_bytes((folder / "damaged.png").read_bytes()[:200] + bytes(2000))
    (folder / "text.png").write_text("just text\n")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("ours\n")
    Image.fromarray(texture(15, 99)).save(folder / "small.png")
    Image.fromarray(np.full((32, 32), 40_000, np.uint16)).save(folder / "deep.png")
    Image.fromarray(np.full((32, 32), 0.5, np.float32)).save(folder / "float.tif")
    return {
        "cut.jpg": "left out",
        "damaged.png": "left out",
        "text.png": "left out",
        "empty.jpg": "left out",
        "notes.txt": "left out",
        "small.png": "smaller than the crop of 16",
        "deep.png": "more than 8 bits",
        "float.tif": "more than 8 bits",
    }


def test_what_is_left_out_is_named(folder):
    odd = add_odd_files(folder)
    pictures, notes = loaded(folder)
    assert sorted(p.shape[:2] for p in pictures) == [(20, 30), (40, 16)]
    assert len(notes) == len(odd)
    for name, text in odd.items():
        (note,) = [n for n in notes if str(folder / name) in n]
        assert text in note and "\n" not in note


def test_odd_but_fit(folder):
    """Grey, palette, alpha and CMYK pictures, and the first frame of a moving one, are pictures."""
    grey = np.tile(np.arange(0, 128, 4, dtype=np.uint8)[:, None], (1, 32))
    whole = Image.fromarray(np.stack([grey] * 3, 2))
    Image.fromarray(grey).save(folder / "grey.png")
    whole.convert("P").save(folder / "palette.png")
    whole.convert("RGBA").save(folder / "alpha.png")
    whole.convert("CMYK").save(folder / "cmyk.tif")
    whole.save(folder / "moving.gif", save_all=True, append_images=[Image.new("RGB", (32, 32), "red")])
    Image.fromarray(grey > 60).save(folder / "bits.png")
    whole.save(folder / "line\nbreak \N{SNOWMAN}", "png")
    whole.save(folder / "unknown.extension", "png")
    pictures, notes = loaded(folder)
    assert notes == [] and len(pictures) == 10
    odd = [p for p in pictures if p.shape[:2] == (32, 32)]
    assert len(odd) == 8 and all(p.shape == (32, 32, 3) and p.dtype == np.uint8 for p in odd)
    for p in odd:  # none of them white, black or red
        assert np.corrcoef(p.mean((1, 2)), grey.mean(1))[0, 1] > 0.7 and np.ptp(p.mean((0, 1))) < 20


def test_what_is_not_a_file_or_hidden_is_passed_over(folder):
    (folder / "loop").symlink_to(".")
    (folder / "self").symlink_to("self")
    (folder / "dangling.png").symlink_to("nowhere.png")
    (folder / "link.png").symlink_to("a.png")
    os.mkfifo(folder / "pipe.png")
    (folder / ".trash").mkdir()
    for hidden in (".hidden.png", ".trash/c.png"):
        Image.fromarray(texture(33, 33)).save(folder / hidden)
    assert [p.name for p in crops.find(folder)] == ["a.png", "b c.png", "link.png"]
    assert loaded(folder)[1] == []


def test_a_hidden_directory_may_itself_be_the_data(folder):
    folder.rename(folder.with_name(".data"))
    assert len(crops.find(folder.with_name(".data"))) == 2


def test_directories_with_nothing_to_train_on(tmp_path):
    for name in ("missing", "missing/too", "x" * 300):
        with pytest.raises(InputError, match=name):
            crops.load(tmp_path / name, Data(16))
    for name in ("empty", "hidden", "unreadable", "small"):
        (tmp_path / name).mkdir()
    Image.fromarray(texture(20, 20)).save(tmp_path / "hidden" / ".a.png")
    (tmp_path / "unreadable" / "a.png").write_bytes(b"")
    (tmp_path / "small" / "a.png").write_bytes(b"")
    Image.fromarray(texture(15, 99)).save(tmp_path / "small" / "b.png")
    for name, message in [
        ("empty", "no pictures in"),
        ("hidden", "no pictures in"),
        ("unreadable", "no readable pictures in"),
        ("small", "smaller than the crop of 16"),
        ("small/b.png", "not a directory"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            crops.load(tmp_path / name, Data(16))
        assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.fixture
def unprivileged():
    """A directory of a user who is not root; files there are made before the test calls what is returned with it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        root = os.geteuid() == 0
        yield folder, lambda: os.seteuid(65534) if root else None
        if root:
            os.seteuid(0)
        for path in [folder, *folder.iterdir()]:
            path.chmod(0o755)


def test_permissions(unprivileged):
    folder, drop = unprivileged
    for name, mode in [("closed", 0o000), ("names", 0o444), ("inner", 0o755)]:
        (folder / name).mkdir()
        Image.fromarray(texture(20, 20)).save(folder / name / "a.png")
        (folder / name).chmod(mode)
    Image.fromarray(texture(20, 20)).save(folder / "inner" / "b.png")
    (folder / "inner" / "b.png").chmod(0)
    drop()
    for name in ("closed", "names"):
        with pytest.raises(InputError, match=name):
            crops.load(folder / name, Data(16))
    pictures, notes = loaded(folder / "inner")
    assert len(pictures) == 1 and len(notes) == 1 and "b.png" in notes[0]


def gradient(height, width):
    """Of colours that change slowly: what is left of it at a smaller size is known."""
    y, x = (np.mgrid[:height, :width] + 0.5) / np.array([height, width])[:, None, None]
    return (np.stack([x, y, (x + y) / 2], 2) * 255).round().astype(np.uint8)


def test_pictures_are_reduced_as_their_names_say(tmp_path):
    for name in ("keep1.png", "half1.png", "many1.png", "keep-not.png"):
        Image.fromarray(gradient(60, 100)).save(tmp_path / name)
    rules = (Reduce("keep?.png"), Reduce("half*", factor=0.5), Reduce("many*", longest=(100, 50, 40)), Reduce("*1.png", factor=0.3))
    pictures, notes = loaded(tmp_path, Data(16, rules))
    assert notes == []
    assert [p.shape[:2] for p in pictures] == [(30, 50), (60, 100), (60, 100), (60, 100), (30, 50), (24, 40)]
    for p in pictures:
        inner = np.s_[4:-4, 4:-4]
        assert np.abs(p.astype(int) - gradient(*p.shape[:2])).astype(int)[inner].max() <= 3


def test_sizes_that_become_smaller_than_the_crop_are_left_out(tmp_path):
    Image.fromarray(gradient(60, 100)).save(tmp_path / "a.png")
    Image.fromarray(gradient(17, 100)).save(tmp_path / "b.png")
    pictures, notes = loaded(tmp_path, Data(16, (Reduce("*", longest=(100, 50, 20)),)))
    assert [p.shape[:2] for p in pictures] == [(60, 100), (30, 50), (17, 100)]
    assert notes == []
    with pytest.raises(InputError, match="smaller than the crop of 16"):
        crops.load(tmp_path, Data(16, (Reduce("*", longest=(20,)),)))


def test_pictures_are_reduced_to_squares(tmp_path):
    """CelebA-HQ: 1024 to 256 as means over squares; other factors by Lanczos' filter; nothing is enlarged."""
    Image.fromarray(texture(64, 64)).save(tmp_path / "a.png")
    Image.fromarray(texture(40, 60)).save(tmp_path / "b.png")
    Image.fromarray(texture(15, 60)).save(tmp_path / "c.png")
    pictures, notes = loaded(tmp_path, Data(16, square=True))
    assert [p.shape for p in pictures] == [(16, 16, 3)] * 2 and len(notes) == 1 and "c.png" in notes[0]
    means = texture(64, 64).reshape(16, 4, 16, 4, 3).mean((1, 3))
    assert np.abs(pictures[0] - means).max() <= 0.5
    middle = Image.fromarray(texture(40, 60)[:, 10:50])
    assert np.array_equal(pictures[1], np.asarray(middle.resize((16, 16), Image.Resampling.LANCZOS)))


def test_a_picture_that_is_too_small_once_reduced_is_said_to_be(tmp_path):
    Image.fromarray(texture(30, 40)).save(tmp_path / "large.png")
    notes: list[str] = []
    with pytest.raises(InputError, match="smaller than the crop of 16 pixels once reduced as the configuration says"):
        crops.load(tmp_path, Data(16, reduce=(Reduce("*", factor=0.5),)), notes.append)
    assert notes[0].endswith("reduced to 20x15 pixels as the configuration says, it is smaller than the crop of 16 pixels")


def test_a_picture_that_is_too_small_as_it_is(tmp_path):
    Image.fromarray(texture(10, 12)).save(tmp_path / "small.png")
    notes: list[str] = []
    with pytest.raises(InputError, match=r"smaller than the crop of 16 pixels$"):
        crops.load(tmp_path, Data(16, reduce=(Reduce("*", longest=(20,)),)), notes.append)
    assert notes[0].endswith("left out: smaller than the crop of 16 pixels")
