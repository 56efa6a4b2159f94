"""How many threads and processes are started."""

import math
import os

import numpy as np
import pytest
import torch

from ddpmcodec import threads
from ddpmcodec.cli import batch
from ddpmcodec.eval import fid, metrics
from ddpmcodec.models import networks


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


PIXELS = np.zeros((176, 176, 3), np.uint8)


class Means(torch.nn.Module):
    """Features of pictures."""

    def forward(self, pictures):
        return pictures.float().mean((2, 3))


@pytest.mark.parametrize(
    "compute",
    [
        lambda model: networks.predict_x_0(model, torch.zeros(1, 3, 16, 16), 0),
        lambda model: metrics.ms_ssim(PIXELS, PIXELS),
        lambda model: fid.frechet_distance(Means(), [PIXELS] * 2, [PIXELS] * 2),
    ],
    ids=["network", "metric", "features"],
)
def test_torch_computes_with_as_many(model, compute):
    torch.set_num_threads(2)
    threads.use(3)
    compute(model)
    assert torch.get_num_threads() == 3


def test_a_batch_shares_the_processors():
    """As many processes as there are threads to compute with, and these shared by them."""
    threads.use(3)
    assert [batch.shares(None, None, count) for count in (9, 2, 1, 0)] == [(3, 1), (2, 1), (1, 3), (1, 3)]
    assert batch.shares(2, None, 9) == (2, 1) and batch.shares(5, 4, 9) == (5, 4)
