import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddpmcodec
from ddpmcodec import quality
from ddpmcodec.encoder import EncodeOptions
from ddpmcodec.errors import (
    CorruptFileError,
    ForeignFileError,
    LimitError,
    ModelError,
    PictureError,
    RateError,
    TruncatedFileError,
)
from ddpmcodec.format import container
from ddpmcodec.models import registry
from ddpmcodec.target import Bytes, ConflictError, Psnr, Rate


def array(image):
    assert isinstance(image, Image.Image) and image.mode == "RGB"
    return np.asarray(image)


@pytest.fixture
def decode(model_path):
    def decode(data, steps=None, **options):
        return array(ddpmcodec.decode(data, steps, model=model_path, **options))

    return decode


@pytest.fixture
def x0hat(decode):
    return lambda data, steps=None: decode(data, steps, reconstruct="mean", orientations=1)


def test_from_a_picture_to_bytes_and_back(photo, model_path, decode):
    part = photo[:31, :45]
    options = {"model": model_path, "bpp": 4, "evaluations": 6, "effort": 1, "seed": 3}
    data = ddpmcodec.encode(Image.fromarray(part), **options)
    assert isinstance(data, bytes) and len(data) <= 4 * part.shape[0] * part.shape[1] / 8
    assert ddpmcodec.encode(part, **options) == data
    assert decode(data).shape == part.shape
    assert quality.psnr(part, decode(data)) > 30


def test_x0hat_is_the_encoders_picture(encoding, x0hat):
    assert np.array_equal(x0hat(encoding.data), encoding.pixels)
    count = len(container.parse(encoding.data).steps)
    for steps in (count, count + 1, 10**9):
        assert np.array_equal(x0hat(encoding.data, steps), encoding.pixels)


def test_prefixes_truncations_and_steps_are_the_same_pictures(encoding, decode):
    data = encoding.data
    ends = container.parse(data).ends
    for count in (0, 1, 4, len(ends) - 1, len(ends)):
        expected = decode(data, count)
        end = ends[count - 1] if count else ends[0] - 1
        upper = ends[count] - 1 if count < len(ends) else len(data) - 1
        for size in {end, (end + upper) // 2, upper}:
            assert np.array_equal(decode(data[:size]), expected)
        shorter = ddpmcodec.truncate(data, steps=count)
        assert np.array_equal(decode(shorter), expected)
        assert len(ddpmcodec.info(shorter)["steps"]) == count
    assert ddpmcodec.truncate(data, steps=10**9) == data


def test_progressive_pictures_are_those_of_the_prefixes(encoding, model_path, x0hat):
    pictures = list(ddpmcodec.decode_progressive(encoding.data, model=model_path))
    count = len(container.parse(encoding.data).steps)
    assert [step for step, _ in pictures] == list(range(count + 1))
    assert np.array_equal(array(pictures[-1][1]), encoding.pixels)
    for step in (0, 3, count - 1):
        assert np.array_equal(array(pictures[step][1]), x0hat(encoding.data, step))
    first = list(ddpmcodec.decode_progressive(encoding.data, model=model_path, steps=2))
    assert [step for step, _ in first] == [0, 1, 2]


def test_sampling(encoding, photo, decode):
    mean = decode(encoding.data, 6)
    a, b, c = (decode(encoding.data, 6, reconstruct="sample", seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert quality.psnr(photo, a) < quality.psnr(photo, mean)
    with pytest.raises(ValueError):
        decode(encoding.data, reconstruct="median")


def test_progress_is_told(encoding, model_path):
    told = []
    ddpmcodec.decode(encoding.data, model=model_path, progress=lambda *p: told.append(p))
    done, totals = zip(*told, strict=True)
    assert list(done) == sorted(done) and set(totals) == {done[-1]}


@pytest.mark.parametrize("orientation", [3, 6])
def test_the_files_orientation_is_applied(encoding, x0hat, orientation):
    from dataclasses import replace

    parsed = container.parse(encoding.data)
    turned = container.serialize(replace(parsed, header=replace(parsed.header, orientation=orientation)))
    assert np.array_equal(x0hat(turned), np.rot90(encoding.pixels, {3: 2, 6: -1}[orientation]))


def test_models_are_found_by_the_files_own_hash(encoding, model_path, monkeypatch, data_dir):
    monkeypatch.delenv(registry.ENVIRONMENT, raising=False)
    with pytest.raises(ModelError, match="test-model"):
        ddpmcodec.decode(encoding.data, 0)
    with pytest.raises(ModelError, match="f075"):
        ddpmcodec.decode(encoding.data, 0, model=registry.DEFAULT)
    with pytest.raises(ModelError):
        ddpmcodec.decode(encoding.data, 0, model="/nowhere.safetensors")
    monkeypatch.setenv(registry.ENVIRONMENT, str(data_dir))
    assert np.array_equal(array(ddpmcodec.decode(encoding.data, reconstruct="mean", orientations=1)), encoding.pixels)


def test_errors_are_typed(encoding, decode, model_path):
    data = encoding.data
    changed = data[:-10] + bytes([data[-10] ^ 1]) + data[-9:]
    for bad, error in [
        (b"", ForeignFileError),
        (b"GIF89a", ForeignFileError),
        (data[:30], TruncatedFileError),
        (changed, CorruptFileError),
    ]:
        for use in (decode, ddpmcodec.info, lambda d: ddpmcodec.truncate(d, steps=1), lambda d: list(ddpmcodec.decode_progressive(d))):
            with pytest.raises(error):
                use(bad)
    with pytest.raises(LimitError):
        decode(data, max_pixels=7999)
    for wrong in (np.zeros((3, 3)), "photo.png"):
        with pytest.raises(PictureError):
            ddpmcodec.encode(wrong, model=model_path)
    with pytest.raises(LimitError):
        ddpmcodec.encode(np.zeros((9, 9, 3), np.uint8), model=model_path, max_pixels=80)
    with pytest.raises(ModelError):
        ddpmcodec.encode(np.zeros((9, 9, 3), np.uint8), model="none")
    with pytest.raises(RateError):
        ddpmcodec.encode(np.zeros((9, 9, 3), np.uint8), model=model_path, bpp=0.5)


@pytest.mark.parametrize("fixture", ["encoding", "large_encoding"])
def test_truncate_fills_the_limit(fixture, request):
    data = request.getfixturevalue(fixture).data
    count = len(container.parse(data).steps)
    sizes = [len(ddpmcodec.truncate(data, steps=n)) for n in range(count + 1)]
    assert sizes == sorted(sizes) and sizes[-1] == len(data)
    for n, size in enumerate(sizes):
        assert len(container.parse(ddpmcodec.truncate(data, max_bytes=size)).steps) == n
        assert ddpmcodec.truncate(data, bpp=8 * size / 8000 + 1e-9) == ddpmcodec.truncate(data, max_bytes=size)
        if n:
            assert len(container.parse(ddpmcodec.truncate(data, max_bytes=size - 1)).steps) == n - 1
    with pytest.raises(RateError):
        ddpmcodec.truncate(data, max_bytes=sizes[0] - 1)
    assert len(container.parse(ddpmcodec.truncate(data, max_bytes=10**9, bpp=8 * sizes[3] / 8000 + 1e-9, steps=2)).steps) == 2


def test_truncating_a_cut_file_makes_it_whole(encoding):
    ends = container.parse(encoding.data).ends
    cut = encoding.data[: ends[3] + 1]
    whole = ddpmcodec.truncate(cut)
    assert ddpmcodec.info(whole)["complete"]
    assert whole == ddpmcodec.truncate(encoding.data, steps=4)


def test_info_is_what_the_file_holds(large_encoding, model):
    data = large_encoding.data
    parsed = container.parse(data)
    info = ddpmcodec.info(data)
    assert json.loads(json.dumps(info)) == info
    assert (info["width"], info["height"], info["bytes"], info["seed"]) == (100, 80, len(data), 0)
    assert info["complete"] and info["bpp"] == pytest.approx(8 * len(data) / 8000, abs=1e-6)
    assert (info["model"], info["model_hash"]) == ("test-model", model.hash.hex())
    assert info["levels"]["kind"] == "continuous" and info["levels"]["start"] == -3734
    assert info["levels"]["start_sigma"] == pytest.approx(127.5 * 2 ** (3734 / 512), abs=0.01)
    assert [s["type"] for s in info["sections"]] == ["H", "T", "P", "E"]
    assert sum(s["size"] for s in info["sections"]) + 10 == len(data)
    assert len(info["steps"]) == info["whole_steps"] == len(parsed.steps)
    for i, (entry, step) in enumerate(zip(info["steps"], parsed.steps, strict=True)):
        assert (entry["step"], entry["level"], entry["bits"], entry["nu"]) == (i + 1, step.level, step.n, step.nu)
        assert entry["sigma"] == pytest.approx(127.5 * 2 ** (-step.level / 512), abs=1e-4)
        assert "timestep" not in entry and entry["present"] and entry["evaluate"] == step.evaluate
        assert entry["bpp"] == pytest.approx(8 * entry["end"] / 8000, abs=1e-6)
        assert len(container.parse(data[: entry["end"]]).messages) == i + 1
        assert len(container.parse(data[: entry["end"] - 1]).messages) == i


def test_info_of_a_cut_file(encoding):
    ends = container.parse(encoding.data).ends
    info = ddpmcodec.info(encoding.data[: ends[2] + 3])
    assert not info["complete"] and info["whole_steps"] == 3
    assert [s["present"] for s in info["steps"]] == [True] * 3 + [False] * (len(ends) - 3)
    assert info["sections"][-1]["type"] == "P" and not info["sections"][-1]["whole"]


def test_info_of_a_discrete_chain(photo, discrete_model_path):
    data = ddpmcodec.encode(photo[:20, :20], model=discrete_model_path, bpp=8, evaluations=6, effort=1)
    info = ddpmcodec.info(data)
    assert info["levels"]["kind"] == "discrete" and info["levels"]["start"] == 1000
    abar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    for step in info["steps"]:
        snr = abar[step["timestep"] - 1] / (1 - abar[step["timestep"] - 1])
        assert step["sigma"] == pytest.approx(127.5 / np.sqrt(snr), rel=1e-3)
    assert np.asarray(ddpmcodec.decode(data, model=discrete_model_path)).shape == (20, 20, 3)


def test_describing_and_truncating_import_no_torch(encoding, tmp_path):
    path = tmp_path / "file.ddpm"
    path.write_bytes(encoding.data)
    script = (
        "import sys, ddpmcodec\n"
        "from ddpmcodec.cli import main\n"
        "data = open(sys.argv[1], 'rb').read()\n"
        "ddpmcodec.info(data), ddpmcodec.truncate(data, steps=2)\n"
        "main(['info', sys.argv[1]], standalone_mode=False)\n"
        "main(['truncate', sys.argv[1], '--steps', '1', '-o', sys.argv[1] + '.short'], standalone_mode=False)\n"
        "main(['models'], standalone_mode=False)\n"
        "both = ['encode', 'a.png', '-o', 'b.ddpm', '--bpp', '1', '--psnr', '30']\n"
        "for wrong in (['encode'], both, ['decode', '--help'], ['eval', '--nothing']):\n"
        "    try:\n"
        "        main(wrong, standalone_mode=True)\n"
        "    except SystemExit:\n"
        "        pass\n"
        "loaded = {'torch', 'numba'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "file.ddpm.short").stat().st_size < len(encoding.data)


def test_decoding_imports_no_numba(encoding, tmp_path, model_path):
    path = tmp_path / "file.ddpm"
    path.write_bytes(encoding.data)
    script = (
        "import sys, ddpmcodec\nddpmcodec.decode(open(sys.argv[1], 'rb').read(), model=sys.argv[2])\nassert 'numba' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path), model_path], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_encode_image_tells_what_came_of_it(photo, model, model_path):
    """The same bytes as `encode`, with PSNR and KL beside them; a loaded model serves as well as its path."""
    options = EncodeOptions(evaluations=6, effort=1, seed=3)
    encoding = ddpmcodec.encode_image(photo, Rate(1.5), options, model=model)
    assert encoding.data == ddpmcodec.encode(photo, bpp=1.5, evaluations=6, effort=1, seed=3, model=model_path)
    assert encoding.data == ddpmcodec.encode(photo, bpp=1.5, evaluations=6, effort=1, seed=3, model=Path(model_path))
    assert encoding.precision == "fp32" and encoding.kl_bits > 0
    decoded = np.asarray(ddpmcodec.decode(encoding.data, model=model, reconstruct="mean", orientations=1))
    assert np.array_equal(decoded, encoding.pixels) and quality.psnr(photo, decoded) == encoding.psnr


def test_encode_image_says_what_could_not_be_had(photo, model):
    notes: list[str] = []
    options = EncodeOptions(evaluations=30, effort=1)
    ddpmcodec.encode_image(Image.fromarray(photo[:8, :8]).convert("CMYK"), Bytes(100_000), options, notes.append, model=model)
    assert notes[0] == "converted from mode CMYK to RGB" and len(notes) == 2 and "room for the picture to the last bit" in notes[1]
    notes.clear()
    ddpmcodec.encode_image(np.random.default_rng(0).integers(0, 256, (6, 7, 3), np.uint8), Psnr(90), options, notes.append, model=model)
    assert notes[0].startswith("the file is larger") and notes[1].startswith("90 dB is out of reach, by ") and len(notes) == 2


@pytest.mark.parametrize(
    "ends",
    [{"bpp": 1, "levels": [300]}, {"quality": 40, "psnr": 30}, {"max_bytes": 99, "lossless": True}, {"levels": [300], "quality": 3}],
)
def test_one_target_at_most(photo, ends):
    with pytest.raises(ConflictError, match="at most one"):
        ddpmcodec.encode(photo, **ends)


@pytest.mark.parametrize("data", [5, True, [137, 68], {1: 2}, "text", None])
def test_what_is_no_bytes_is_not_made_some(data):
    for function in (ddpmcodec.info, ddpmcodec.decode, lambda data: ddpmcodec.truncate(data, steps=1), ddpmcodec.Decoder().feed):
        with pytest.raises(TypeError, match=f"expected the bytes of a .ddpm file, got {type(data).__name__}"):
            function(data)


@pytest.mark.parametrize(
    "wrong", [{"quality": "keep"}, {"bpp": "1"}, {"max_bytes": "10k"}, {"psnr": True}, {"levels": 5}, {"evaluations": "4"}, {"page": 1.5}]
)
def test_an_argument_of_a_wrong_type_is_named(photo, wrong):
    with pytest.raises(TypeError, match=f"{next(iter(wrong))} is a"):
        ddpmcodec.encode(photo, **wrong)


def test_arguments_out_of_range(encoding):
    data = encoding.data
    twice = np.repeat(np.frombuffer(data, np.uint8), 2)
    assert ddpmcodec.info(memoryview(data)) == ddpmcodec.info(bytearray(data)) == ddpmcodec.info(twice[::2]) == ddpmcodec.info(data)
    for seed, error in ((-1, ValueError), (1 << 64, ValueError), (1.5, TypeError), ("7", TypeError)):
        with pytest.raises(error, match="seed"):
            ddpmcodec.decode(data, reconstruct="sample", seed=seed)
    for options in ({"max_bytes": float("nan")}, {"max_bytes": -1}, {"bpp": 0}, {"bpp": float("nan")}, {"steps": -1}):
        with pytest.raises(ValueError):
            ddpmcodec.truncate(data, **options)
    assert ddpmcodec.truncate(data, bpp=10**400) == data
    with pytest.raises(TypeError):
        ddpmcodec.truncate(data, steps=1.5)
    with pytest.raises(ValueError, match="max_pixels"):
        ddpmcodec.decode(data, max_pixels=float("nan"))
