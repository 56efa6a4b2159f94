"""Data sets, made here in the layouts of their authors, read back exactly or refused."""

import contextlib
import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from ddpmcodec import opening
from ddpmcodec.errors import InputError
from ddpmcodec.models import crops, datasets
from ddpmcodec.models.configuration import Data

CPU = torch.device("cpu")


def pictures(count, side=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def planes(arrays):
    return np.ascontiguousarray(arrays.transpose(0, 3, 1, 2)).reshape(len(arrays), -1)


# Bytes of pickles of Python 2 and numpy 1: how an empty array and a dtype are begun, and how a dtype ends.
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n(K\x00tU\x01b\x87R(K\x01"
DTYPE = b"cnumpy\ndtype\n(U\x02%bK\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def python_batch(arrays):
    content = planes(arrays).tobytes()
    shape = b"M" + struct.pack("<H", len(arrays)) + b"M\x00\x0c\x86"
    data = ARRAY + shape + DTYPE % b"u1" + b"\x89T" + struct.pack("<i", len(content)) + content + b"tb"
    return b"\x80\x02}(U\x0bbatch_labelU\x15training batch 1 of 5U\x06labels](K\x06K\x09eU\x04data" + data + b"u."


def binary_batch(arrays):
    return np.concatenate([np.full((len(arrays), 1), 7, np.uint8), planes(arrays)], 1).tobytes()


@pytest.fixture(params=["python", "binary"])
def cifar(request, tmp_path):
    """A folder of three batches and what is in them."""
    make, suffix = (python_batch, "") if request.param == "python" else (binary_batch, ".bin")
    arrays = pictures(9)
    folder = tmp_path / "cifar-10-batches"
    folder.mkdir()
    for i in range(2):
        (folder / f"data_batch_{i + 1}{suffix}").write_bytes(make(arrays[3 * i : 3 * i + 3]))
    (folder / f"test_batch{suffix}").write_bytes(make(arrays[6:]))
    (folder / "batches.meta").write_bytes(b"names")
    (folder / "readme.html").write_text("read me")
    return folder, arrays


def test_cifar10s_training_batches_of_a_folder(cifar):
    folder, arrays = cifar
    np.testing.assert_array_equal(datasets.read(folder), arrays[:6])


def test_a_batch_alone(cifar):
    folder, arrays = cifar
    (test,) = folder.glob("test_batch*")
    np.testing.assert_array_equal(datasets.read(test), arrays[6:])
    for path in folder.glob("data_batch*"):
        path.unlink()
    np.testing.assert_array_equal(datasets.read(folder), arrays[6:])


def test_cifar10_packed(cifar, tmp_path):
    folder, arrays = cifar
    with tarfile.open(tmp_path / "cifar-10.tar.gz", "w:gz") as archive:
        archive.add(folder, "cifar-10-batches-py")
    before = set(tmp_path.iterdir())
    np.testing.assert_array_equal(datasets.read(tmp_path / "cifar-10.tar.gz"), arrays[:6])
    assert set(tmp_path.iterdir()) == before


def test_a_batch_that_was_pickled_again(tmp_path):
    arrays = pictures(3)
    for protocol in (2, 3, 4):
        for data in (planes(arrays), np.asfortranarray(planes(arrays))):
            (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": data}, protocol))
            np.testing.assert_array_equal(datasets.read(tmp_path), arrays)


class Code:
    def __reduce__(self):
        return os.system, ("echo executed",)


@pytest.mark.parametrize("content", [{b"data": Code()}, Code(), [Code()]])
def test_a_pickle_that_runs_code_is_refused(content, tmp_path, capfd):
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(content, 2))
    with pytest.raises(InputError, match=r"data_batch_1: it is a pickle that would run code, .*system"):
        datasets.read(tmp_path)
    assert "executed" not in capfd.readouterr().out


@pytest.mark.parametrize(
    "content", [b"", b"garbage", pickle.dumps({b"data": np.zeros((2, 5), np.uint8)}, 2), pickle.dumps({b"data": 1}), pickle.dumps(3)]
)
def test_batches_that_are_none(content, tmp_path):
    for name in ("data_batch_1", "data_batch_1.bin"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            datasets.read(tmp_path / name)


def test_a_forged_array_is_not_taken_for_pointers(tmp_path):
    """Objects without the flag that says so: numpy would follow these eight bytes, as a shape, to its end."""
    forged = ARRAY + b"K\x01\x85" + DTYPE % b"O8" + b"\x89U\x08AAAAAAAAtb"
    for pickled in (b"}U\x04data" + forged + b"s", b"cnumpy\nndarray\n(" + forged + b"tR", b"cnumpy\ndtype\n(" + forged + b"tR"):
        (tmp_path / "data_batch_1").write_bytes(b"\x80\x02" + pickled + b".")
        with pytest.raises(InputError, match="no batch of CIFAR10's python version"):
            datasets.read(tmp_path)


def test_records_of_another_size(tmp_path):
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(2 * 3074))  # CIFAR100's
    with pytest.raises(InputError, match="no multiple of the 3073"):
        datasets.read(tmp_path)


def test_batches_cut_short(cifar):
    folder, _ = cifar
    path = next(folder.glob("data_batch_2*"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="data_batch_2"):
        datasets.read(folder)


def test_arrays(tmp_path):
    arrays = pictures(3, 20)
    np.save(tmp_path / "a.npy", arrays)
    np.savez(tmp_path / "positional.npz", arrays)
    np.savez_compressed(tmp_path / "named.npz", labels=np.zeros(3), images=arrays)
    for name in ("a.npy", "positional.npz", "named.npz"):
        np.testing.assert_array_equal(datasets.read(tmp_path / name), arrays)


def test_the_first_array_that_holds_pictures(tmp_path):
    a, b = pictures(2, 8), pictures(2, 8, 1)
    np.savez(tmp_path / "first.npz", labels=np.zeros(2), zebra=a, b=b)
    np.savez(tmp_path / "preferred.npz", b=b, images=a)
    np.savez(tmp_path / "positional.npz", np.zeros(2), a, b)
    for name in ("first.npz", "preferred.npz", "positional.npz"):
        np.testing.assert_array_equal(datasets.read(tmp_path / name), a)
    np.savez(tmp_path / "none.npz", labels=np.zeros(2), planes=a.astype(np.float32))
    with pytest.raises(InputError, match=r"labels is float64 \(2,\), planes is float32 \(2, 8, 8, 3\): not uint8"):
        datasets.read(tmp_path / "none.npz")


def test_arrays_that_are_no_pictures(tmp_path):
    wrong = [pictures(2).astype(np.float32), pictures(2)[..., :1], pictures(2)[0], pictures(2)[:0], np.array([{"a": 1}, None])]
    for array in wrong:
        np.savez(tmp_path / "a.npz", array, allow_pickle=True)
        np.save(tmp_path / "a.npy", array, allow_pickle=True)
        for name in ("a.npz", "a.npy"):
            with pytest.raises(InputError, match="not uint8"):
                datasets.read(tmp_path / name)


def test_an_array_that_claims_to_be_huge_is_refused_before_it_is_read(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_2_0(header, {"shape": (1 << 30, 1024, 1024, 3), "fortran_order": False, "descr": "|u1"})
    (tmp_path / "a.npy").write_bytes(header.getvalue())
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue())
    for name in ("a.npy", "a.npz"):
        with pytest.raises(InputError, match="GiB"):
            datasets.read(tmp_path / name)


def test_what_does_not_fit_in_memory_is_not_unpacked(tmp_path, monkeypatch):
    """Zeros: small files that unpack to more than there is."""
    np.savez_compressed(tmp_path / "a.npz", np.zeros((1000, 32, 32, 3), np.uint8))
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(3073 * 1000))
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "data_batch_1.bin")
    for name in ("a.npz", "a.tar.gz"):
        assert (tmp_path / name).stat().st_size < 10_000
        assert datasets.read(tmp_path / name).shape == (1000, 32, 32, 3)
    monkeypatch.setattr(datasets, "_available_bytes", lambda: 1 << 20)
    for name in ("a.npz", "a.tar.gz"):
        with pytest.raises(InputError, match="GiB are available"):
            datasets.read(tmp_path / name)


def test_available_memory():
    assert 1 << 20 < datasets._available_bytes() < 1 << 50


def test_damage_within_archives(cifar, tmp_path):
    """Bytes changed in the middle: whatever they are decompressed to, it is not trained on."""
    folder, arrays = cifar
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(folder, "cifar")
    np.savez_compressed(tmp_path / "a.npz", arrays)
    np.savez(tmp_path / "b.npz", arrays)
    for name in ("a.tar.gz", "a.npz", "b.npz"):
        whole = (tmp_path / name).read_bytes()
        for place in range(1, 9):
            at = len(whole) * place // 10
            (tmp_path / name).write_bytes(whole[:at] + bytes(b ^ 0xA5 for b in whole[at : at + 20]) + whole[at + 20 :])
            with pytest.raises(InputError, match=name):
                datasets.read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.tar.gz", "nothing.npz", "nothing.tar.gz", "data_batch_9"])
def test_damaged_files(name, tmp_path):
    if not name.startswith(("nothing", "data")):
        (tmp_path / name).write_bytes(b"PK\x03\x04 or whatever")
    with pytest.raises(InputError, match=name):
        datasets.read(tmp_path / name)
    with pytest.raises(InputError, match=name):
        datasets.source(tmp_path / name, Data(8), CPU)


def test_an_archive_of_something_else(tmp_path):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(__file__, "file.py")
    with pytest.raises(InputError, match="no batches"):
        datasets.read(tmp_path / "a.tar.gz")


def test_what_is_of_another_kind(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    assert datasets.read(tmp_path) is None and datasets.read(tmp_path / "a.txt") is None
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "a.txt", tmp_path, tmp_path / "empty", tmp_path / "nowhere", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match=path.name) as caught:
            datasets.source(path, Data(8), CPU)
        text = str(caught.value)
        assert "\n" not in text and (("CIFAR10" in text and "lmdb" in text) or "too long" in text)


def test_names_of_batches_that_are_none(tmp_path):
    (tmp_path / "test_batch").mkdir()
    os.mkfifo(tmp_path / "data_batch_1")
    Image.fromarray(pictures(1, 8)[0]).save(tmp_path / "test_batch" / "a.png")
    assert seen(datasets.source(tmp_path, Data(8, augment="none"), CPU), 4) == {pictures(1, 8)[0].tobytes()}


def seen(source, count=400):
    """The distinct crops of many draws, as uint8."""
    drawn = source.draw(count, torch.Generator().manual_seed(0))
    return {bytes(x) for x in ((drawn + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous().flatten(1).numpy()}


def webp(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


def environment(folder, values):
    """An lmdb environment of these values, as LSUN has them."""
    lmdb = pytest.importorskip("lmdb")
    path = folder / "church_train_lmdb"
    with lmdb.open(str(path), map_size=1 << 24) as e, e.begin(write=True) as transaction:
        for i, value in enumerate(values):
            transaction.put(f"key{i:03}".encode(), value)
    return path


@contextlib.contextmanager
def opened(path, data, notes=None):
    """A source, whose environment is closed again: a process may open one only once."""
    source = datasets.source(path, data, CPU, [].append if notes is None else notes.append)
    yield source
    if isinstance(source, datasets.Lmdb):
        source.environment.close()


def test_how_pictures_are_augmented(tmp_path):
    picture = pictures(1, 8)
    np.save(tmp_path / "a.npy", picture)
    mirrored = picture[:, :, ::-1]
    turned = [np.rot90(p, k, (1, 2)) for p in (picture, mirrored) for k in range(4)]
    expected = {"none": [picture], "flip": [picture, mirrored], "dihedral": turned}
    lmdb_path = environment(tmp_path, [webp(picture[0])])
    for augment, wanted in expected.items():
        for path in (tmp_path / "a.npy", lmdb_path):
            with opened(path, Data(8, augment=augment)) as source:
                assert seen(source) == {np.ascontiguousarray(p).tobytes() for p in wanted}


def test_squares(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (16, 40, 3), np.uint8)
    np.save(tmp_path / "a.npy", picture[None])
    source = datasets.source(tmp_path / "a.npy", Data(8, augment="none", square=True), CPU)
    middle = picture[:, 12:28].reshape(8, 2, 8, 2, 3).mean((1, 3))
    (only,) = seen(source)
    assert np.abs(np.frombuffer(only, np.uint8).reshape(8, 8, 3) - middle).max() <= 0.5
    sides = [crops.squared(Image.fromarray(picture), side).shape[0] for side in (12, 16, 99)]
    assert sides == [12, 16, 16] and crops.squared(Image.fromarray(picture), 99, enlarge=True).shape == (99, 99, 3)
    with pytest.raises(InputError, match="smaller than the crop"):
        datasets.source(tmp_path / "a.npy", Data(32), CPU)


def test_lmdb(tmp_path):
    arrays = pictures(5, 16)
    path = environment(tmp_path, map(webp, arrays))
    with opened(path, Data(16, augment="none")) as source:
        assert source.description().startswith("5 pictures")
        assert seen(source, 64) == {a.tobytes() for a in arrays}
    with opened(path, Data(16, augment="flip")) as source:
        a, b, c = (source.draw(6, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert a.shape == (6, 3, 16, 16) and a.dtype == torch.float32
    with opened(path, Data(16, augment="flip")) as source:
        assert torch.equal(a, source.draw(6, torch.Generator().manual_seed(1)))


def test_lmdb_in_the_size_of_the_crop(tmp_path):
    """As ProgressiveGAN prepares LSUN: the middle square, means over squares or by Lanczos' filter, small ones enlarged."""
    wide, high, small = (np.random.default_rng(0).integers(0, 256, shape, np.uint8) for shape in ((32, 50, 3), (40, 24, 3), (10, 12, 3)))
    with opened(environment(tmp_path, map(webp, (wide, high, small))), Data(16, augment="none")) as source:
        drawn = {np.frombuffer(x, np.uint8).reshape(16, 16, 3).tobytes() for x in seen(source, 64)}
    filtered = [Image.fromarray(p).resize((16, 16), Image.Resampling.LANCZOS) for p in (high[8:32], small[:, 1:11])]
    assert drawn == {Image.fromarray(wide[:, 9:41]).reduce(2).tobytes(), *(image.tobytes() for image in filtered)}


def test_damaged_pictures_of_lmdb_are_left_out(tmp_path):
    """The next one is drawn in place of each, and a note made of it once."""
    arrays = pictures(4, 16)
    whole = [webp(a) for a in arrays]
    deep = io.BytesIO()
    Image.fromarray(np.full((16, 16), 40_000, np.uint16)).save(deep, "PNG")
    values = [b"no picture", whole[0], whole[1][:-40], deep.getvalue(), whole[2], b""]
    notes: list[str] = []
    with opened(environment(tmp_path, values), Data(16, augment="none"), notes) as source:
        assert seen(source, 100) == {arrays[0].tobytes(), arrays[2].tobytes()}
        assert torch.equal(*(source.draw(50, torch.Generator().manual_seed(1)) for _ in range(2)))
    assert sorted(note[note.index("key") :][:6] for note in notes) == ["key000", "key002", "key003", "key005"]


def test_lmdb_is_read_by_several_processes(tmp_path):
    path = environment(tmp_path, map(webp, pictures(5, 16)))
    code = f"""
import torch
from pathlib import Path
from ddpmcodec.models import datasets
from ddpmcodec.models.configuration import Data
s = datasets.source(Path({str(path)!r}), Data(16), torch.device('cpu'))
print(float(s.draw(64, torch.Generator().manual_seed(3)).double().sum()))"""
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[0] for process in running]
    assert outputs[0] == outputs[1] and float(outputs[0])


def test_lmdb_of_something_else(tmp_path):
    path = environment(tmp_path, [b"no picture"] * 40)
    with opened(path, Data(16)) as source, pytest.raises(InputError, match=r"16 pictures in a row cannot be read, such as b'key"):
        source.draw(2, torch.Generator())
    (path / "data.mdb").write_bytes(b"no environment" * 1000)
    with pytest.raises(InputError, match="cannot be read as an lmdb"):
        datasets.source(path, Data(16), CPU)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no entries"):
        datasets.source(environment(tmp_path / "empty", []), Data(16), CPU)


def test_lmdb_cut_short(tmp_path):
    """Which would end the process, since the file is mapped into memory."""
    path = environment(tmp_path, [bytes(5000)] * 100)
    os.truncate(path / "data.mdb", (path / "data.mdb").stat().st_size - 1)
    with pytest.raises(InputError, match="cut short"):
        datasets.source(path, Data(16), CPU)
    os.truncate(path / "data.mdb", 100)
    with pytest.raises(InputError, match=str(path)):
        datasets.source(path, Data(16), CPU)


def test_lmdb_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    (tmp_path / "data.mdb").write_bytes(b"")
    with pytest.raises(InputError, match="pip install lmdb"):
        datasets.source(tmp_path, Data(16), CPU)


@pytest.mark.parametrize("name", ["a.jxl", "a.heic"])
def test_formats_of_plugins(tmp_path, name):
    """In a process that has not opened any of them yet."""
    pytest.importorskip({"a.jxl": "pillow_jxl", "a.heic": "pillow_heif"}[name])
    opening.register_plugins()
    Image.fromarray(pictures(1)[0]).save(tmp_path / name)
    program = (
        "import sys, torch; from pathlib import Path\n"
        "from ddpmcodec.models import datasets; from ddpmcodec.models.configuration import Data\n"
        "print(datasets.source(Path(sys.argv[1]), Data(16), torch.device('cpu')).description())"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True)
    assert done.stdout == "1 pictures, 0.0 million pixels\n", done.stderr
