"""The wheel has all that the installed package needs, and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "ddpmcodec": "ddpmcodec",
    "cli": "ddpmcodec/cli",
    "models": "ddpmcodec/models",
    "eval": "ddpmcodec/eval",
}  # folder, where it goes
DATA = {"models": ("weights/*", "configs/*"), "eval": ("web/*",), "ddpmcodec": ("py.typed",)}


def test_what_is_in_it(tmp_path: Path):
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "tests", "docs", "__pycache__"))
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, source], capture_output=True, text=True, check=False
    )
    if built.returncode and "No matching distribution" in built.stderr:
        pytest.skip("needs an index that has setuptools")
    assert built.returncode == 0, built.stderr
    [wheel] = tmp_path.glob("*.whl")
    expected = set()
    for folder, place in PACKAGES.items():
        paths = [*(ROOT / folder).rglob("*.py"), *(path for pattern in DATA.get(folder, ()) for path in (ROOT / folder).glob(pattern))]
        expected |= {f"{place}/{path.relative_to(ROOT / folder).as_posix()}" for path in paths if "__pycache__" not in path.parts}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        [entry_points] = (archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert names == expected and {f"ddpmcodec/models/weights/{name}.safetensors" for name in ("photo-2", "photo-3")} <= set(names)
    assert "ddpmcodec = ddpmcodec.cli:main" in entry_points
    assert wheel.stat().st_size < 40_000_000
