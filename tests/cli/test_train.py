"""`ddpmcodec train`, from pictures to a model that encodes: run, stopped, gone on with, annealed, and every way to fail."""

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import ddpmcodec
from ddpmcodec import quality
from ddpmcodec.cli import main
from ddpmcodec.models import checkpoint, training_run

UNREADABLE, MODEL, OUTPUT, CONFIGURATION, TRAINING = 3, 9, 12, 14, 15
TINY = (Path(__file__).parents[1] / "data" / "tiny.toml").read_text()
ARGUMENTS = ("train", "--config", "tiny.toml", "--data", "photos", "-o", "out")
RUN = ["log.csv", "model.md", "model.safetensors", "state.safetensors"]


def textures(folder, sizes):
    folder.mkdir()
    for i, (height, width) in enumerate(sizes):
        y, x = np.mgrid[:height, :width] / 48
        waves = 120 + 100 * np.stack([np.sin(7 * x + i), np.cos(5 * y * (i + 1)), x * y], 2)
        Image.fromarray(waves.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory: photos, photos to validate on, a configuration; and reports each 5 iterations."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training_run, "REPORT_EVERY", 5)
    textures(Path("photos"), [(40, 48), (30, 20), (16, 64)])
    textures(Path("val"), [(24, 28), (21, 33)])
    Path("tiny.toml").write_text(TINY)
    return tmp_path


@pytest.fixture
def train(folder):
    """Trains, and says what was printed."""

    def train(*arguments, code=0):
        result = CliRunner().invoke(main, [*ARGUMENTS, *map(str, arguments)])
        assert result.exit_code == code, (result.exit_code, result.stderr, result.exception)
        return result

    return train


def contents(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def fails(train, folder):
    """A command that fails: its one line on stderr, after what it says of the pictures; no file is made or changed."""

    def fails(code, *arguments):
        before = contents(folder)
        result = train("--quiet", *arguments, code=code)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert result.stdout == ""
        if code != 2:
            assert result.stderr.startswith("ddpmcodec: ") and result.stderr.count("\n") == 1 and result.stderr.endswith("\n")
        assert contents(folder) == before
        return result.stderr

    return fails


def progress(path="out/state.safetensors"):
    with safe_open(path, framework="pt") as f:
        return json.loads(f.metadata()["progress"])


def names(path="out"):
    return sorted(os.listdir(path))


# ---- what it is for


def test_from_pictures_to_a_model_that_encodes(train, folder):
    result = train("--iterations", 10, "--val", "val", "--name", "tiny-1", "--licence", "CC0, all of them")
    assert names() == RUN
    assert "3 pictures" in result.stderr and "10 iterations" in result.stderr
    *table, path = result.stdout.splitlines()
    assert path == "out/model.safetensors"

    with open("out/log.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert [row["iteration"] for row in rows] == ["5", "10"]
    assert all(0 < float(row["loss"]) < 1000 for row in rows)

    model = checkpoint.load(Path(path))
    assert model.name == "tiny-1"
    card = Path("out/model.md").read_text()
    for text in ("# tiny-1", model.hash.hex(), "10 iterations", "photos", "CC0, all of them", "batch 4", "crops of 16", "1 to 20000"):
        assert text in card
    values = [float(cell) for cell in table[2].split("|")[2:5]]
    assert f"| tiny-1 | {' | '.join(f'{v:.2f}' for v in values)} |" in card and "| noise (of 255) | 15 | 25 | 50 |" in card
    evaluated = CliRunner().invoke(main, ["eval", "val", "--model", path, "--denoise", "15,25,50"])
    assert evaluated.exit_code == 0 and table[2] in evaluated.stdout
    assert min(values) > 5 and max(values) < 40

    pixels = np.asarray(Image.open("val/0.png"))
    for arguments in (
        ["encode", "val/0.png", "-o", "a.ddpm", "--bpp", "12", "--evaluations", "3", "--effort", "1", "--model", path],
        ["decode", "a.ddpm", "-o", "a.png", "--model", path],
    ):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, done.stderr
    data = ddpmcodec.encode(pixels, bpp=12, evaluations=3, effort=1, model=path)
    assert data == Path("a.ddpm").read_bytes()
    decoded = ddpmcodec.decode(data, model=path)
    assert np.array_equal(np.asarray(decoded), np.asarray(Image.open("a.png")))
    assert quality.psnr(pixels, np.asarray(decoded)) > 20


def test_without_validation_the_card_says_less(train):
    result = train("--iterations", 2)
    assert result.stdout == "out/model.safetensors\n"
    card = Path("out/model.md").read_text()
    assert "PSNR" not in card and "not stated" in card
    assert names() == [name for name in RUN if name != "log.csv"]  # no report yet
    assert checkpoint.load(Path("out/model.safetensors")).name == "tiny"  # the configuration's


def test_quiet(train):
    result = train("--iterations", 6, "--quiet")
    assert (result.stdout, result.stderr) == ("out/model.safetensors\n", "")


def test_the_same_command_goes_on(train):
    train("-o", "first", "--iterations", 1)
    init = ("--init", "first/model.safetensors")
    train("--iterations", 4, *init)
    assert progress() == {"iteration": 4, "annealed": None, "pixels": 4 * 4 * 16 * 16}
    assert "weights: out/state.safetensors, 4 iterations" in train("--iterations", 10).stderr
    assert progress()["iteration"] == 10
    train("-o", "whole", "--iterations", 10, "--quiet", *init)
    resumed, whole = load_file("out/state.safetensors"), load_file("whole/state.safetensors")
    assert resumed.keys() == whole.keys() and all(torch.equal(resumed[k], whole[k]) for k in whole)
    train("--minutes", "0.0005")
    assert progress()["iteration"] >= 10
    assert names() == RUN


def test_iterations_that_are_done_already(train):
    train("--iterations", 5)
    before = load_file("out/state.safetensors")
    result = train("--iterations", 3)
    assert result.stdout == "out/model.safetensors\n" and progress()["iteration"] == 5
    after = load_file("out/state.safetensors")
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_annealing_makes_a_model_of_a_copy(train):
    train("--iterations", 5)
    before = {name: Path("out", name).read_bytes() for name in ("state.safetensors", "model.safetensors", "model.md")}
    result = train("--anneal", "--iterations", 5, "--val", "val")
    assert result.stdout.endswith("out/annealed.safetensors\n")
    assert {name: Path("out", name).read_bytes() for name in before} == before
    assert names() == ["annealed.md", "annealed.safetensors", "annealing.safetensors", *RUN]
    assert progress("out/annealing.safetensors") == {"iteration": 10, "annealed": pytest.approx(1), "pixels": 10 * 4 * 16 * 16}
    assert "annealed to 100 %" in Path("out/annealed.md").read_text() and "PSNR" in Path("out/annealed.md").read_text()
    annealed, model = (checkpoint.load(Path("out", name)) for name in ("annealed.safetensors", "model.safetensors"))
    assert annealed.hash != model.hash


def test_a_new_run_may_begin_with_a_model(train):
    train("--iterations", 3, "--name", "first")
    result = train("-o", "second", "--iterations", 1, "--init", "out/model.safetensors")
    assert "weights: first" in result.stderr
    begun = checkpoint.load(Path("out/model.safetensors")).network.emb.f
    assert torch.equal(load_file("second/state.safetensors")["network/emb.f"], begun)


def test_a_run_does_not_replace_the_model_it_begins_with(fails, data_dir):
    Path("out").mkdir()
    shutil.copy(data_dir / "test-model.safetensors", "out/model.safetensors")
    assert "would replace its own input" in fails(OUTPUT, "--init", "./out/../out/model.safetensors")


def test_a_dry_run_writes_nothing(train, folder):
    before = contents(folder)
    result = train("--dry-run", "--val", "val", "--iterations", 1000)
    assert result.stdout == "" and "3 pictures" in result.stderr and "loss" in result.stderr
    assert contents(folder) == before and not Path("out").exists()
    without_output = [argument for argument in ARGUMENTS if argument not in ("-o", "out")]
    assert CliRunner().invoke(main, [*without_output, "--dry-run"]).exit_code == 0 and contents(folder) == before
    train("--iterations", 2)
    before = contents(folder)
    train("--dry-run", "--anneal", "--minutes", 5)
    assert contents(folder) == before


def test_options_instead_of_the_configurations(train):
    torch.set_num_threads(2)
    train("--iterations", 3, "--batch", 2, "--crop", 12, "--lr", 1e-3, "--seed", 4294967295, "--threads", 1)
    assert torch.get_num_threads() == 1
    assert progress()["pixels"] == 3 * 2 * 12 * 12
    card = Path("out/model.md").read_text()
    assert "batch 2" in card and "crops of 12" in card and "learning rate 0.001" in card


def test_odd_names(train):
    Path("photos").rename("my photos\n\N{SNOWMAN}")
    Path("tiny.toml").rename("tiny 2.toml")
    train("--config", "tiny 2.toml", "--name", "tiny", "--data", "my photos\n\N{SNOWMAN}", "-o", "my run/1\n2", "--iterations", 2)
    assert "model.safetensors" in names("my run/1\n2")


def test_files_that_are_no_pictures_are_named(train):
    Path("photos/cut.jpg").write_bytes(b"\xff\xd8\xff")
    Image.fromarray(np.zeros((32, 32), np.uint16)).save("photos/deep.png")
    Path("photos/loop").symlink_to("loop")
    Image.new("RGB", (15, 20)).save("photos/small.png")
    Path("val/broken.png").write_text("text\n")
    result = train("--iterations", 1, "--val", "val")
    for name in ("photos/cut.jpg", "photos/deep.png", "photos/small.png", "val/broken.png"):
        assert f"{name}: left out" in result.stderr
    assert "2 pictures" in result.stdout


@pytest.mark.parametrize("gone", [True, False])
def test_nobody_need_listen(train, gone):
    """A stderr that is closed, or whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        with contextlib.redirect_stderr(pipe if gone else None):
            main([*ARGUMENTS, "--iterations", "11", "--val", "val"], standalone_mode=False)
        with contextlib.suppress(OSError):
            pipe.close()
    assert progress()["iteration"] == 11 and names() == RUN


# ---- processes


def wait_for(stream, text):
    """Lines up to the one that begins with a text."""
    lines = []
    for line in stream:
        lines.append(line)
        if line.startswith(text):
            return
    pytest.fail(f"ended without {text!r}: {lines}")


def test_a_signal_saves_and_the_same_command_goes_on(folder, train):
    program = (
        "import sys; from ddpmcodec.cli import main; from ddpmcodec.models import training_run;"
        "training_run.REPORT_EVERY = 5; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, *ARGUMENTS, "--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for(process.stderr, "5 ")  # the report of iteration 5
        process.send_signal(signal.SIGTERM)
        out, complaints = process.communicate()
    assert process.returncode == 130 and out == ""
    assert "ddpmcodec: interrupted; the same command goes on\n" in complaints and "Traceback" not in complaints
    done = progress()["iteration"]
    assert done >= 5 and f"{done} iterations" in complaints
    assert names() == ["log.csv", "model.safetensors", "state.safetensors"]
    assert f"{done} iterations" in train("--iterations", done + 2).stderr
    assert progress()["iteration"] == done + 2 and names() == RUN


def test_a_full_disk_leaves_the_state_before(folder, train):
    """A limit on the size of files stands for it."""
    train("--iterations", 2)
    before = {name: Path("out", name).read_bytes() for name in names()}
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)); from ddpmcodec.cli import main; main(sys.argv[1:])"
    )
    result = subprocess.run(
        [sys.executable, "-B", "-c", program, *ARGUMENTS, "--quiet", "--iterations", "4", "--threads", "1"], capture_output=True, text=True
    )
    assert (result.returncode, result.stdout) == (OUTPUT, "")
    assert result.stderr.startswith("ddpmcodec: out/state.safetensors: ") and result.stderr.count("\n") == 1
    assert {name: Path("out", name).read_bytes() for name in names()} == before
    assert "2 iterations" in train("--iterations", 4).stderr
    assert progress()["iteration"] == 4


# ---- every way to fail


def test_usage(fails):
    assert "--anneal needs --iterations or --minutes" in fails(2, "--anneal")
    for option, values in {
        "--iterations": ("0", "-1", "1.5", "many"),
        "--minutes": ("0", "-1", "nan", "inf"),
        "--batch": ("0", "-1", "2000000"),
        "--crop": ("0", "-16", "20000"),
        "--lr": ("0", "-1", "1.1", "nan", "inf"),
        "--seed": ("-1", "4294967296", "0.5"),
        "--threads": ("0", "257"),
        "--speed": ("1",),
    }.items():
        for value in values:
            assert option in fails(2, option, value)
    result = CliRunner().invoke(main, ["train", "--data", "photos"])
    assert result.exit_code == 2 and "--output" in result.stderr
    result = CliRunner().invoke(main, ["train", "-o", "out"])
    assert result.exit_code == 2 and "--data" in result.stderr


def test_data_that_cannot_be_trained_on(fails):
    Path("empty").mkdir()
    Path("text").mkdir()
    Path("text/a.png").write_text("text\n")
    textures(Path("small"), [(15, 90), (90, 15)])
    for data, message in [
        ("nowhere", "nowhere is not a directory"),
        ("photos/0.png", "photos/0.png is no folder"),
        ("x" * 300, "name too long"),
        ("empty", "no pictures in empty"),
        ("text", "no readable pictures in text"),
        ("small", "all pictures in small are smaller than the crop of 16 pixels"),
    ]:
        assert message in fails(UNREADABLE, "--data", data, "--iterations", 1)
        assert message in fails(UNREADABLE, "--data", data, "--dry-run")
    assert "crop of 64" in fails(UNREADABLE, "--crop", 64, "--iterations", 1)


def test_pictures_to_validate_on_are_looked_for_before_the_work(fails, train):
    Path("empty").mkdir()
    assert "nowhere does not exist" in fails(UNREADABLE, "--val", "nowhere", "--iterations", 2)
    assert "no pictures in empty" in fails(UNREADABLE, "--val", "empty", "--iterations", 2)
    Path("text").mkdir()
    Path("text/a.png").write_text("text\n")
    assert "no readable pictures in text" in train("--val", "text", "--iterations", 1, "--quiet", code=UNREADABLE).stderr
    assert progress()["iteration"] == 1


def test_configurations(fails):
    for name, text in [
        ("unknown.toml", TINY.replace("batch", "bunch")),
        ("wrong.toml", TINY.replace("batch = 4", "batch = 4.5")),
        ("model.toml", TINY.replace("blocks = 1", 'blocks = "one"')),
        ("field.toml", TINY.replace("blocks = 1", "blocks = 1\ncolours = 3")),
        ("start.toml", TINY.replace("-3734", "999999")),
        ("not.toml", "just text\n"),
    ]:
        Path(name).write_text(text)
        fails(CONFIGURATION, "--config", name, "--iterations", 2)
    for name in ("nowhere", "nowhere.toml", "photos", ""):
        assert "known are celeba_hq_256, cifar10" in fails(CONFIGURATION, "--config", name, "--iterations", 2)
    assert "multiples of 4" in fails(CONFIGURATION, "--crop", 18, "--iterations", 2)


def test_models(fails, train):
    for model in ("nowhere", "/nowhere.safetensors", "tiny.toml", "."):
        fails(MODEL, "--init", model, "--iterations", 2)
    Path("other.toml").write_text(TINY.replace("[8, 16]", "[8, 24]"))
    train("--iterations", 1)
    assert "channels [8, 16] for [8, 24]" in fails(MODEL, "--config", "other.toml", "--iterations", 2)
    assert "channels" in fails(MODEL, "--config", "other.toml", "-o", "new", "--init", "out/model.safetensors", "--iterations", 2)
    assert "channels" in fails(MODEL, "--config", "other.toml", "--anneal", "--minutes", 1)
    assert "channels" in fails(MODEL, "--config", "other.toml", "--dry-run")
    for name in ("My Model", "a/b", "x" * 65):
        assert "name" in fails(MODEL, "--name", name, "--iterations", 2)
    Path("My Config.toml").write_text(TINY)
    assert "name" in fails(MODEL, "--config", "My Config.toml", "--iterations", 2)


def test_states_that_are_none(fails, train):
    train("--iterations", 1)
    whole = Path("out/state.safetensors").read_bytes()
    for data in (b"", b"just text\n", whole[:100], whole[:-1], Path("out/model.safetensors").read_bytes()):
        Path("out/state.safetensors").write_bytes(data)
        assert "out/state.safetensors" in fails(MODEL, "--iterations", 2)
        Path("out/annealing.safetensors").write_bytes(data)
        assert "out/annealing.safetensors" in fails(MODEL, "--anneal", "--iterations", 2)
    Path("out/state.safetensors").unlink()
    Path("out/state.safetensors").mkdir()
    fails(MODEL, "--iterations", 2)


def test_outputs_that_cannot_be_written(fails, train):
    Path("file").write_text("ours\n")
    for path in ("file", "file/too", "x" * 300, "/dev/null", "/proc/nothing"):
        assert path in fails(OUTPUT, "-o", path, "--iterations", 2)
    shutil.copytree("photos", "out/model.safetensors")  # a directory where the model belongs
    result = train("--iterations", 1, "--quiet", code=OUTPUT)
    assert result.stderr.startswith("ddpmcodec: out/model.safetensors: ") and result.stderr.count("\n") == 1
    assert progress()["iteration"] == 1


@contextlib.contextmanager
def unprivileged():
    """For root, to be nobody for a while: root can write everywhere."""
    root = os.geteuid() == 0
    if root:
        os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        if root:
            os.setresuid(0, 0, 0)


def test_permissions(train, monkeypatch):
    train("--iterations", 1)  # which imports all there is: nobody may not read it
    with tempfile.TemporaryDirectory() as name:
        monkeypatch.chdir(name)
        os.chmod(name, 0o777)
        textures(Path("photos"), [(40, 48)])
        Path("tiny.toml").write_text(TINY)
        for directory, mode in (("closed", 0o555), ("hidden", 0o000), ("listed", 0o444)):
            shutil.copytree("photos", directory)
            Path(directory).chmod(mode)
        with unprivileged():
            results = {
                (code, message, arguments): CliRunner().invoke(main, [*ARGUMENTS, "--quiet", "--iterations", "2", *arguments])
                for code, message, *arguments in [
                    (OUTPUT, "closed is not writable", "-o", "closed"),
                    (OUTPUT, "closed/new: Permission denied", "-o", "closed/new"),
                    (UNREADABLE, "hidden", "--data", "hidden"),
                    (UNREADABLE, "listed/0.png: Permission denied", "--data", "listed"),
                    (UNREADABLE, "hidden: Permission denied", "--val", "hidden"),
                ]
                for arguments in [tuple(arguments)]
            }
        for (code, message, arguments), result in results.items():
            assert result.exit_code == code, (arguments, result.stderr)
            assert result.stderr.startswith("ddpmcodec: ") and result.stderr.count("\n") == 1 and message in result.stderr
        assert names("closed") == ["0.png"]
        for directory in ("closed", "hidden", "listed"):
            Path(directory).chmod(0o755)


def test_learning_that_fails_leaves_the_files(fails, train):
    train("--iterations", 2)
    Path("fast.toml").write_text(TINY.replace("2e-3", "1e7"))
    assert "not a number" in fails(TRAINING, "--config", "fast.toml", "--iterations", 4)
    train("--iterations", 4)
    assert progress()["iteration"] == 4


# ---- the environment


@pytest.mark.parametrize(
    "environment", [{"WORLD_SIZE": "two"}, {"WORLD_SIZE": "2", "RANK": "2"}, {"RANK": "1"}, {"WORLD_SIZE": "2", "RANK": "0"}], ids=str
)
def test_an_environment_that_is_not_torchruns(fails, monkeypatch, environment):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    fails(14, "--iterations", 1)


def test_no_directory(fails):
    fails(2, "-o", "", "--iterations", 1)


def test_seeds_reach_the_first_weights(train):
    hashes = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train("-o", name, "--iterations", 1, "--lr", 1e-12, "--seed", seed)
        hashes.append(checkpoint.load(Path(name) / "model.safetensors").hash)
    assert hashes[0] == hashes[1] != hashes[2]


# ---- models of the paper's kind

PAPER = """
[model]
architecture = "ddpm-unet"
resolution = 16
channels = 8
multipliers = [1, 2]
blocks = 1
attention = [8]
groups = 4
{model}
levels = {{ kind = "discrete", schedule = "linear", T = 50, beta_1 = 1e-4, beta_T = 0.3 }}
start = 50
[data]
crop = 16
augment = "flip"
[objective]
loss = "{loss}"
[optimizer]
batch = 4
learning_rate = 2e-3
betas = [0.9, 0.999]
warmup = 2
clip = 1.0
ema = 0.9
dropout = 0.1
iterations = {iterations}
"""
# The rows of table 2: what is predicted, the variance, and the loss.
TABLE_2 = [
    ("mu", "learned-range", "bound"),
    ("mu", "beta", "bound"),
    ("mu", "beta", "simple"),
    ("epsilon", "learned-range", "bound"),
    ("epsilon", "beta", "bound"),
    ("epsilon", "beta", "simple"),
    ("epsilon", "learned", "bound"),
    ("x_0", "beta-tilde", "simple"),
    ("v", "fitted", "simple"),
]


def paper_toml(prediction="epsilon", variance="beta", loss="simple", iterations=4):
    model = f'prediction = "{prediction}"\nvariance = "{variance}"'
    Path("paper.toml").write_text(PAPER.format(model=model, loss=loss, iterations=iterations))


@pytest.mark.parametrize(("prediction", "variance", "loss"), TABLE_2)
def test_the_rows_of_table_2(train, prediction, variance, loss):
    paper_toml(prediction, variance, loss)
    train("--config", "paper.toml", "--quiet")
    assert progress()["iteration"] == 4  # the configuration's
    model = checkpoint.load(Path("out/model.safetensors"))
    assert (model.prediction, model.variance) == (prediction, variance)
    card = Path("out/model.md").read_text()
    assert f"50 timesteps, linear schedule; predicts {prediction}, variance {variance}" in card and "Muon" not in card


def test_a_paper_model_is_resumed_exactly(train):
    """Dropout included."""
    paper_toml("epsilon", "learned", "bound")
    train("--config", "paper.toml", "-o", "whole", "--iterations", 6)
    train("--config", "paper.toml", "-o", "parts", "--iterations", 2)
    train("--config", "paper.toml", "-o", "parts", "--iterations", 6)
    whole, parts = (load_file(f"{name}/state.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys() and all(torch.equal(whole[k], parts[k]) for k in whole)


def test_losses_that_train_no_variance(fails):
    paper_toml("epsilon", "learned", "simple")
    assert "bound" in fails(14, "--config", "paper.toml")


def test_arrays_are_data_too(train):
    paper_toml()
    np.savez("a.npz", images=np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8))
    assert "5 pictures" in train("--config", "paper.toml", "--data", "a.npz").stderr


def test_arrays_that_are_none(fails):
    paper_toml()
    np.savez("a.npz", images=np.zeros((5, 8, 8, 3), np.uint8))
    assert "smaller than the crop" in fails(3, "--config", "paper.toml", "--data", "a.npz")
    fails(3, "--config", "paper.toml", "--data", "nothing.npz")
    fails(3, "--config", "paper.toml", "--data", "paper.toml")
