import errno
import json
import math
import os
from pathlib import Path

import pytest

from ddpmcodec.cli import files
from ddpmcodec.errors import InputError, OutputError

IMPOSSIBLE = ["a" * 5000, "a" * 5000 + "/b", "nowhere/file"]


@pytest.mark.parametrize("path", [*IMPOSSIBLE, "missing", "."])
def test_paths_that_cannot_be_read(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        files.read(path)


@pytest.mark.parametrize("path", [*IMPOSSIBLE, "."])
def test_paths_that_cannot_be_written(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError):
        files.check_writable(path)
    with pytest.raises(OutputError):
        files.write(path, b"data")
    assert os.listdir() == []


@pytest.mark.parametrize("unnamed", [True, False])
def test_written_whole_or_not_at_all(tmp_path, monkeypatch, unnamed):
    if not unnamed:  # as on systems without such files
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    target = tmp_path / "out"
    files.write(str(target), b"first")
    files.write(str(target), b"second")
    assert target.read_bytes() == b"second" and os.listdir(tmp_path) == ["out"]

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        files.write(str(target), b"third")
    assert target.read_bytes() == b"second" and os.listdir(tmp_path) == ["out"]


def test_documents(tmp_path):
    """JSON has neither infinity nor nan; rows may be none."""
    files.write_json(str(tmp_path / "a.json"), {"a": [1.5, math.inf, (math.nan, "x")], "b": {"c": None}})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1.5, None, [None, "x"]], "b": {"c": None}}
    files.write_csv(str(tmp_path / "a.csv"), ({"a": i, "b": "x,"} for i in range(2)))
    assert (tmp_path / "a.csv").read_text() == 'a,b\n0,"x,"\n1,"x,"\n'
    files.write_csv(str(tmp_path / "b.csv"), [])
    assert (tmp_path / "b.csv").read_bytes() == b""


def test_a_new_file_has_the_permissions_of_any_other(tmp_path):
    files.write(str(tmp_path / "ours"), b"data")
    Path(tmp_path / "other").write_bytes(b"data")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_pipe_is_written_to_not_replaced(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    files.check_writable(str(fifo))
    files.write(str(fifo), b"data")
    assert os.read(reader, 100) == b"data" and fifo.is_fifo()
    os.close(reader)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is read-only for the superuser")
def test_a_read_only_file_stays(tmp_path):
    path = tmp_path / "a"
    path.write_text("kept")
    path.chmod(0o444)
    for attempt in (lambda: files.check_writable(str(path)), lambda: files.write(str(path), b"new")):
        with pytest.raises(OutputError):
            attempt()
    assert path.read_text() == "kept"
