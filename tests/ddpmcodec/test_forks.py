"""Processes that are forked from one that has computed with several threads, of which a fork copies only the one that forks."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

PROGRAM = """
import multiprocessing, os, signal, sys
from concurrent.futures import ProcessPoolExecutor
import numpy as np
import ddpmcodec
from ddpmcodec import threads
from ddpmcodec.encoder import EncodeOptions
from ddpmcodec.eval.metrics import ms_ssim
from ddpmcodec.target import Rate

PIXELS = np.random.default_rng(0).integers(0, 256, (176, 176, 3), np.uint8)

def encoded(seed):
    signal.alarm(200)  # ends a process that stands still
    return ddpmcodec.encode_image(PIXELS, Rate(1), EncodeOptions(2, 3, seed, backend=sys.argv[1]), model="test-model")

def decoded(data):
    signal.alarm(200)
    return np.asarray(ddpmcodec.decode(data, reconstruct="mean", orientations=1, backend=sys.argv[1])).astype(int)

def measured(picture):
    signal.alarm(200)
    return ms_ssim(PIXELS, picture.astype(np.uint8))

threads.use(2)
encoding = encoded(0)
picture = decoded(encoding.data)
quality = measured(picture)

child = os.fork()
if not child:
    os._exit(int(threads.count() != 1 or np.abs(decoded(encoding.data) - picture).max() > 1))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), threads.count())

with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
    encodings = list(pool.map(encoded, range(3)))
    pictures = list(pool.map(decoded, [e.data for e in encodings]))
    print(max(np.abs(p - e.pixels).max() for p, e in zip(pictures, encodings)) <= 1, np.abs(pictures[0] - picture).max() <= 1)
    print(abs(pool.submit(measured, picture).result() - quality) < 1e-5)
"""


@pytest.mark.parametrize("backend", ["ncnn", "torch"])
def test_forked_children_encode_and_decode(backend):
    done = subprocess.run([sys.executable, "-c", PROGRAM, backend], capture_output=True, text=True, timeout=600)
    assert (done.stdout, done.stderr) == ("0 2\nTrue True\nTrue\n", "")
