"""Encoding on a cluster of dask.distributed."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import dask
import numpy as np
import pytest
from click.testing import CliRunner
from distributed import LocalCluster
from PIL import Image, ImageCms

import ddpmcodec
from ddpmcodec.cli import cluster, files, main
from ddpmcodec.errors import PictureError, WorkerError

FAST = ("--model", "test-model", "--evaluations", "4", "--effort", "1")
COMMAND = str(Path(sys.executable).parent / "ddpmcodec")
LOCAL = {"dashboard_address": ":0", "memory_limit": 0, "silence_logs": 50}


@pytest.fixture(scope="module")
def processes():
    """A cluster of two processes."""
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **LOCAL) as cluster:
        yield cluster


@pytest.fixture
def threads(thread_counts):
    """A cluster of one worker with two threads, in this process."""
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, protocol="tcp", **LOCAL) as cluster:
        yield cluster


@pytest.fixture
def photos(folder, drawing) -> list[str]:
    for i in range(8):
        Image.fromarray(np.roll(drawing, 7 * i, 0)).save(f"{i}.png")
    return [f"{i}.png" for i in range(8)]


def encode(*arguments):
    return CliRunner().invoke(main, ["encode", *arguments, "-o", "coded/"])


def work_of(todo, work, address):
    """The results of a batch, whose options are none but these."""
    return cluster.on_dask(work, {"quiet": True}, address, 1, todo)


def test_files_are_those_of_this_machine(photos, drawing, processes):
    """And what fails is named, and stops none of the others; and what is there is skipped."""
    Path("bad.png").write_bytes(b"no picture")
    address = ("--dask", processes.scheduler_address)
    done = encode("bad.png", "nowhere.png", *photos[:3], *address, *FAST, "--bpp", "2")
    assert done.exit_code == 4 and isinstance(done.exception, SystemExit)
    for i in range(3):
        expected = ddpmcodec.encode(np.roll(drawing, 7 * i, 0), model="test-model", evaluations=4, effort=1, bpp=2)
        assert Path(f"coded/{i}.ddpm").read_bytes() == expected
    assert len(os.listdir("coded")) == 3
    lines = done.stderr.splitlines()
    assert set(lines[:2]) == {"ddpmcodec: nowhere.png: No such file or directory", "ddpmcodec: bad.png: not a picture that Pillow can open"}
    assert lines[2].split() == ["file", "bytes", "bpp", "PSNR", "seconds"] and lines[-1] == "3 done, 2 failed" and len(lines) == 7

    Path("coded/1.ddpm").unlink()
    times = {p: p.stat().st_mtime_ns for p in Path("coded").iterdir()}
    done = encode(*photos[:3], *address, *FAST, "--bpp", "2", "--skip-existing")
    assert done.exit_code == 0 and done.stderr.endswith("1 done, 0 failed, 2 skipped\n")
    assert Path("coded/1.ddpm").exists() and all(p.stat().st_mtime_ns == t for p, t in times.items())


def test_what_is_read_here_and_what_is_found_there(photos, processes, model_path):
    """The bytes of --icc travel, and a path means the same to a worker that was started in another directory."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Path("profile").write_bytes(profile)
    Path("mine.safetensors").write_bytes(Path(model_path).read_bytes())
    chosen = ("--icc", "profile", "--model", "mine.safetensors", *FAST[2:])
    assert encode(photos[0], "--dask", processes.scheduler_address, *chosen).exit_code == 0
    assert ddpmcodec.decode(Path("coded/0.ddpm").read_bytes(), model="mine.safetensors").info["icc_profile"] == profile


def test_a_worker_dies(photos, processes):
    """Another takes its pictures."""
    lost = []

    def kill():
        while not (Path("coded").exists() and os.listdir("coded")):
            time.sleep(0.01)
        while not lost:
            for nanny in processes.workers.values():
                if busy := list(processes.scheduler.workers[nanny.worker_address].processing):
                    os.kill(nanny.pid, signal.SIGKILL)
                    lost.extend(busy)
                    return

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    done = encode(*photos, "--dask", processes.scheduler_address, *FAST[:2], "--evaluations", "40", "--effort", "1")
    killer.join(10)
    assert lost and done.exit_code == 0 and done.stderr.endswith("8 done, 0 failed\n")
    assert sorted(os.listdir("coded")) == [f"{i}.ddpm" for i in range(8)]


def test_interrupted(photos, processes):
    """What has been written is whole, and the cluster has nothing left to do."""

    def heed():  # where the tests run in the background, SIGINT is ignored, and children inherit that
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    command = [COMMAND, "encode", *photos, "-o", "coded/", "--dask", processes.scheduler_address, *FAST[:2], "--evaluations", "400"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed) as process:
        while not processes.scheduler.tasks:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        complaints = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and complaints.strip() == "ddpmcodec: interrupted"
    assert not [p for p in Path("coded").iterdir() if p.suffix != ".ddpm"]
    assert not processes.scheduler.tasks


def test_a_picture_that_no_worker_survives(photos, processes, monkeypatch):
    monkeypatch.setattr(processes.scheduler, "allowed_failures", 0)
    [(_, (_, _, error))] = work_of({photos[0]: "0.out"}, lambda *_: os._exit(1), processes.scheduler_address)
    assert error.exit_code == 17 and str(error) == "0.png: the workers that took it have died: out of memory?"


def test_threads_of_one_worker(photos, threads):
    done = encode(*photos[:4], "--dask", threads.scheduler_address, "--threads", "1", *FAST)
    assert done.exit_code == 0
    for photo in photos[:4]:
        expected = ddpmcodec.encode(Image.open(photo), model="test-model", evaluations=4, effort=1)
        assert Path("coded", photo).with_suffix(".ddpm").read_bytes() == expected


def test_one_at_a_time_and_few_ahead(photos, threads, monkeypatch):
    read = []

    def reading(path):
        read.append(path)
        return Path(path).read_bytes()

    monkeypatch.setattr(files, "read", reading)
    for count, (source, (said, cells, error)) in enumerate(work_of({p: f"{p}.out" for p in photos}, alone, threads.scheduler_address)):
        assert len(read) <= count + cluster.AHEAD and (said, cells, error) == ([], ["1"], None)
        assert Path(f"{source}.out").read_bytes() == Path(source).read_bytes()
    assert count == 7


INSIDE: list[str] = []  # of workers that are threads of this process


def alone(source, data, output, say, options):
    INSIDE.append(source)
    time.sleep(0.02)
    together = len(INSIDE)
    INSIDE.remove(source)
    return data, [str(together)]


def test_what_fails_is_tried_again(photos, threads):
    """Unless a typed error says what is wrong; and in the end it is the picture that fails."""
    TRIED.clear()
    ended = dict(work_of({p: f"{p}.out" for p in photos[:4]}, failing, threads.scheduler_address))
    assert [TRIED.count(p) for p in photos[:4]] == [2, 1 + cluster.RETRIES, 1, 1]
    errors = [ended[p][2] for p in photos[:4]]
    assert [type(e) for e in errors] == [type(None), WorkerError, PictureError, type(None)]
    assert str(errors[1]) == "1.png: a worker failed: KeyError: 'never'"
    assert sorted(p.name for p in Path().glob("*.out")) == ["0.png.out", "3.png.out"]


TRIED: list[str] = []


def failing(source, data, output, say, options):
    TRIED.append(source)
    if source == "0.png" and TRIED.count(source) == 1:
        raise MemoryError("not now")
    if source == "1.png":
        raise KeyError("never")
    if source == "2.png":
        raise PictureError(source)
    return b"made", []


def test_an_output_that_cannot_be_written(photos, threads):
    Path("taken").mkdir()
    [(source, (_, _, error))] = work_of({photos[0]: "nowhere/0"}, lambda *_: (b"made", []), threads.scheduler_address)
    assert source == photos[0] and error.exit_code == 12 and "nowhere/0" in str(error)


def test_workers_of_another_version():
    said, made, error = cluster._in_worker(None, "0.0", 1, "a.png", b"", "a.ddpm", {})
    assert (said, made) == ([], None) and error.exit_code == 17
    assert str(error) == f"a.png: a worker has ddpmcodec {ddpmcodec.__version__}, this is 0.0"


def test_a_scheduler_is_lost(photos, thread_counts):
    STAY.clear()
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),  # which the cluster's own end takes
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", **LOCAL) as threads,
    ):
        results = work_of({p: f"{p}.out" for p in photos}, first_only, threads.scheduler_address)
        assert next(results)[0] == photos[0]
        threads.sync(threads.scheduler.close)
        with pytest.raises(WorkerError, match="lost: --skip-existing"):
            list(results)
        STAY.set()
    assert [p.name for p in Path().glob("*.out")] == ["0.png.out"]


STAY = threading.Event()


def first_only(source, data, output, say, options):
    if source != "0.png":
        STAY.wait(20)
    return b"made", []


def test_no_cluster(fails, photos, monkeypatch):
    Path("coded").mkdir()
    with dask.config.set({"distributed.comm.timeouts.connect": "0.2s"}), socket.create_server(("127.0.0.1", 0)) as mute:
        for address in ("tcp://127.0.0.1:1", f"tcp://127.0.0.1:{mute.getsockname()[1]}", "nonsense", "foo://x:1"):
            assert f"no dask scheduler at {address}: " in fails(17, "encode", *photos, "-o", "coded/", "--dask", address, *FAST)
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install 'ddpmcodec[dask]'" in fails(17, "encode", *photos, "-o", "coded/", "--dask", "tcp://127.0.0.1:1", *FAST)


def test_usage(fails, photos):
    address = ("--dask", "tcp://127.0.0.1:1")
    assert "--dask" in fails(2, "encode", photos[0], "-o", "out.ddpm", *address, *FAST)
    assert "--dask" in fails(2, "encode", photos[0], "-o", "-", *address, *FAST)
    assert "stdin" in fails(2, "encode", "-", photos[0], "-o", "coded/", *address, *FAST)
    assert "--jobs" in fails(2, "encode", *photos, "-o", "coded/", "--jobs", 2, *address, *FAST)
