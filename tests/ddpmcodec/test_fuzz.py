"""A short run of the fuzzer; `make fuzz` is the long one."""

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "fuzz.py"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="its limit on memory is Linux's")
def test_a_few_thousand_inputs(tmp_path):
    run = [sys.executable, str(FUZZ), "--inputs", "4000", "--seed", "1"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("4000 inputs: ") and "accepted" in done.stdout and "pictures" in done.stdout
    assert not list(tmp_path.iterdir())
