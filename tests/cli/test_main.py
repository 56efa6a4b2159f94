import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner

import ddpmcodec
from ddpmcodec import errors
from ddpmcodec.cli import main
from ddpmcodec.cli.main import COMMANDS, HEADINGS
from ddpmcodec.format import container


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_of_each_command(command, flag):
    result = CliRunner().invoke(main, [command, flag])
    assert result.exit_code == 0 and result.stderr == ""
    assert result.stdout.startswith(f"Usage: main {command}") and "--help" in result.stdout
    undocumented = [line for line in result.stdout.splitlines() if line.startswith("  --") and len(line.split()) < 2]
    assert undocumented == []
    assert f"\n  ddpmcodec {command} " in result.stdout  # an example


def test_help_of_all():
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    sections = [result.stdout.index(f"\n{heading}:\n") for heading in HEADINGS]
    assert sections == sorted(sections)
    for names, begin, end in zip(HEADINGS.values(), sections, [*sections[1:], result.stdout.index("Exit codes:")], strict=True):
        assert all(f"\n  {command} " in result.stdout[begin:end] for command in names)


def test_the_exit_codes_are_documented():
    text = " ".join(CliRunner().invoke(main, ["--help"]).stdout.split())
    table = (Path(__file__).parents[2] / "docs/command-line.md").read_text()
    for error in vars(errors).values():
        if isinstance(error, type) and error not in (errors.DdpmcodecError, errors.FormatError):
            assert f" {error.exit_code} " in text[text.index("Exit codes:") :] and f"\n| {error.exit_code} | " in table


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version(flag):
    result = CliRunner().invoke(main, [flag])
    packages = [f"{package} {metadata.version(package)}" for package in ("torch", "ncnn", "numba", "numpy", "constriction")]
    expected = [f"ddpmcodec {ddpmcodec.__version__}", f"format {container.VERSION}", *packages, f"Python {platform.python_version()}"]
    assert result.exit_code == 0 and result.stdout == ", ".join(expected) + "\n"


def test_the_version_of_a_package_that_is_missing(monkeypatch):
    """What is broken is what one would like to hear of."""

    def version(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", version)
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0 and "torch missing, ncnn missing" in result.stdout


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["eval", "--help"], ["eval", "losses", "-h"], ["eval", "--denoise", "x"]])
def test_what_needs_no_network_imports_none(arguments):
    """Versions, help, and what is wrong with options."""
    program = """
import sys
from ddpmcodec.cli import main
try:
    main()
finally:
    print({"torch", "numba"} & set(sys.modules))"""
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert f"\n{done.stdout}".endswith("\nset()\n"), done.stderr


def test_evaluations_know_no_command_line():
    """Imports point one way."""
    program = (
        "import importlib, pkgutil, sys; import ddpmcodec.eval as e;"
        "[importlib.import_module(f'ddpmcodec.eval.{m.name}') for m in pkgutil.iter_modules(e.__path__)];"
        "print([m for m in sys.modules if m == 'click' or m.startswith('ddpmcodec.cli')])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"


def test_unknown_commands():
    for arguments in (["compress"], ["--compress"]):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2 and "No such" in result.stderr
