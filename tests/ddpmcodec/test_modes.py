"""Gray pictures, alpha, and what a file carries beside its pixels."""

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import ddpmcodec
from ddpmcodec import arrays, gray, picture, quality
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.errors import CorruptFileError, LimitError, RateError, TruncatedFileError
from ddpmcodec.format import alpha as alpha_section
from ddpmcodec.format import container, sections
from ddpmcodec.format.container import Container
from ddpmcodec.format.metadata import Metadata, pack, unpack
from ddpmcodec.models import arithmetic
from ddpmcodec.picture import Picture
from ddpmcodec.target import Rate

FAST = {"model": "test-model", "evaluations": 8, "effort": 1}


@pytest.fixture(autouse=True)
def _models(monkeypatch: pytest.MonkeyPatch, model_path: str):
    monkeypatch.setenv("DDPMCODEC_MODELS", str(model_path).rsplit("/", 1)[0])


def test_the_axes_of_colour_are_orthonormal():
    np.testing.assert_allclose(gray.AXES @ gray.AXES.T, np.eye(3), atol=1e-6)
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5), np.float32)
    chroma = np.einsum("pchw,ac->pahw", x, gray.AXES)[:, 1:]
    np.testing.assert_allclose(gray.with_chroma(gray.luma(x), chroma), x, atol=1e-5)
    np.testing.assert_allclose(gray.with_chroma(gray.luma(x), np.zeros_like(chroma)), gray.without_chroma(x), atol=1e-5)


def test_a_gray_picture_comes_back_gray_and_costs_less(photo):
    image = Image.fromarray(photo).convert("L")
    whole = ddpmcodec.encode(image, psnr=32, **FAST)
    decoded = ddpmcodec.decode(whole)
    assert decoded.mode == "L" and decoded.size == image.size and ddpmcodec.info(whole)["mode"] == "L"
    assert 32 <= quality.psnr(np.asarray(decoded), np.asarray(image)) < 32.5
    assert len(whole) < 0.8 * len(ddpmcodec.encode(image.convert("RGB"), psnr=32, **FAST))


def test_the_chroma_of_a_gray_chain_is_that_of_q(photo, model):
    """The noise of x_t stays that of the forward process in all three dimensions: so the network sees what it was trained on."""
    from ddpmcodec import decoder
    from ddpmcodec.models.process import abar_of_snr

    pixels = picture.load(Image.fromarray(photo).convert("L"))
    parsed = container.parse(
        encode_pixels(Picture(pixels.pixels, gray=True), model, Rate(2), EncodeOptions(evaluations=8, effort=3, tune="psnr")).data
    )
    *_, last = decoder.states(parsed, arithmetic.denoiser(model, "cpu", "fp32"))
    abar = abar_of_snr(model.levels.snr(last.level))
    noise = (last.x_t - abar**0.5 * arrays.from_pixels(pixels.pixels)) / (1 - abar) ** 0.5
    axes = np.einsum("pchw,ac->aphw", noise, gray.AXES).reshape(3, -1)
    assert axes.var(1).tolist() == pytest.approx([1, 1, 1], abs=0.06)


def test_a_lossless_gray_picture(photo):
    image = Image.fromarray(photo[:40, :50]).convert("L")
    colour = len(ddpmcodec.encode(image.convert("RGB"), lossless=True, **FAST))
    data = ddpmcodec.encode(image, lossless=True, **FAST)
    assert np.array_equal(np.asarray(ddpmcodec.decode(data)), np.asarray(image)) and len(data) < colour


@pytest.fixture
def cut_out(photo: np.ndarray) -> Image.Image:
    """A disc of the photo, soft at its edge."""
    y, x = np.mgrid[: photo.shape[0], : photo.shape[1]]
    alpha = np.clip(35 - np.hypot(y - 40, x - 50), 0, 1) * 255
    return Image.fromarray(np.dstack([photo, alpha.astype(np.uint8)]))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_exact(cut_out, mode):
    image = cut_out.convert(mode)
    data = ddpmcodec.encode(image, psnr=30, **FAST)
    decoded = ddpmcodec.decode(data)
    assert decoded.mode == mode == ddpmcodec.info(data)["mode"]
    assert np.array_equal(np.asarray(decoded)[..., -1], np.asarray(image)[..., -1])
    visible = np.asarray(image)[..., -1] > 0
    assert quality.psnr(np.asarray(decoded.convert("RGB")), np.asarray(image.convert("RGB")), visible) >= 30
    payload = ddpmcodec.info(data)["sections"][-2]["offset"]
    for size in (payload, payload + 30, len(data) - 1):  # alpha comes first
        assert np.array_equal(np.asarray(ddpmcodec.decode(data[:size]))[..., -1], np.asarray(image)[..., -1])


def test_a_mask_costs_less_than_pillows_png(cut_out):
    alpha = np.kron(np.asarray(cut_out)[..., -1] // 255 * np.uint8(255), np.ones((4, 4), np.uint8))
    buffer = io.BytesIO()
    Image.fromarray(alpha).save(buffer, "PNG", optimize=True)
    packed = alpha_section.pack(alpha)
    assert len(packed) < 0.9 * len(buffer.getvalue())
    for each in (alpha, alpha[:1], alpha[:, :1], np.full((3, 5), 7, np.uint8), np.arange(250, dtype=np.uint8).reshape(10, 25)):
        size = SimpleNamespace(width=each.shape[1], height=each.shape[0], pictures=1)
        assert np.array_equal(alpha_section.unpack(alpha_section.pack(each), size), each)  # type: ignore[arg-type]


def test_where_the_first_picture_is(cut_out):
    """Behind alpha: one byte less is an error that says how many it takes."""
    data = ddpmcodec.encode(cut_out, **FAST)
    first = ddpmcodec.info(data)["first_picture"]
    assert ddpmcodec.decode(data[:first]).size == cut_out.size
    with pytest.raises(TruncatedFileError, match=f"a picture takes {first} bytes at least"):
        ddpmcodec.decode(data[: first - 1])


def test_what_is_not_visible_costs_nothing(cut_out):
    pixels = np.asarray(cut_out).copy()
    pixels[pixels[..., 3] == 0] = 0
    noisy = pixels.copy()
    noisy[..., :3][pixels[..., 3] == 0] = np.random.default_rng(0).integers(0, 256, noisy[pixels[..., 3] == 0][:, :3].shape)
    assert ddpmcodec.encode(noisy, psnr=30, **FAST) == ddpmcodec.encode(pixels, psnr=30, **FAST)


def test_lossless_keeps_what_is_not_visible(cut_out):
    part = cut_out.crop((0, 0, 40, 30))
    data = ddpmcodec.encode(part, lossless=True, **FAST)
    assert np.array_equal(np.asarray(ddpmcodec.decode(data)), np.asarray(part))


def test_nothing_visible_at_all(photo):
    data = ddpmcodec.encode(np.dstack([photo, np.zeros(photo.shape[:2], np.uint8)]), **FAST)
    assert len(data) < 250 and np.asarray(ddpmcodec.decode(data))[..., 3].max() == 0


def test_several_pictures_with_and_without_alpha(photo):
    opaque, hidden = photo[:20, :30], np.dstack([photo[20:40, :30], np.full((20, 30), 7, np.uint8)])
    first, second = ddpmcodec.decode_pictures(ddpmcodec.encode([opaque, hidden], **FAST))
    assert first.mode == second.mode == "RGBA"
    assert np.unique(first.getchannel("A")) == [255] and np.unique(second.getchannel("A")) == [7]


def test_a_size_counts_alpha_and_metadata(cut_out):
    cut_out.info["icc_profile"] = bytes(16) + b"RGB " + np.random.default_rng(0).bytes(600)
    data = ddpmcodec.encode(cut_out, max_bytes=2000, **FAST)
    assert 1900 < len(data) <= 2000
    with pytest.raises(RateError, match="of them alpha and metadata"):
        ddpmcodec.encode(cut_out, max_bytes=500, **FAST)
    assert len(ddpmcodec.truncate(data, max_bytes=1500)) <= 1500
    assert ddpmcodec.decode(ddpmcodec.truncate(data, max_bytes=1500)).info["icc_profile"] == cut_out.info["icc_profile"]


METADATA = Metadata(b"profile" * 50, b"Exif\0\0" + bytes(300), b"<x:xmpmeta/>")


@pytest.fixture
def carrying(encoding) -> bytes:
    return container.serialize(replace(container.parse(encoding.data), metadata=METADATA))


def test_metadata_of_whole_and_cut_files(carrying):
    parsed = container.parse(carrying)
    assert parsed.metadata == METADATA and parsed.complete
    assert [s.type for s in parsed.sections] == ["H", "i", "T", "P", "e", "x", "E"]
    assert len(carrying) == container.serialized_size(parsed.header, parsed.steps, parsed.shape) + container.extra_size(None, METADATA)
    offsets = {s.type: s.offset for s in parsed.sections}
    for size in range(offsets["P"], len(carrying)):
        cut = container.parse(carrying[:size])
        assert not cut.complete
        assert cut.metadata == replace(METADATA, exif=METADATA.exif * (size >= offsets["x"]), xmp=METADATA.xmp * (size >= offsets["E"]))


def test_every_bit_flip_in_metadata_is_found(carrying):
    offsets = {s.type: s.offset for s in container.parse(carrying).sections}
    for at in (*range(offsets["i"], offsets["T"]), *range(offsets["e"], len(carrying))):
        for bit in range(8):
            damaged = bytearray(carrying)
            damaged[at] ^= 1 << bit
            with pytest.raises(ddpmcodec.errors.FormatError):
                container.parse(bytes(damaged))


@pytest.mark.parametrize("body", [b"", b"not deflated", pack(b""), pack(b"abc")[:-2], pack(b"abc") + b"more", pack(bytes((1 << 24) + 1))])
def test_metadata_that_cannot_be(body):
    with pytest.raises(CorruptFileError):
        unpack(body)


def test_metadata_over_the_limit():
    largest = bytes(1 << 24)
    assert unpack(pack(Metadata(xmp=largest).xmp)) == largest
    with pytest.raises(LimitError):
        Metadata(xmp=bytes((1 << 24) + 1))


def test_a_section_that_is_there_twice(encoding):
    parsed = container.parse(encoding.data)
    at = next(s.offset for s in parsed.sections if s.type == "T")
    section = sections.section("i", pack(b"profile"))
    with pytest.raises(CorruptFileError, match="twice"):
        container.parse(encoding.data[:at] + section + section + encoding.data[at:])


@pytest.mark.parametrize("alpha", [b"", b"no PNG", alpha_section.pack(np.zeros((3, 3), np.uint8))], ids=["empty", "foreign", "small"])
def test_alpha_that_cannot_be(encoding, alpha, model):
    parsed = container.parse(encoding.data)
    data = container.serialize(Container(parsed.header, parsed.steps[:1], parsed.messages[:1], alpha=alpha))
    with pytest.raises(CorruptFileError, match="alpha"):
        ddpmcodec.decode(data)
