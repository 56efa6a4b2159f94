"""How many threads and processes are started."""

import math
import os
import subprocess
import sys

import pytest

from ddpmcodec import threads
from ddpmcodec.cli import batch


@pytest.fixture(autouse=True)
def _unset(monkeypatch):
    monkeypatch.setattr(threads, "_count", None)
    monkeypatch.delenv(threads.VARIABLE, raising=False)


@pytest.mark.parametrize(
    ("asked", "count"), [("1", 1), ("1,4", 1), ("100000", os.cpu_count()), ("9" * 5000, None), ("0", None), ("x", None)]
)
def test_openmps_variable_counts_up_to_the_processors(monkeypatch, asked, count):
    monkeypatch.setenv(threads.VARIABLE, asked)
    assert threads.count() == (count or threads.available())


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinities")
def test_processors_are_those_that_the_process_may_use():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert threads.count() == threads.available() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_cgroups_limit_processors(tmp_path):
    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    assert threads.quota(tmp_path, "/") == math.inf
    write("cpu.max", "max 100000\n")
    write("a/cpu.max", "150000 100000\n")
    write("a/b/cpu.max", "800000 100000\n")
    assert threads.quota(tmp_path, "/") == math.inf
    assert threads.quota(tmp_path, "/a/b") == threads.quota(tmp_path, "/a") == 1.5  # a group has no more than those above it
    write("cpu/cpu.cfs_quota_us", "-1\n")
    write("cpu/cpu.cfs_period_us", "100000\n")
    assert threads.quota(tmp_path, "/gone") == math.inf
    write("cpu/cpu.cfs_quota_us", "400000\n")
    assert threads.quota(tmp_path, "/gone") == 4


def test_a_batch_shares_the_processors():
    """As many processes as there are threads to compute with, and these shared by them."""
    threads.use(3)
    assert [batch.shares(None, None, count) for count in (9, 2, 1, 0)] == [(3, 1), (2, 1), (1, 3), (1, 3)]
    assert batch.shares(2, None, 9) == (2, 1) and batch.shares(5, 4, 9) == (5, 4)


FORKED = """
import os, sys, numpy
from ddpmcodec import threads
from ddpmcodec.models import arithmetic, registry
threads.use(2)
denoiser = arithmetic.denoiser(registry.find("test-model"), backend=sys.argv[1])
x = numpy.ones((1, 3, 128, 128), "f4")
y = denoiser.predict_x_0(x, 0)
child = os.fork()
same = numpy.allclose(denoiser.predict_x_0(x, 0), y, atol=1e-4)
child or os._exit(not same)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), same)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("backend", ["ncnn", "torch"])
def test_a_forked_child_does_not_hang(backend):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED, backend], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("0 True\n", "")
