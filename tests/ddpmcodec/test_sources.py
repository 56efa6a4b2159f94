"""The package among its sources, where the rest of it lies beside it and not in it."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import ddpmcodec

# As with a package that is installed and not editable: site-packages, without what .pth files there would add.
PROGRAM = "import sys; sys.path.insert(0, '.'); sys.path.append(sys.argv[1]); import ddpmcodec"


@pytest.mark.parametrize("whole", [False, True])
def test_sources_that_hide_the_installed_package_say_so(tmp_path, whole):
    package = Path(ddpmcodec.__file__).parent
    (tmp_path / "ddpmcodec").symlink_to(package)
    if whole:  # the others beside it, found as an installed package has them
        (tmp_path / "ddpmcodec").unlink()
        (tmp_path / "ddpmcodec").mkdir()
        for path in package.glob("*"):
            (tmp_path / "ddpmcodec" / path.name).symlink_to(path)
        (tmp_path / "ddpmcodec/models").symlink_to(package.parent / "models")
    arguments = [sys.executable, "-S", "-B", "-c", PROGRAM, sysconfig.get_path("purelib")]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True)
    if whole:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        last = done.stderr.splitlines()[-1]
        assert done.returncode == 1 and last.startswith("ModuleNotFoundError: ") and "No module named" not in done.stderr
        assert "hides the ddpmcodec that is installed" in last and "pip install -e ." in last
