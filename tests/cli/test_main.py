import pytest
from click.testing import CliRunner

import ddpmcodec
from ddpmcodec import errors
from ddpmcodec.cli import main
from ddpmcodec.cli.main import COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_of_each_command(command, flag):
    result = CliRunner().invoke(main, [command, flag])
    assert result.exit_code == 0 and result.stderr == ""
    assert result.stdout.startswith(f"Usage: main {command}") and "--help" in result.stdout
    undocumented = [line for line in result.stdout.splitlines() if line.startswith("  --") and len(line.split()) < 2]
    assert undocumented == []


def test_help_of_all():
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in result.stdout


def test_the_exit_codes_are_documented():
    text = " ".join(CliRunner().invoke(main, ["--help"]).stdout.split())
    for error in vars(errors).values():
        if isinstance(error, type) and error not in (errors.DdpmcodecError, errors.FormatError):
            assert f" {error.exit_code} " in text[text.index("Exit codes:") :]


def test_version():
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0 and ddpmcodec.__version__ in result.stdout


def test_unknown_commands():
    for arguments in (["compress"], ["--compress"]):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2 and "No such" in result.stderr
