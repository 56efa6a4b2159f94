"""A directory with a picture and an encoded file, and the command run in it."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from ddpmcodec.cli import main


@pytest.fixture
def folder(tmp_path, monkeypatch, drawing, drawing_encoding):
    """The working directory: in.png, in.ddpm."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(drawing).save("in.png")
    Path("in.ddpm").write_bytes(drawing_encoding.data)
    return tmp_path


@pytest.fixture
def run(folder):
    """Runs a command that succeeds."""

    def run(*arguments, input=None):
        result = CliRunner().invoke(main, [str(a) for a in arguments], input=input)
        assert result.exit_code == 0, result.stderr
        return result

    return run


def contents(folder):
    """Every file below a directory, hidden ones too."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def fails(folder):
    """Runs a command that fails: one line on stderr, nothing on stdout, every file as before."""

    def fails(code, *arguments, input=None):
        before = contents(folder)
        result = CliRunner().invoke(main, [str(a) for a in arguments], input=input)
        assert result.exit_code == code, (result.exit_code, result.stderr)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert result.stdout == ""
        if code != 2:
            assert result.stderr.startswith("ddpmcodec: ") and result.stderr.count("\n") == 1 and result.stderr.endswith("\n")
        assert contents(folder) == before
        return result.stderr

    return fails
