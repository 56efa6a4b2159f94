"""What goes wrong around the program, tried on the installed command: full disks, closed streams, killed workers.

More of it is in test_process.py (readers that go away), test_batch.py (signals) and test_errors.py.
"""

import fcntl
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddpmcodec
from ddpmcodec.format import container

COMMAND = str(Path(sys.executable).parent / "ddpmcodec")
FAST = ["--model", "test-model", "--evaluations", "3", "--effort", "1"]


def run(*arguments, redirect="", variables=(), **options):
    """The command, with redirections as a shell has them."""
    shell = ["bash", "-c", f'exec "$0" "$@" {redirect}', COMMAND, *map(str, arguments)]
    env = os.environ | {"PYTHONUNBUFFERED": ""} | dict(variables)
    done = subprocess.run(shell, capture_output=True, env=env, timeout=120, **options)
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr
    return done


def fails(code, *arguments, **options):
    """A run that fails with one line, which is returned."""
    done = run(*arguments, **options)
    assert done.returncode == code and done.stdout == b"", done
    assert done.stderr.startswith(b"ddpmcodec: ") and done.stderr.count(b"\n") == 1
    return done.stderr.decode()


def on_a_full_disk(size=100):
    """For a child: no file can have more bytes."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return {"preexec_fn": limit}


@pytest.mark.parametrize(
    "arguments",
    [("encode", "in.png", "-o", "old", *FAST), ("decode", "in.ddpm", "-o", "old.png"), ("view", "in.ddpm", "-o", "old.html")],
    ids=lambda arguments: arguments[0],
)
def test_a_full_disk(folder, arguments):
    Path(arguments[3]).write_bytes(b"precious")
    before = sorted(os.listdir())
    assert f"ddpmcodec: {arguments[3]}: File too large" in fails(12, *arguments, **on_a_full_disk())
    assert Path(arguments[3]).read_bytes() == b"precious" and sorted(os.listdir()) == before


def test_a_full_disk_in_a_batch(folder):
    done = run("encode", "in.png", "-o", "coded/", "-j", 1, *FAST, **on_a_full_disk())
    assert done.returncode == 12 and b"ddpmcodec: coded/in.ddpm: File too large\n" in done.stderr
    assert os.listdir("coded") == []


@pytest.mark.parametrize(
    "arguments",
    [("info", "in.ddpm"), ("models", "test-model"), ("truncate", "in.ddpm", "-o", "-", "--steps", 1), ("decode", "in.ddpm", "-o", "-")],
    ids=lambda arguments: arguments[0],
)
def test_stdout_that_is_full(folder, arguments):
    assert "No space left" in fails(12, *arguments, redirect="> /dev/full")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_stdout_that_is_full_in_the_middle(folder, unbuffered):
    arguments = ("truncate", "in.ddpm", "-o", "-", "--steps", 99)
    message = fails(12, *arguments, redirect="> out", variables={"PYTHONUNBUFFERED": unbuffered}, **on_a_full_disk())
    assert message == "ddpmcodec: stdout: File too large\n"


@pytest.mark.parametrize(
    "arguments",
    [("encode", "-", "-o", "out"), ("decode", "-", "-o", "out.png"), ("info", "-"), ("truncate", "-", "-o", "out", "--steps", 1),
     ("view", "-", "-o", "out"), ("bd-rate", "-", "-"), ("plot", "-", "-o", "out.png")],
    ids=lambda arguments: arguments[0],
)  # fmt: skip
def test_stdin_that_is_closed(folder, arguments):
    before = sorted(os.listdir())
    assert "stdin is closed" in fails(3, *arguments, redirect="<&-")
    assert sorted(os.listdir()) == before


def test_stdin_that_ends_early(folder, drawing_encoding):
    data = drawing_encoding.data
    second = container.parse(data).ends[1]
    assert "stdin: " in fails(7, "decode", "-", "-o", "out.png", input=data[:20])
    assert "stdin: " in fails(4, "encode", "-", "-o", "out.ddpm", input=Path("in.png").read_bytes()[:-200])
    assert sorted(os.listdir()) == ["in.ddpm", "in.png"]
    done = run("decode", "-", "-o", "out.png", input=data[: second + 5])
    assert done.returncode == 0 and b"decoded from 2 of " in done.stderr
    with Image.open("out.png") as image:
        assert np.array_equal(np.asarray(image), np.asarray(ddpmcodec.decode(data, 2)))


@pytest.mark.parametrize(
    "arguments", [("encode", "in.png", "-o", "-", *FAST), ("decode", "in.ddpm", "-o", "-"), ("models",)], ids=lambda arguments: arguments[0]
)
def test_a_reader_that_goes_away_is_not_worth_a_word(folder, arguments):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([COMMAND, *arguments], stdout=writing, stderr=subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": ""})
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_of_the_first_bytes(folder, unbuffered):
    """`| head -c 10`, of a page that is longer than the pipe holds."""
    reading, writing = os.pipe()
    assert fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096) == 4096
    variables = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen([COMMAND, "view", "in.ddpm", "-o", "-"], stdout=writing, stderr=subprocess.PIPE, env=variables) as process:
        os.close(writing)
        assert os.read(reading, 10) == b"<!DOCTYPE "
        os.close(reading)
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_stderr_that_is_closed(folder, drawing_encoding):
    assert run("decode", "nowhere", "-o", "out.png", redirect="2>&-").returncode == 3
    done = run("decode", "in.ddpm", "-o", "out.png", redirect="2>&-")
    assert (done.returncode, done.stdout) == (0, b"")
    with Image.open("out.png") as image:
        assert np.array_equal(np.asarray(image), ddpmcodec.decode(drawing_encoding.data))
    done = run("encode", "nowhere", "in.png", "-o", "coded/", "-j", 1, *FAST, redirect="2>&-")
    assert (done.returncode, done.stdout) == (3, b"")
    assert container.parse(Path("coded/in.ddpm").read_bytes()).complete


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_no_file_gets_the_number_of_a_stream_that_is_closed(tmp_path, closed):
    """What a library says would be in it. Nor in a worker."""
    numbers = [int(c) for c in closed if c.isdigit()]
    null = f"any(not os.path.samestat(os.fstat(n), os.stat(os.devnull)) for n in {numbers})"
    child = f"import os; raise SystemExit({null})"
    program = (
        "import subprocess, sys; from ddpmcodec.cli import files; files.open_standard_streams();"
        "number = open('file', 'w').fileno(); print('said', file=sys.stderr);"
        f"raise SystemExit(number <= 2 or subprocess.call([sys.executable, '-c', {child!r}]))"
    )
    subprocess.run(["bash", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, program], cwd=tmp_path, check=True, capture_output=True)


def workers_of(pid):
    """Of a process: those that multiprocessing has started to work."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            parent = next(line for line in status.read_text().splitlines() if line.startswith("PPid:")).split()[1]
            if int(parent) == pid and b"--multiprocessing-fork" in (status.parent / "cmdline").read_bytes():
                yield int(status.parent.name)
        except FileNotFoundError:  # it has ended
            continue


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_worker_that_is_killed(folder, photo):
    """As the system does where memory is short."""
    Image.fromarray(photo[:8, :8]).save("0.png")
    for i in (1, 2, 3):
        Image.fromarray(np.tile(photo, (5, 5, 1))).save(f"{i}.png")
    inputs = [f"{i}.png" for i in range(4)]
    command = [COMMAND, "encode", *inputs, "-o", "coded/", "-j", "2", "--model", "test-model", "--evaluations", "200", "--effort", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not Path("coded/0.ddpm").exists():
            time.sleep(0.05)
        killed, *others = workers_of(process.pid)
        os.kill(killed, signal.SIGKILL)
        complaints = process.communicate(timeout=60)[1]
    assert process.returncode == 17
    assert complaints.startswith("ddpmcodec: a worker process has died") and complaints.count("\n") == 1
    assert os.listdir("coded") == ["0.ddpm"] and container.parse(Path("coded/0.ddpm").read_bytes()).complete
    for pid in others:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="needs files without a name")
def test_killed_while_writing(folder):
    """As late as can be: nothing is left but the old file."""
    try:
        os.close(os.open(".", os.O_TMPFILE | os.O_WRONLY))
    except OSError:
        pytest.skip("needs files without a name")
    Path("old").write_bytes(b"precious")
    program = "import os, sys; os.fsync = lambda f: os.kill(os.getpid(), 9); from ddpmcodec.cli import main; main(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", program, "truncate", "in.ddpm", "-o", "old", "--steps", "1"], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert Path("old").read_bytes() == b"precious" and sorted(os.listdir()) == ["in.ddpm", "in.png", "old"]


def test_processes_that_write_one_output(folder, drawing_encoding):
    """At every moment it is one of theirs, whole."""
    wholes = [ddpmcodec.truncate(drawing_encoding.data, steps=steps) for steps in (1, 2)]
    Path("out").write_bytes(wholes[0])
    processes = [subprocess.Popen([COMMAND, "truncate", "in.ddpm", "-o", "out", "--steps", str(i % 2 + 1)]) for i in range(6)]
    while any(process.poll() is None for process in processes):
        assert Path("out").read_bytes() in wholes
    assert [process.returncode for process in processes] == [0] * 6
    assert Path("out").read_bytes() in wholes and sorted(os.listdir()) == ["in.ddpm", "in.png", "out"]


@pytest.fixture
def encoded(folder, drawing):
    """Encodes with a directory for compiled code; what comes is as ever."""
    expected = ddpmcodec.encode(drawing, model="test-model", evaluations=3, effort=1)

    def encoded(directory, **options):
        variables = {"NUMBA_CACHE_DIR": str(directory), "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
        done = run("encode", "in.png", "-o", "out.ddpm", *FAST, "--quiet", variables=variables, **options)
        assert (done.returncode, done.stderr) == (0, b"") and Path("out.ddpm").read_bytes() == expected

    return encoded


def test_no_place_for_compiled_code(encoded):
    encoded("/dev/null/nowhere")


def test_no_room_for_compiled_code(encoded):
    encoded("cache", **on_a_full_disk(4000))
