"""Two processes that torchrun starts, on a CPU: they do what one would."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from ddpmcodec.cli import main
from ddpmcodec.models import configuration, crops, distributed, training
from ddpmcodec.models.distributed import Processes

CPU = torch.device("cpu")
CONFIGURATION = (Path(__file__).parents[1] / "data" / "tiny.toml").read_text().replace("batch = 4", "batch = 8")
# The command in single precision, where sums in another order come to nearly the same, and with a report after each iteration.
PROGRAM = """
import sys
from ddpmcodec import threads
from ddpmcodec.cli import main
from ddpmcodec.models import training, training_run
threads.use(1)
training.has_bfloat16 = lambda device: False
training_run.REPORT_EVERY = 1
main(sys.argv[1:])
"""
ITERATIONS = 6
TOLERANCE = 1e-4  # of weights that move by more than 1e-2


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory: photos, a configuration, and the run of a process that made two iterations alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "has_bfloat16", lambda device: False)
    Path("photos").mkdir()
    y, x = np.mgrid[:40, :48] / 48
    for i in range(3):
        picture = 120 + 100 * np.stack([np.sin(7 * x + i), np.cos(5 * y * (i + 1)), x * y], 2)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(f"photos/{i}.png")
    Path("tiny.toml").write_text(CONFIGURATION)
    result = CliRunner().invoke(main, ["train", "--config", "tiny.toml", "--data", "photos", "-o", "run", "--iterations", "2", "--quiet"])
    assert result.exit_code == 0, result.stderr
    return tmp_path


class Unheard(Processes):
    """A process that takes its part of the batch, and has nobody to share gradients with."""

    def average(self, tensors):
        pass


def continued(processes):
    """The state of the run and its losses after `ITERATIONS`, as `processes` compute them."""
    loaded = configuration.load("tiny.toml")
    state = training.build_state(loaded, CPU)
    state.restore(Path("run/state.safetensors"))
    trainer = training.Trainer(loaded, state, crops.Crops(crops.load(Path("photos"), loaded.data), 16, CPU), 0, Processes(0, 1, CPU))
    trainer.processes = processes
    losses = [float(trainer.iterate()[0].mean()) for _ in range(2, ITERATIONS)]
    return {name: value.clone() for name, value in state.tensors().items()}, losses


def difference(a, b):
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a if name.startswith(("network/", "ema/")))


def test_two_processes_go_on_as_one_would(folder):
    before = load_file("run/state.safetensors")
    one, losses = continued(Processes(0, 1, CPU))
    for rank in range(2):  # the tolerance sees that gradients are shared, and that the whole batch is there
        alone, losses_alone = continued(Unheard(rank, 2, CPU))
        assert difference(one, alone) > 20 * TOLERANCE
        assert np.abs(np.subtract(losses, losses_alone)).max() > 20 * TOLERANCE * max(losses)
    assert difference(one, before) > 100 * TOLERANCE

    Path("program.py").write_text(PROGRAM)
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "program.py"]
    arguments = ["train", "--config", "tiny.toml", "--data", "photos", "-o", "run", "--iterations", str(ITERATIONS)]
    done = subprocess.run([*start, *arguments], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("2 processes") == 1 and done.stdout == "run/model.safetensors\n"  # the first speaks for both

    two = load_file("run/state.safetensors")
    assert difference(one, two) < TOLERANCE
    for name in one:
        if name.startswith(("muon/", "adamw/exp_avg/")):
            torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-4 * float(one[name].abs().max()))
    with open("run/log.csv", newline="") as f:
        assert [float(row["loss"]) for row in csv.DictReader(f)] == pytest.approx(losses, rel=TOLERANCE)


def test_a_batch_that_cannot_be_shared_equally(folder, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    for batch in (8, 1):
        arguments = ["train", "--config", "tiny.toml", "--data", "photos", "-o", "new", "--batch", str(batch)]
        result = CliRunner().invoke(main, arguments)
        assert (result.exit_code, result.stdout) == (14, "")
        assert result.stderr == f"ddpmcodec: a batch of {batch} cannot be shared equally by 3 processes\n"
    assert not Path("new").exists()


def test_one_process_agrees_with_itself():
    with distributed.processes(7) as processes:
        assert (processes.rank, processes.count, processes.leads) == (0, 1, True)
        assert processes.agree(0.25, True) == [0.25, True]
        assert torch.equal(processes.total(torch.arange(3)), torch.arange(3))
