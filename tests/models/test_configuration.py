"""Training configurations: the bundled one, and every way in which a file can be wrong."""

import math
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddpmcodec.errors import ConfigurationError
from ddpmcodec.models import configuration, registry
from ddpmcodec.models.configuration import Reduce

PHOTO = (configuration.BUNDLED / "photo.toml").read_text()
SIGMA = "sigma = [1.0, 2.0, 120.0, 800.0, 20000.0]"
SHARE = "share = [0.08, 0.64, 0.18, 0.10]"


@pytest.fixture
def load(tmp_path):
    """Loads the bundled configuration with one part of its text replaced."""

    def load(old, new):
        assert PHOTO.count(old) == 1
        path = tmp_path / "a name.toml"
        path.write_text(PHOTO.replace(old, new))
        return configuration.load(str(path))

    return load


def test_the_bundled_configuration():
    loaded, written = configuration.load("photo"), tomllib.loads(PHOTO)
    assert loaded.model == written["model"]
    assert loaded.data.crop == written["data"]["crop"]
    assert [rule.files for rule in loaded.data.reduce] == [rule["files"] for rule in written["data"]["reduce"]]
    assert written["objective"].pop("loss") == "relative-error" and isinstance(loaded.objective, configuration.RelativeError)
    for part in ("objective", "optimizer"):
        for field, value in written[part].items():
            read = getattr(getattr(loaded, part), field)
            assert (list(read) if isinstance(value, list) else read) == value


def test_a_path_is_as_good_as_a_name():
    assert configuration.load(str(configuration.BUNDLED / "photo.toml")) == configuration.load("photo")


def test_the_bundled_model_can_be_trained_further():
    assert configuration.load(registry.DEFAULT).model == registry.find().config


def test_what_need_not_be_said(load):
    without = PHOTO[PHOTO.index("[[data.reduce]]") : PHOTO.index("# Log-uniform")]
    (rule,) = load(without, "").data.reduce
    assert rule.scales(640, 480) == [1.0]


def test_a_whole_number_is_a_number(load):
    assert load("clip = 2.0", "clip = 2").optimizer.clip == 2.0


WRONG = [
    ("batch = 16\n", "", "batch"),
    ("crop = 96\n", "", "crop"),
    (SIGMA, "", "sigma"),
    ("[objective]", "[sounds]", "sounds"),
    ("batch = 16", "batch = 16\nmomentum = 0.9", "momentum"),
    ("crop = 96", "crop = 96\nflip = true", "flip"),
    ("factor = 0.6", "factors = 0.6", "factors"),
    ("batch = 16", 'batch = "16"', "batch"),
    ("batch = 16", "batch = 16.0", "batch"),
    ("batch = 16", "batch = true", "batch"),
    ("batch = 16", "batch = 0", "batch"),
    ("batch = 16", "batch = 99999999", "batch"),
    ("crop = 96", "crop = -96", "crop"),
    ("crop = 96", "crop = [96]", "crop"),
    ("warmup = 100", "warmup = -1", "warmup"),
    ("learning_rate = 7e-4", "learning_rate = 0.0", "learning_rate"),
    ("learning_rate = 7e-4", "learning_rate = nan", "learning_rate"),
    ("learning_rate = 7e-4", "learning_rate = inf", "learning_rate"),
    ("muon_factor = 10.0", "muon_factor = -1.0", "muon_factor"),
    ("weight_decay = 1e-4", "weight_decay = -1e-4", "weight_decay"),
    ("weight_decay = 1e-4", "weight_decay = inf", "weight_decay"),
    ("clip = 2.0", "clip = nan", "clip"),
    ("ema = 0.999", "ema = 1.0", "ema"),
    ("ema = 0.999", "ema = nan", "ema"),
    ("factor = 0.6", "factor = 1.1", "factor"),
    ("factor = 0.6", "factor = 0", "factor"),
    ("longest = [500]", "longest = [0]", "longest"),
    ("longest = [500]", "longest = 500", "longest"),
    ("shortest = 160", "shortest = -1", "shortest"),
    ('files = "bsds*"', "files = 3", "files"),
    (SIGMA, "sigma = [1.0, 2.0, 2.0, 800.0, 20000.0]", "sigma"),
    (SIGMA, "sigma = [1.0, 2.0, 800.0, 120.0, 20000.0]", "sigma"),
    (SIGMA, "sigma = [0.0, 2.0, 120.0, 800.0, 20000.0]", "sigma"),
    (SIGMA, "sigma = [1.0, 2.0, 120.0, 800.0, inf]", "sigma"),
    (SIGMA, "sigma = [1.0, 2.0, 120.0, 800.0]", "share"),
    (SHARE, "share = [0.08, 0.64, 0.18, 0.11]", "share"),
    (SHARE, "share = [0.64, 0.18, 0.18]", "share"),
    (SHARE, "share = [-0.08, 0.80, 0.18, 0.10]", "share"),
    (SHARE, "share = [0.08, 0.64, 0.18, nan]", "share"),
    (f"{SIGMA}\n{SHARE}", "sigma = [1.0]\nshare = []", "share"),
    (f"{SIGMA}\n{SHARE}", "sigma = []\nshare = []", "share"),
]


@pytest.mark.parametrize(("old", "new", "field"), WRONG)
def test_what_is_wrong_is_named(load, old, new, field):
    with pytest.raises(ConfigurationError) as caught:
        load(old, new)
    message = str(caught.value)
    assert field in message and "a name.toml" in message and "\n" not in message


@pytest.mark.parametrize("text", ["[model", "model", "[objective]\n[objective]", "just text\n", "x = " + "[" * 100_000, "\0"])
def test_what_is_not_toml(tmp_path, text):
    path = tmp_path / "not.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"not\.toml"):
        configuration.load(str(path))


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "not.toml"
    path.write_bytes(b"\x89PNG\xff")
    with pytest.raises(ConfigurationError, match=r"not\.toml"):
        configuration.load(str(path))


@pytest.mark.parametrize("name", ["nowhere", "nowhere.toml", "", ".", "/dev/null/photo", "x" * 1000, "Photo", "photo.toml"])
def test_what_is_not_there(tmp_path, monkeypatch, name):
    """The message says what would be."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"known are .*photo"):
        configuration.load(name)


def test_one_interval_has_all_of_the_noise(load):
    noise = load(f"{SIGMA}\n{SHARE}", "sigma = [5.0, 50.0]\nshare = [1.0]").objective
    assert noise.sigma == (5.0, 50.0) and noise.share == (1.0,)


@pytest.mark.parametrize(
    ("rule", "size", "expected"),
    [
        (Reduce("*"), (640, 480), [1.0]),
        (Reduce("*", factor=0.6), (640, 480), [0.6]),
        (Reduce("*", longest=(1600, 900, 500)), (3200, 2400), [1600 / 3200, 900 / 3200, 500 / 3200]),
        (Reduce("*", longest=(500, 1600, 900)), (2400, 3200), [1600 / 3200, 900 / 3200, 500 / 3200]),  # the longer side, in any order
        (Reduce("*", longest=(1600, 900, 500)), (1000, 700), [1.0, 0.9, 0.5]),
        (Reduce("*", longest=(1600, 900, 500)), (400, 300), [1.0]),  # each size once
        (Reduce("*", factor=0.6, longest=(500,)), (500, 400), [0.6]),
        (Reduce("*", factor=0.6, longest=(500,)), (2000, 1000), [0.25]),
        (Reduce("*", factor=0.6, longest=(500,), shortest=160), (1000, 200), [0.8]),
        (Reduce("*", factor=0.6, longest=(500,), shortest=160), (150, 90), [1.0]),  # never enlarged
        (Reduce("*", longest=(500, 400), shortest=300), (600, 400), [500 / 600, 0.75]),
    ],
)
def test_scales(rule, size, expected):
    assert rule.scales(*size) == pytest.approx(expected, rel=1e-12)


@given(st.floats(0.01, 1), st.lists(st.integers(1, 4000), max_size=4), st.integers(0, 500), st.integers(1, 10_000), st.integers(1, 10_000))
def test_scales_keep_their_bounds(factor, longest, shortest, width, height):
    scales = Reduce("*", factor, tuple(longest), shortest).scales(width, height)
    assert scales == sorted(set(scales), reverse=True) and 1 <= len(scales) <= max(1, len(longest))
    for scale in scales:
        assert 0 < scale <= 1
        assert min(width, height) * scale >= min(shortest, width, height) * (1 - 1e-9)
        if min(width, height) * scale > shortest * (1 + 1e-9):  # held up by nothing
            assert scale <= factor and (not longest or max(width, height) * scale <= max(longest) * (1 + 1e-9))
    assert math.isclose(Reduce("*", factor).scales(width, height)[0], factor)
