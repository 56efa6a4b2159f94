"""Data sets, made here in the layouts of their authors, read back exactly or refused."""

import io
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from ddpmcodec.errors import InputError
from ddpmcodec.models import crops, datasets
from ddpmcodec.models.configuration import Data

CPU = torch.device("cpu")


def pictures(count, side=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def planes(arrays):
    return np.ascontiguousarray(arrays.transpose(0, 3, 1, 2)).reshape(len(arrays), -1)


class OldPickler(pickle._Pickler):
    """Pickles as Python 2 did: names of numpy 1, and bytes for strings."""

    def save_global(self, obj, name=None):
        if obj is np._core.multiarray._reconstruct:
            self.write(b"cnumpy.core.multiarray\n_reconstruct\n")
            self.memoize(obj)
        else:
            super().save_global(obj, name)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, type(np._core.multiarray._reconstruct): save_global}


def python_batch(arrays):
    buffer = io.BytesIO()
    OldPickler(buffer, 2).dump(
        {b"batch_label": b"training", b"labels": [0] * len(arrays), b"data": planes(arrays), b"filenames": [b"a.png"]}
    )
    return buffer.getvalue()


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
    for path in (tmp_path / "a.txt", tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError):
            datasets.source(path, Data(8), CPU)


def seen(source, count=400):
    """The distinct crops of many draws, as uint8."""
    drawn = source.draw(count, torch.Generator().manual_seed(0))
    return {bytes(x) for x in ((drawn + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous().flatten(1).numpy()}


def test_how_pictures_are_augmented(tmp_path):
    picture = pictures(1, 8)
    np.save(tmp_path / "a.npy", picture)
    mirrored = picture[:, :, ::-1]
    turned = [np.rot90(p, k, (1, 2)) for p in (picture, mirrored) for k in range(4)]
    expected = {"none": [picture], "flip": [picture, mirrored], "dihedral": turned}
    for augment, wanted in expected.items():
        assert seen(datasets.source(tmp_path / "a.npy", Data(8, augment=augment), CPU)) == {
            np.ascontiguousarray(p).tobytes() for p in wanted
        }


def test_squares(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (16, 40, 3), np.uint8)
    np.save(tmp_path / "a.npy", picture[None])
    source = datasets.source(tmp_path / "a.npy", Data(8, augment="none", square=True), CPU)
    middle = picture[:, 12:28].reshape(8, 2, 8, 2, 3).mean((1, 3))
    (only,) = seen(source)
    assert np.abs(np.frombuffer(only, np.uint8).reshape(8, 8, 3) - middle).max() <= 0.5
    assert crops.squared(Image.fromarray(picture), 12).shape == (12, 12, 3) and crops.squared(Image.fromarray(picture), 99).shape == (
        16,
        16,
        3,
    )
    with pytest.raises(InputError, match="smaller than the crop"):
        datasets.source(tmp_path / "a.npy", Data(32), CPU)


@pytest.fixture
def lsun(tmp_path):
    """An lmdb environment of lossless WebP pictures, as LSUN has them, and the pictures."""
    lmdb = pytest.importorskip("lmdb")
    arrays = pictures(5, 16)
    path = tmp_path / "church_train_lmdb"
    with lmdb.open(str(path), map_size=1 << 22) as environment, environment.begin(write=True) as transaction:
        for i, array in enumerate(arrays):
            buffer = io.BytesIO()
            Image.fromarray(array).save(buffer, "WEBP", lossless=True)
            transaction.put(f"key{i}".encode(), buffer.getvalue())
    return path, arrays


def test_lmdb(lsun):
    path, arrays = lsun
    source = datasets.source(path, Data(16, augment="none", square=True), CPU)
    assert source.description().startswith("5 pictures")
    assert seen(source, 64) == {a.tobytes() for a in arrays}
    source.environment.close()  # which a process opens once
    flipped = datasets.source(path, Data(16, augment="flip", square=True), CPU)
    assert seen(flipped, 200) == {np.ascontiguousarray(v).tobytes() for a in arrays for v in (a, a[:, ::-1])}
    a, b, c = (flipped.draw(6, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert a.shape == (6, 3, 16, 16)


def test_lmdb_is_read_by_several_processes(lsun):
    path, _ = lsun
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


def test_lmdb_of_something_else(lsun, tmp_path):
    import lmdb

    path, _ = lsun
    source = datasets.source(path, Data(32), CPU)
    with pytest.raises(InputError, match="smaller than 32 pixels"):
        source.draw(2, torch.Generator())
    source.environment.close()
    with lmdb.open(str(path), map_size=1 << 22) as environment, environment.begin(write=True) as transaction:
        for i in range(5):
            transaction.put(f"key{i}".encode(), b"no picture")
    with pytest.raises(InputError, match="cannot be read"):
        datasets.source(path, Data(16), CPU).draw(2, torch.Generator())
    empty = tmp_path / "empty"
    lmdb.open(str(empty), map_size=1 << 20).close()
    with pytest.raises(InputError, match="no entries"):
        datasets.source(empty, Data(16), CPU)
    (empty / "data.mdb").write_bytes(b"no environment" * 1000)
    with pytest.raises(InputError, match="cannot be read as an lmdb"):
        datasets.source(empty, Data(16), CPU)


def test_lmdb_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    (tmp_path / "data.mdb").write_bytes(b"")
    with pytest.raises(InputError, match="pip install lmdb"):
        datasets.source(tmp_path, Data(16), CPU)
