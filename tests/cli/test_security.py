"""The commands open no connection, start no program, and write nowhere but where they were told: by Python's audit events."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from ddpmcodec.errors import ModelError
from ddpmcodec.models import checkpoint

CONFORMANCE = Path(__file__).parents[1] / "conformance" / "1"
WATCHED = """
import json, os, sys
heard = []
def hear(event, args):
    if event.startswith("socket.") and event != "socket.gethostname":
        heard.append((event, ""))
        raise OSError("no network here")
    if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"):
        heard.append((event, str(args[0])))
    if event == "open" and isinstance(args[0], str | bytes) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        heard.append((event, os.path.abspath(os.fsdecode(args[0]))))
    if event in ("os.remove", "os.mkdir", "os.rename", "os.link", "os.symlink"):
        heard.append((event, os.path.abspath(os.fsdecode(args[event in ("os.rename", "os.link", "os.symlink")]))))
sys.addaudithook(hear)
from ddpmcodec.cli.main import main
codes = []
for command in json.loads(sys.argv[1]):
    try:
        main(command)
    except SystemExit as e:
        codes.append(e.code or 0)
with os.fdopen(int(sys.argv[2]), "w") as report:
    json.dump([codes, heard], report)
"""


@pytest.fixture
def watched(tmp_path):
    """Runs commands in one process, in an empty directory: their exit codes, and what they did to the outside."""
    (tmp_path / "cache").mkdir()

    def run(commands):
        reader, writer = os.pipe()
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "HOME": str(tmp_path / "home")}
        arguments = [sys.executable, "-c", WATCHED, json.dumps(commands), str(writer)]
        done = subprocess.run(arguments, cwd=tmp_path, env=environment, pass_fds=[writer], capture_output=True)
        os.close(writer)
        with os.fdopen(reader) as report:
            text = report.read()
        assert text, done.stderr.decode()
        return json.loads(text)

    return run


def outside(heard, directory):
    """Of what was heard, what does not concern a directory or /dev/null."""
    return [(event, path) for event, path in heard if not path.startswith((str(directory), os.devnull))]


def test_commands_keep_to_themselves(watched, tmp_path, photo, encoding, model_path):
    Image.fromarray(photo[:24, :32]).save(tmp_path / "photo.png")
    (tmp_path / "photo.ddpm").write_bytes(encoding.data)
    commands = [
        ["encode", "photo.png", "-o", "new.ddpm", "--effort", "1", "--evaluations", "3", "--model", model_path],
        ["decode", "photo.ddpm", "-o", "out.png"],
        ["info", "photo.ddpm"],
        ["truncate", "photo.ddpm", "-o", "small.ddpm", "--steps", "1"],
        ["view", "photo.ddpm", "-o", "page.html"],
        ["models"],
        ["--version"],
    ]
    codes, heard = watched(commands)
    assert codes == [0] * len(commands) and outside(heard, tmp_path) == []
    made = {path.name for path in tmp_path.iterdir()}
    assert made - {"home"} == {"cache", "photo.png", "photo.ddpm", "new.ddpm", "out.png", "small.ddpm", "page.html"}


def test_refused_files_leave_nothing(watched, tmp_path, encoding):
    """Also where the model's name is one that a path could be made of."""
    names = ["bad-name", "bad-model", "bad-tail-picture", "bad-alpha"]
    for name in names:
        (tmp_path / f"{name}.ddpm").write_bytes((CONFORMANCE / f"{name}.ddpm").read_bytes())
    before = set(tmp_path.iterdir())
    codes, heard = watched([["decode", f"{name}.ddpm", "-o", "out.png"] for name in names])
    assert codes == [8, 9, 16, 8] and outside(heard, tmp_path) == []
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "home"}


class Exploit:
    def __reduce__(self):
        return Path.touch, (Path("was-run"),)


def test_a_pickle_in_a_models_place_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(pickle.dumps(Exploit()))
    with pytest.raises(ModelError):
        checkpoint.load(tmp_path / "model.safetensors")
    assert not (tmp_path / "was-run").exists()
