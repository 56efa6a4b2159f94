"""Training on tiny networks: resumed exactly, averaged, annealed, and stopped before a good state is lost."""

import csv
import math
import shutil
import signal
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save

from ddpmcodec.errors import ConfigurationError, ModelError, OutputError, TrainingError
from ddpmcodec.models import checkpoint, networks, training, training_run
from ddpmcodec.models.configuration import Configuration
from ddpmcodec.models.crops import Crops
from ddpmcodec.models.distributed import Processes
from ddpmcodec.models.training import Stop, Trainer
from ddpmcodec.models.training_run import TrainingRun
from ddpmcodec.models.training_state import Progress

CPU = torch.device("cpu")
ALONE = Processes(0, 1, CPU)
MODEL = {
    "architecture": "photo-unet",
    "channels": [8, 16],
    "blocks": 1,
    "embedding": 8,
    "unshuffle": 2,
    "levels": {"kind": "continuous"},
    "start": -3734,
}


WHITEN = {"share": 0.5, "power": 1.3, "field_share": 0.5, "field": 4.0, "margin": 4}


def configure(model=None, crop=16, objective=None, whiten=None, **optimizer) -> Configuration:
    options = {"batch": 4, "learning_rate": 2e-3, "muon_factor": 10.0, "weight_decay": 0.01, "warmup": 3, "clip": 2.0, "ema": 0.9}
    fields = {
        "model": MODEL | (model or {}),
        "data": {"crop": crop, "whiten": whiten},
        "objective": objective or {"loss": "relative-error", "sigma": [1.0, 50.0, 20000.0], "share": [0.7, 0.3]},
        "optimizer": options | optimizer,
    }
    return msgspec.convert(fields, Configuration)


def photos():
    """Smooth pictures of differing colours."""
    y, x = np.mgrid[:40, :48] / 48
    waves = [np.stack([np.sin(7 * x + i), np.cos(5 * y * (i + 1)), x * y], 2) for i in range(3)]
    return [(120 + 100 * w).clip(0, 255).astype(np.uint8) for w in waves]


def begin(configuration, weights=0):
    """A state with new weights drawn from this seed."""
    return training.build_state(configuration, CPU, weights)


def trainer(configuration, state=None, seed=5, processes=ALONE):
    return Trainer(configuration, state or begin(configuration), Crops(photos(), configuration.data.side, CPU), seed, processes)


def run(a_trainer, stop_at=None, **options):
    """Runs it; with `stop_at`, asks it to stop when so many iterations are done."""
    stop = Stop()

    def tick(iteration):
        stop.asked = iteration == stop_at

    training.run(a_trainer, stop=stop, tick=tick, **options)
    return a_trainer.state


def copied(state):
    return {name: value.clone() for name, value in state.tensors().items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert value.dtype == b[name].dtype and torch.equal(value, b[name]), name


# ---- resuming


def test_a_state_holds_everything(tmp_path):
    """Weights and their averages, the momenta of Muon, both moments and the step of AdamW, each parameter in one of the two."""
    state = run(trainer(configure()), iterations=2)
    names = set(state.tensors())
    parameters = dict(state.network.named_parameters())
    muon = {n.removeprefix("muon/momentum/") for n in names if n.startswith("muon/")}
    convolutions = {n for n, p in parameters.items() if n.endswith("weight") and p.ndim == 4}
    assert muon == convolutions - {"inp.weight", "out.weight", "up.0.weight"}
    adamw = set(parameters) - muon - {"emb.f"}
    expected = {f"{part}/{n}" for part in ("network", "ema") for n in parameters} | {"ema_count"}
    expected |= {f"muon/momentum/{n}" for n in muon}
    expected |= {f"adamw/{key}/{n}" for key in ("step", "exp_avg", "exp_avg_sq") for n in adamw}
    assert names == expected
    path = tmp_path / "state.safetensors"
    state.save(path)
    assert_same(load_file(path), state.tensors())
    assert [p.name for p in tmp_path.iterdir()] == ["state.safetensors"]


@pytest.mark.parametrize("stop_at", [1, 4, 6])
def test_an_interrupted_run_is_the_run_that_was_not(tmp_path, stop_at):
    configuration = configure()
    whole = run(trainer(configuration), iterations=7)
    path = tmp_path / "state.safetensors"
    first = run(trainer(configuration), stop_at, iterations=7)
    assert first.progress.iteration == stop_at
    before = copied(first)
    first.save(path)
    assert_same(before, first.tensors())
    other = begin(configuration, weights=1)  # nothing is left of what it began with
    other.restore(path)
    assert_same(before, other.tensors())
    resumed = run(trainer(configuration, other), iterations=7)
    assert_same(whole.tensors(), resumed.tensors())
    assert whole.progress == resumed.progress and whole.progress.iteration == 7
    assert not torch.equal(before["network/inp.weight"], resumed.tensors()["network/inp.weight"])


def test_nothing_stays_of_what_was_before(tmp_path):
    """A state before its first iteration, restored after some."""
    path = tmp_path / "state.safetensors"
    begin(configure(), weights=1).save(path)
    state = run(trainer(configure()), iterations=2)
    state.restore(path)
    assert state.progress == Progress()
    assert_same(state.tensors(), begin(configure(), weights=1).tensors())


@pytest.mark.parametrize("stop_at", [4, 7, 9])
def test_an_interrupted_annealing_is_the_one_that_was_not(tmp_path, stop_at):
    """Three iterations at constant rate, seven of annealing."""
    configuration = configure()
    start = tmp_path / "state.safetensors"
    run(trainer(configuration), iterations=3).save(start)

    def annealed(path, stop_at=None):
        state = begin(configuration, weights=2)
        state.restore(path)
        return run(trainer(configuration, state), stop_at, anneal=True, iterations=7)

    whole = annealed(start)
    path = tmp_path / "annealing.safetensors"
    first = annealed(start, stop_at)
    assert first.progress.iteration == stop_at and first.progress.annealed == pytest.approx((stop_at - 3) / 7)
    first.save(path)
    resumed = annealed(path)
    assert_same(whole.tensors(), resumed.tensors())
    assert whole.progress == resumed.progress
    assert whole.progress.iteration == 10 and whole.progress.annealed == pytest.approx(1)


def test_the_seed_and_the_data_decide():
    configuration = configure()
    a, b, other = (run(trainer(configuration, seed=seed), iterations=2) for seed in (1, 1, 2))
    assert_same(a.tensors(), b.tensors())
    assert not torch.equal(a.tensors()["network/inp.weight"], other.tensors()["network/inp.weight"])


def test_every_iteration_has_its_own_batch():
    a_trainer = trainer(configure())
    first, second, again = (a_trainer.batch(i) for i in (0, 1, 0))
    for a, b, c in zip(first[:3], second[:3], again[:3], strict=True):
        assert torch.equal(a, c) and not torch.equal(a, b)
    x_0, u, eps, whitened = first
    assert not whitened.any()
    assert x_0.shape == eps.shape == (4, 3, 16, 16) and u.shape == (4,)
    assert 0.8 < float(eps.std()) < 1.2 and abs(float(eps.mean())) < 0.1


@pytest.mark.parametrize("whiten", [None, WHITEN])
def test_processes_share_the_batch_that_one_would_have(whiten):
    whole = trainer(configure(whiten=whiten)).batch(3)
    parts = []
    for rank in range(2):
        a_trainer = trainer(configure(whiten=whiten))
        a_trainer.processes = Processes(rank, 2, CPU)
        parts.append(a_trainer.batch(3))
    for value, a, b in zip(whole, *parts, strict=True):
        assert len(a) == len(b) == 2
        rows = sorted(v.flatten().tolist() for v in (*a, *b))
        assert rows == sorted(v.flatten().tolist() for v in value)


# ---- whitened crops


def test_the_loss_of_an_unfiltered_crop_is_that_of_a_run_without_whitening():
    """To the last bit, given the same crop, noise and level."""
    whitening = trainer(configure(whiten=WHITEN))
    plain = trainer(configure())
    batch = whitening.batch(0)
    assert int(batch.whitened.sum()) == 2
    losses = {name: t.objective(t.predict, batch.x_0, batch.u, batch.eps) for name, t in (("a", whitening), ("b", plain))}
    assert torch.equal(losses["a"], losses["b"])
    whole = whitening.crops.draw(4, whitening.generator.manual_seed(whitening._seed_of(0)))
    inner = whole[:, :, 4:20, 4:20]
    assert torch.equal(batch.x_0[~batch.whitened], inner[~batch.whitened])
    assert not any(torch.equal(a, b) for a, b in zip(batch.x_0[batch.whitened], inner[batch.whitened], strict=True))


def test_an_interrupted_run_with_whitening_is_the_run_that_was_not(tmp_path):
    configuration = configure(whiten=WHITEN)
    whole = run(trainer(configuration), iterations=5)
    run(trainer(configuration), 2, iterations=5).save(tmp_path / "state.safetensors")
    other = begin(configuration, weights=1)
    other.restore(tmp_path / "state.safetensors")
    assert_same(whole.tensors(), run(trainer(configuration, other), iterations=5).tensors())


def test_a_whitened_run_learns_something_else():
    losses = [float(trainer(configure(whiten=whiten)).iterate()[0].mean()) for whiten in (None, WHITEN, WHITEN | {"share": 1.0})]
    assert len(set(losses)) == 3


# ---- growing


def test_a_network_with_more_blocks_begins_as_the_one_it_grew_from():
    small = run(trainer(configure()), iterations=2)
    model = networks.model_of("small", small.config, small.network.state_dict())
    grown = begin(configure({"blocks": [1, 3]}), weights=1)
    grown.initialize(model)
    x, c = torch.randn(2, 3, 16, 16), torch.tensor([-1.0, 0.5])
    expected = model.network(x, c)
    assert torch.equal(grown.network(x, c), expected) and torch.equal(grown.ema.module(x, c), expected)
    again = trainer(configure({"blocks": [1, 3]}), grown)
    run(again, iterations=3)  # and what was added learns
    added = grown.network.enc[1][2]
    assert float(added.c2.weight.detach().abs().max()) > 0
    assert not torch.equal(grown.network(x, c), expected)


@pytest.mark.parametrize("change", [{"blocks": [2, 1]}, {"blocks": [3, 3]}, {"channels": [8, 12], "blocks": [3, 3]}])
def test_a_network_that_is_no_larger_one_of_the_same_kind_is_refused(change):
    state = begin(configure({"blocks": 2}))
    model = networks.model_of("small", state.config, state.network.state_dict())
    other = begin(configure(change))
    if change == {"blocks": [3, 3]}:
        other.initialize(model)
    else:
        with pytest.raises(ModelError, match=r"another configuration: .*blocks"):
            other.initialize(model)


@pytest.mark.parametrize("blocks", [[1], [1, 2, 3], [0, 1], [1, 65], [1, "2"], []])
def test_blocks_that_are_not_of_the_levels(blocks):
    with pytest.raises(ConfigurationError, match=r"blocks|sizes"):
        begin(configure({"blocks": blocks}))


# ---- the steps


def test_the_average_of_the_weights():
    """The first weights, then lerps with a decay that rises: the recurrence in float64."""
    a_trainer = trainer(configure(ema=0.3))
    parameters = dict(a_trainer.state.network.named_parameters())
    expected, decays = {}, []
    for count in range(6):
        a_trainer.iterate()
        now = {n: p.detach().double().numpy() for n, p in parameters.items()}
        decay = 0.0 if count == 0 else min(0.3, (1 + count) / (10 + count))
        decays.append(decay)
        expected = {n: decay * expected.get(n, 0) + (1 - decay) * v for n, v in now.items()}
    assert decays[1] < decays[2] < 0.3 == decays[-1]
    for name, value in a_trainer.state.ema.module.named_parameters():
        np.testing.assert_allclose(value.detach().numpy(), expected[name], rtol=1e-5, atol=1e-7)
    moved = parameters["inp.weight"] - a_trainer.state.ema.module.inp.weight
    assert moved.abs().max() > 1e-4


def rates(a_trainer, **options):
    """Learning rates over those of the configuration, of Muon and of AdamW, at each iteration of a run."""
    given = {"adamw": a_trainer.configuration.optimizer.learning_rate}
    given["muon"] = given["adamw"] * a_trainer.configuration.optimizer.muon_factor
    seen = []

    def tick(iteration):
        seen.append([group["lr"] / given[name] for name, o in a_trainer.state.optimizers.items() for group in o.param_groups])

    training.run(a_trainer, tick=tick, **options)
    assert all(a == pytest.approx(b) for a, b in seen)
    return [a for a, b in seen]


def test_the_learning_rate_rises_stays_and_falls():
    a_trainer = trainer(configure(warmup=4))
    assert rates(a_trainer, iterations=6) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    assert rates(a_trainer, anneal=True, iterations=5) == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])
    a_trainer = trainer(configure(warmup=0))
    expected = [max(0.01, 1 - i / 150) for i in range(150)]
    factors = []
    for i in range(150):
        a_trainer.state.progress.annealed = i / 150
        factors.append(a_trainer.learning_rate_factor())
    assert factors == pytest.approx(expected) and factors[-1] == 0.01
    a_trainer.state.progress.annealed = None
    assert a_trainer.learning_rate_factor() == 1


def test_annealing_may_begin_within_the_warm_up():
    assert rates(trainer(configure(warmup=4)), anneal=True, iterations=4) == pytest.approx([0.25, 0.5 * 0.75, 0.75 * 0.5, 0.25])


def test_annealing_by_minutes_comes_to_its_end():
    a_trainer = trainer(configure(warmup=0))
    factors = rates(a_trainer, anneal=True, minutes=0.003)
    assert a_trainer.state.progress.annealed >= 1 - 1e-9 and a_trainer.state.progress.iteration == len(factors) > 0
    assert factors[0] == pytest.approx(1) and factors == sorted(factors, reverse=True)


def test_no_time_is_no_iteration():
    state = run(trainer(configure()), minutes=1e-12)
    assert state.progress.iteration == 0


def test_what_is_done_already_is_not_done_again():
    a_trainer = trainer(configure())
    run(a_trainer, iterations=3)
    before = copied(a_trainer.state)
    run(a_trainer, iterations=2)
    assert_same(before, a_trainer.state.tensors())
    assert a_trainer.state.progress.iteration == 3 and a_trainer.state.progress.pixels == 3 * 4 * 16 * 16


def test_gradients_are_clipped():
    """AdamW does not mind the scale of gradients; its moments show it."""
    norms = {}
    for clip in (1e-3, 1e9):
        a_trainer = trainer(configure(clip=clip))
        a_trainer.iterate()
        moments = [v for n, v in a_trainer.state.tensors().items() if n.startswith("adamw/exp_avg/")]
        norms[clip] = 10 * float(torch.stack([m.square().sum() for m in moments]).sum().sqrt())  # beta_1 = 0.9
    assert norms[1e-3] == pytest.approx(1e-3, rel=1e-3) and norms[1e9] > 0.01


@pytest.mark.parametrize("whiten", [None, WHITEN])
def test_reports_are_means_by_band_of_noise(whiten):
    configuration = configure(whiten=whiten)
    twin = trainer(configuration)
    pairs = [twin.iterate() for _ in range(6)]
    reports = []
    training.run(trainer(configuration), iterations=6, report_every=3, report=reports.append)
    assert [r.iteration for r in reports] == [3, 6] and [r.learning_rate_factor for r in reports] == [1, 1]
    for report, part in zip(reports, (pairs[:3], pairs[3:]), strict=True):
        errors = torch.cat([losses for losses, _ in part]).double().numpy()
        u, whitened = (torch.cat([getattr(batch, key) for _, batch in part]).numpy() for key in ("u", "whitened"))
        assert report.loss == pytest.approx(errors.mean(), rel=1e-9) and report.pixels_per_second > 0
        assert len(report.whitened_bands) == (8 if whiten else 0) and whitened.mean() == (0.5 if whiten else 0)
        for kind, bands in enumerate((report.bands, report.whitened_bands)):
            for band, value in enumerate(bands):
                inside = errors[(band <= 8 * u) & (8 * u < band + 1) & (whitened == kind)]
                assert value == pytest.approx(inside.mean(), rel=1e-9) if len(inside) else math.isnan(value)
        assert ("whitened" in report.line()) == (whiten is not None)
        assert str(report.iteration) in report.line() and f"{report.loss:.4f}" in report.line()


def test_the_loss_goes_down():
    reports = []
    noise = {"loss": "relative-error", "sigma": [10.0, 50.0], "share": [1.0]}
    training.run(trainer(configure(objective=noise, batch=8, learning_rate=1e-2)), iterations=80, report_every=10, report=reports.append)
    assert reports[-1].loss < 0.65 * reports[0].loss


def test_a_stop_is_asked_for_by_a_signal():
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    for number in (signal.SIGINT, signal.SIGTERM):
        with Stop().listening() as stop:
            assert not stop.asked
            signal.raise_signal(number)
            assert stop.asked
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers


# ---- runs on disk


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for i, picture in enumerate(photos()):
        Image.fromarray(picture).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def go(data, tmp_path, monkeypatch):
    """Begins a run in a directory or goes on with it; with `stop_at`, a multiple of 5, it is sent SIGTERM when so many are done."""
    monkeypatch.setattr(training_run, "REPORT_EVERY", 5)

    def go(configuration=None, *, directory=tmp_path / "run", anneal=False, stop_at=None, weights=0, **options):
        configuration = configuration or configure()
        state = begin(configuration, weights)
        a_run = TrainingRun(directory, state, "tiny", anneal)

        def say(text):
            if text.startswith(f"{stop_at} "):
                signal.raise_signal(signal.SIGTERM)

        finished = training_run.train(a_run, configuration, data, ALONE, anneal=anneal, say=say, **options)
        assert finished is (stop_at is None)
        return state

    return go


RUN = ("state.safetensors", "model.safetensors")
ANNEALED = ("annealing.safetensors", "annealed.safetensors")


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def metadata(path):
    with safe_open(path, framework="pt") as f:
        return f.metadata()


def assert_same_file(a, b):
    """But for the order of the metadata, which safetensors does not fix."""
    assert_same(load_file(a), load_file(b))
    assert metadata(a) == metadata(b)


def test_a_run_goes_on_from_its_files(go, tmp_path):
    go(iterations=10, directory=tmp_path / "whole")
    assert go(stop_at=5, iterations=10).progress.iteration == 5
    assert go(iterations=10, weights=1).progress.iteration == 10
    assert contents(tmp_path / "whole").keys() == contents(tmp_path / "run").keys() == {*RUN, "log.csv"}
    for name in RUN:
        assert_same_file(tmp_path / "whole" / name, tmp_path / "run" / name)


def test_the_model_is_the_average_in_half_precision(go, tmp_path):
    state = go(iterations=4)
    model = checkpoint.load(tmp_path / "run" / "model.safetensors")
    assert model.name == "tiny" and model.config == MODEL
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, state.tensors()[f"ema/{name}"].half().float())


def test_the_log(go, tmp_path):
    go(iterations=12)
    go(iterations=15)
    with open(tmp_path / "run" / "log.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert [row["iteration"] for row in rows] == ["5", "10", "15"]
    for row in rows:
        assert all(math.isfinite(float(row[k])) for k in ("learning_rate_factor", "loss", "pixels_per_second"))
        assert sum(name.startswith("band_") for name in row) == 8


def test_annealing_leaves_the_run_as_it_is(go, tmp_path):
    run_directory, whole = tmp_path / "run", tmp_path / "whole"
    go(iterations=5)
    before = contents(run_directory)
    shutil.copytree(run_directory, whole)
    state = go(directory=whole, anneal=True, iterations=10)
    assert state.progress.iteration == 15 and state.progress.annealed == pytest.approx(1)

    interrupted = go(anneal=True, iterations=10, stop_at=10)
    assert interrupted.progress.iteration == 10 and interrupted.progress.annealed == pytest.approx(0.5)
    go(anneal=True, iterations=10, weights=1)
    for directory in (run_directory, whole):
        assert {name: contents(directory)[name] for name in RUN} == {name: before[name] for name in RUN}
    for name in ANNEALED:
        assert_same_file(run_directory / name, whole / name)
    assert checkpoint.load(run_directory / "annealed.safetensors").hash != checkpoint.load(run_directory / "model.safetensors").hash

    assert go(iterations=7).progress == training_progress(7, None)  # the run at constant rate goes on
    state = go(anneal=True, iterations=3)  # and what is annealed to its end begins anew from there
    assert state.progress == training_progress(10, pytest.approx(1))


def test_annealing_without_a_run_before_it(go, tmp_path):
    """From the first iteration on; done again, there is nothing left to do, until there is a run."""
    for _ in range(2):
        assert go(anneal=True, iterations=4).progress == training_progress(4, pytest.approx(1))
    assert contents(tmp_path / "run").keys() == set(ANNEALED)
    assert TrainingRun(tmp_path / "run", begin(configure()), "tiny", True).restore() == tmp_path / "run" / ANNEALED[0]
    go(iterations=2)
    assert go(anneal=True, iterations=4).progress == training_progress(6, pytest.approx(1))


def training_progress(iteration, annealed):
    return Progress(iteration, annealed, iteration * 4 * 16 * 16)


def test_a_run_begins_with_the_weights_of_a_model(go, tmp_path, model):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        given = networks.model_of("given", MODEL, networks.build(MODEL).state_dict())
    state = begin(configure())
    state.initialize(given)
    for part in ("network", "ema"):
        assert all(torch.equal(state.tensors()[f"{part}/{k}"], v) for k, v in given.network.state_dict().items())
    a, b = (copied(go(init=given, iterations=3, directory=tmp_path / str(i), weights=i)) for i in range(2))
    assert_same(a, b)
    assert_same(a, copied(go(init=model_like(model, channels=[8, 16]), iterations=3, directory=tmp_path / "1")))  # a run there goes on
    other = go(iterations=3, directory=tmp_path / "other").tensors()
    assert not torch.equal(a["network/inp.weight"], other["network/inp.weight"])


def model_like(model, **changes):
    config = MODEL | changes
    return networks.model_of("like", config, networks.build(config).state_dict())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"channels": [8, 24]}, "channels [8, 24] for [8, 16]"),
        ({"blocks": 2}, "blocks 2 for 1"),
        ({"start": -3000}, "start -3000 for -3734"),
        ({"levels": {"kind": "discrete", "schedule": "linear", "T": 10}, "start": 10}, "levels"),
    ],
)
def test_models_and_states_of_another_configuration_are_refused(go, tmp_path, model, changes, named):
    with pytest.raises(ModelError) as caught:
        begin(configure()).initialize(model_like(model, **changes))
    assert named in str(caught.value) and "'like'" in str(caught.value)
    with pytest.raises(ModelError):
        go(init=model_like(model, **changes), iterations=2)
    assert not (tmp_path / "run" / "state.safetensors").exists()

    go(configure(changes), iterations=1)
    before = contents(tmp_path / "run")
    with pytest.raises(ModelError) as caught:
        go(iterations=2)
    assert named in str(caught.value) and "state.safetensors" in str(caught.value)
    assert contents(tmp_path / "run") == before


def test_the_rest_of_a_configuration_may_change(go):
    """Batch, crops, noise and rates are not part of a state."""
    go(iterations=2)
    noise = {"loss": "relative-error", "sigma": [5.0, 50.0], "share": [1.0]}
    state = go(configure(crop=32, objective=noise, batch=2, learning_rate=1e-4, ema=0.5), iterations=4, seed=9)
    assert state.progress == Progress(4, None, 2 * 4 * 16 * 16 + 2 * 2 * 32 * 32)
    assert {g["lr"] for g in state.optimizers["adamw"].param_groups} == {1e-4}


@pytest.fixture(scope="module")
def state_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("state") / "state.safetensors"
    run(trainer(configure()), iterations=1).save(path)
    return path


def rewritten(state_file, tensors=None, **changes):
    """The file's bytes with other tensors or metadata; those of None are left out."""
    values = {k: v for k, v in (metadata(state_file) | changes).items() if v is not None}
    return save(load_file(state_file) | (tensors or {}), values)


def broken_states(state_file):
    data = state_file.read_bytes()
    tensors = load_file(state_file)
    for count in (0, 1, 8, 9, 200, len(data) // 2, len(data) - 1):
        yield data[:count]
    yield b"\x89PNG\r\n\x1a\n" + data
    yield data + b"more"
    for progress in (None, "", "3", "[]", "{}x", '{"iteration": "3"}', '{"iteration": 1.5}', '{"iteration": null}', "[" * 100_000):
        yield rewritten(state_file, progress=progress)
    for config in (None, "", "null", "[]", "3", "{", "{}", "[" * 100_000):
        yield rewritten(state_file, config=config)
    for name, value in [
        ("network/inp.weight", torch.zeros(8, 12, 3)),
        ("ema/inp.weight", torch.zeros(8, 13, 3, 3)),
        ("network/more.weight", torch.zeros(3)),
        ("ema_count", torch.zeros(2)),
        ("adamw/exp_avg/inp.weight", torch.zeros(1, 12, 3, 3)),
        ("adamw/exp_avg/more.weight", torch.zeros(3)),
        ("adamw/exp_avg", torch.zeros(3)),
        ("muon/momentum/inp.weight", torch.zeros(8, 12, 3, 3)),  # which is AdamW's
    ]:
        yield rewritten(state_file, {name: value})
    for part in ("network/inp.weight", "ema/out.bias", "ema_count", "adamw/step/inp.weight", "network/", "ema/", "muon/", "adamw/"):
        yield save({k: v for k, v in tensors.items() if not k.startswith(part)}, metadata(state_file))


def test_states_that_are_none(state_file, tmp_path, model_path):
    path = tmp_path / "state.safetensors"
    for i, data in enumerate([*broken_states(state_file), Path(model_path).read_bytes()]):
        path.write_bytes(data)
        with pytest.raises(ModelError) as caught:
            begin(configure()).restore(path)
            pytest.fail(f"state {i} was restored")
        assert "state.safetensors" in str(caught.value) and "\n" not in str(caught.value)
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ModelError):
            begin(configure()).restore(path)
    begin(configure()).restore(state_file)


def test_a_state_that_cannot_be_written_leaves_the_one_before(tmp_path):
    state = begin(configure())
    (tmp_path / "file").write_text("ours\n")
    (tmp_path / "directory").mkdir()
    for name in ("file/state", "missing/state", "directory", "x" * 300):
        with pytest.raises(OutputError, match=name):
            state.save(tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["directory", "file"]
    assert (tmp_path / "file").read_text() == "ours\n" and list((tmp_path / "directory").iterdir()) == []


def test_a_log_that_cannot_be_written_ends_no_run(go, tmp_path):
    (tmp_path / "run" / "log.csv").mkdir(parents=True)
    assert go(iterations=10).progress.iteration == 10
    assert (tmp_path / "run" / "state.safetensors").is_file()


def test_a_dry_run_writes_nothing(go, tmp_path):
    assert go(dry_run=True, directory=tmp_path / "none").progress.iteration == 5
    assert not (tmp_path / "none").exists()
    go(iterations=3)
    before = contents(tmp_path / "run")
    assert go(dry_run=True, iterations=1, anneal=True).progress.iteration == 8
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("name", ["My Model", "", "a/b", "x" * 65, "line\nbreak"])
def test_names_that_no_model_could_have_are_refused_before_the_work(data, tmp_path, name):
    run = TrainingRun(tmp_path / "run", begin(configure()), name, False)
    with pytest.raises(ModelError, match="name"):
        training_run.train(run, configure(), data, ALONE, iterations=2)
    assert not (tmp_path / "run").exists()


# ---- what cannot be trained


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"colours": 3}, "colours"),
        ({"architecture": "unet"}, "unet"),
        ({"channels": []}, "sizes"),
        ({"channels": [8, 0]}, "sizes"),
        ({"blocks": 1.5}, "sizes"),
        ({"levels": {"kind": "odd"}}, "levels"),
        ({"levels": 3}, "levels"),
        ({"start": 1 << 20}, "start"),
        ({"start": "high"}, "start"),
    ],
)
def test_models_that_cannot_be(changes, named):
    with pytest.raises(ConfigurationError, match=named):
        begin(configure(changes))


def test_crops_are_multiples_of_the_stride():
    for crop in (1, 2, 15, 18):
        with pytest.raises(ConfigurationError, match=f"{crop} pixels: the network takes multiples of 4"):
            begin(configure(crop=crop))
    for crop in (4, 20):
        assert run(trainer(configure(crop=crop)), iterations=1).progress.pixels == 4 * crop**2


def test_one_crop_is_a_batch():
    state = run(trainer(configure(batch=1)), iterations=6, report_every=2, report=lambda report: report.line())
    assert all(v.isfinite().all() for v in state.tensors().values())


# ---- learning that fails


def test_weights_that_are_no_numbers_are_never_saved(tmp_path):
    """Saved after every iteration, until the loss is no number."""
    configuration = configure(learning_rate=1e3, warmup=0)
    a_trainer = trainer(configuration)
    path = tmp_path / "state.safetensors"
    saved = []

    def save():
        a_trainer.state.save(path)
        saved.append(a_trainer.state.progress.iteration)

    with pytest.raises(TrainingError, match=r"not a number at iteration \d+"):
        training.run(a_trainer, iterations=50, save=save, save_every=0)
    assert saved and saved == list(range(1, a_trainer.state.progress.iteration))
    assert all(v.isfinite().all() for v in load_file(path).values())
    begin(configuration).restore(path)


@pytest.mark.parametrize(("iterations", "noticed"), [(8, "[58]"), (50, "(5|10)")])
def test_a_run_that_fails_leaves_its_files(go, tmp_path, iterations, noticed):
    """Whether that is noticed at the end or, of a longer run, at a report."""
    go(iterations=4)
    before = contents(tmp_path / "run")
    with pytest.raises(TrainingError, match=f"iteration {noticed}: a lower learning rate"):
        go(configure(learning_rate=1e7, warmup=0), iterations=iterations)
    assert {name: contents(tmp_path / "run")[name] for name in RUN} == before
    assert go(iterations=6).progress.iteration == 6


def test_a_last_step_to_no_number_is_noticed():
    """The loss is that of the weights before it."""
    a_trainer = trainer(configure())
    a_trainer.iterate()
    stop = Stop()

    def tick(iteration):
        with torch.no_grad():
            a_trainer.state.network.out.bias[0] = math.nan

    with pytest.raises(TrainingError):
        training.run(a_trainer, iterations=2, tick=tick, stop=stop)
