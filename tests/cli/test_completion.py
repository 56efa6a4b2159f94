"""What shells offer, asked of the installed command as they ask it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ddpmcodec.cli import main
from ddpmcodec.cli.eval import SUBCOMMANDS
from ddpmcodec.cli.main import COMMANDS

COMMAND = str(Path(sys.executable).parent / "ddpmcodec")
PATH = os.pathsep.join([str(Path(COMMAND).parent), os.environ["PATH"]])


def offered(*words):
    """What the last of the words becomes: (kind, completion)."""
    variables = {"_DDPMCODEC_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(["ddpmcodec", *words]), "COMP_CWORD": str(len(words))}
    done = subprocess.run([COMMAND], env=os.environ | variables, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [tuple(line.split(",", 1)) for line in done.stdout.splitlines()]


def test_commands_and_options():
    assert offered("") == [("plain", name) for name in COMMANDS]
    assert offered("enc") == [("plain", "encode")]
    assert offered("encode", "--target") == [("plain", "--target-size")]
    assert offered("decode", "in.ddpm", "--reconstruct", "") == [("plain", kind) for kind in ("auto", "mean", "flow", "sample")]


@pytest.mark.parametrize("words", [("decode", "pho"), ("decode", "a.ddpm", "-o", "pho"), ("encode", "a.png", "b.png", "pho")], ids=" ".join)
def test_files_complete_as_files(words):
    assert offered(*words) == [("file", "pho")]


PLACES = ("FILE", "DIR", "PATH", "PICTURE", "IMAGE", "RESULTS", "TEST", "ANCHOR", "SAMPLES", "REFERENCE", "SOURCE", "MODEL", "A", "B")


def test_evaluations():
    """Subcommands, and what may follow the default one."""
    assert offered("eval", "den") == [("plain", "denoise"), ("file", "den")]
    assert offered("eval", "--lossl") == [("plain", "--lossless")]
    assert offered("eval", "photos", "--cod") == offered("eval", "rd", "--cod") == [("plain", "--codec")]
    assert offered("eval", "denoise", "pho") == [("file", "pho")]


@pytest.mark.parametrize("name", [*COMMANDS, *(f"eval {name}" for name in SUBCOMMANDS)])
def test_every_path_completes_as_one(name):
    command = main
    for word in name.split():
        command = command.get_command(click.Context(command), word)
    with click.Context(command) as context:
        for parameter in command.params:
            metavar = parameter.make_metavar(context).strip("[]")
            if any(part.strip("[].").split(".")[0] in PLACES for part in metavar.split("|")):
                assert [item.type for item in parameter.type.shell_complete(context, parameter, "x")] in (["file"], ["dir"]), parameter


def test_bash():
    """The script that it prints, in bash."""
    script = (
        'eval "$(_DDPMCODEC_COMPLETE=bash_source ddpmcodec)"; complete -p ddpmcodec;'
        'COMP_WORDS=(ddpmcodec encode --tar); COMP_CWORD=2; _ddpmcodec_completion ddpmcodec; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], env=os.environ | {"PATH": PATH}, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["complete -o nosort -F _ddpmcodec_completion ddpmcodec", "--target-size"]


def test_fish():
    if shutil.which("fish") is None:
        pytest.skip("needs fish")
    script = "_DDPMCODEC_COMPLETE=fish_source ddpmcodec | source; complete -C 'ddpmcodec trunc'; complete -C 'ddpmcodec encode --tar'"
    done = subprocess.run(["fish", "-c", script], env=os.environ | {"PATH": PATH}, capture_output=True, text=True, check=True)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["truncate", "--target-size"]


def test_zsh(tmp_path):
    if shutil.which("zsh") is None:
        pytest.skip("needs zsh")
    script = (
        f"autoload -Uz compinit && compinit -u -d {tmp_path}/dump;"
        'eval "$(_DDPMCODEC_COMPLETE=zsh_source ddpmcodec)"; print -r -- $_comps[ddpmcodec]'
    )
    done = subprocess.run(["zsh", "-f", "-c", script], env=os.environ | {"PATH": PATH}, capture_output=True, text=True, check=True)
    assert done.stdout == "_ddpmcodec_completion\n"
