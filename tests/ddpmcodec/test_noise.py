"""Shaped noise against its equations: the posterior, the energy of steps, the law of u_t along a chain, and the picture that comes out."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import ddpmcodec
from ddpmcodec import arrays, decoder, quality, threads
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.format import container
from ddpmcodec.format.header import Header
from ddpmcodec.format.shape import Shape
from ddpmcodec.models import arithmetic, registry, whitening
from ddpmcodec.models.levels import ContinuousLevels
from ddpmcodec.noise import Shaped, White, noise_of
from ddpmcodec.picture import Picture
from ddpmcodec.plan import energy_of
from ddpmcodec.residual import residual_of
from ddpmcodec.roi import Roi
from ddpmcodec.target import Quality, Rate

LEVELS = ContinuousLevels()
OWN = Shape(((-40, 7, 0, 30, 61, 128), (0, 16, 24, 42, 48, 64), (9, 9, 9, 60, 90, 10)), (900, 3000), None, -768, 100, 32, bytes(range(6)))
SHAPES = {"default": Shape(quarter=-768, half=179), "own table and map": OWN}


def header_of(width: int, height: int, gray: bool = False, pictures: int = 1) -> Header:
    return Header(width, height, "test", bytes(8), LEVELS, -4096, pictures=pictures, gray=gray)


def log2_m(shape: Shape, height: int, width: int) -> np.ndarray:
    """log2 m of every coefficient, (3, H, W), from the document's words."""
    nodes = (1 / 64, 1 / 24, 1 / 12, 3 / 16, 3 / 8, 0.8)
    out = np.empty((3, height, width))
    for c, i, j in np.ndindex(out.shape):
        f = math.sqrt((i / height) ** 2 + (j / width) ** 2)
        out[c, i, j] = np.interp(math.log2(max(f, 1e-9)), np.log2(nodes), shape.table[c]) / 32
    return out


def sigma_i(shape: Shape, height: int, width: int, level: int) -> np.ndarray:
    a, b = shape.ramp
    w = min(max((b - level) / (b - a), 0), 1)
    return 2 ** (-level / 512) * 2 ** (w * log2_m(shape, height, width))


def z_of(coefficient: np.ndarray) -> np.ndarray:
    """The picture z whose DCT(O z) has these coefficients, (1, 3, H, W) float32."""
    D = [whitening.dct_matrix(n) for n in coefficient.shape[1:]]
    return np.einsum("cd,chw->dhw", whitening.O, D[0].T @ coefficient @ D[1])[None].astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(("t", "s"), [(-1000, 300), (1500, 1501), (1200, 3200), (3700, 4000)])
def test_steps_are_samples_of_the_posterior(shape, t, s):
    """q(u_s | u_t, u_0) as the normalized product of two Gaussians in each coefficient: u_s around u_0, and u_t around u_s."""
    height, width = 37, 70
    noise, rng = Shaped(header_of(width, height), shape), np.random.default_rng(abs(t))
    x0hat = rng.uniform(-1, 1, (1, 3, height, width)).astype(np.float32)
    u_0 = whitening.coefficients(x0hat[0], noise.field)
    u_t = rng.standard_normal(x0hat.shape).astype(np.float32)
    of_t, of_s = (sigma_i(shape, height, width, level) ** 2 for level in (t, s))
    assert (of_s < of_t).all()
    precision = 1 / of_s + 1 / (of_t - of_s)
    mean = (u_0 / of_s + u_t[0] / (of_t - of_s)) / precision
    scale = np.abs(u_0).max()
    at_mean = noise.sample(u_t, x0hat, t, s, np.zeros_like(u_t))[0]
    np.testing.assert_allclose(at_mean, mean, atol=2e-5 * scale, rtol=1e-4)
    unit = rng.standard_normal((3, height, width))
    away = noise.sample(u_t, x0hat, t, s, z_of(unit))[0] - at_mean
    np.testing.assert_allclose(away, unit / np.sqrt(precision), atol=3e-5 * scale, rtol=2e-3)


@pytest.mark.parametrize("shape", [None, *SHAPES.values()], ids=["white", *SHAPES])
def test_the_flow_of_a_gaussian_is_the_closed_form(shape):
    """Of u_0 ~ N(0, c^2), with x0hat its exact mean: du / dsigma = sigma u / (c^2 + sigma^2), whose solution is a ratio of roots.

    DDIM is Euler's method for it, so that half the step has half the error.
    """
    height, width, t, s, c = 37, 70, 300, 2200, 0.4
    noise = noise_of(header_of(width, height), shape)
    u = np.random.default_rng(0).standard_normal((1, 3, height, width)).astype(np.float32)

    def scale(level):
        return math.sqrt(1 / (1 + 2 ** (-level / 256))) if shape is None else 1.0

    def of_level(level):
        return np.full((3, height, width), 2 ** (-level / 512)) if shape is None else sigma_i(shape, height, width, level)

    def led(count):
        levels = np.linspace(t, s, count + 1).round().astype(int).tolist()
        x_t = u * np.float32(scale(t))
        for before, after in itertools.pairwise(levels):
            u_0 = (x_t[0] / scale(before) * c**2 / (c**2 + of_level(before) ** 2)).astype(np.float32)
            x0hat = u_0 if shape is None else whitening.picture_(u_0, noise.field)
            x_t = noise.flow(x_t, x0hat[None], before, after)
        return x_t[0] / scale(s)

    expected = u[0] * np.sqrt((c**2 + of_level(s) ** 2) / (c**2 + of_level(t) ** 2))
    errors = [np.abs(led(count) - expected).max() / np.abs(expected).max() for count in (95, 190, 380)]
    assert errors[0] < 0.05
    for coarse, fine in itertools.pairwise(errors):
        assert fine == pytest.approx(coarse / 2, rel=0.15)


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_delta_is_the_distance_of_the_means_and_its_energy_is_foreseen(shape, gray):
    height, width, t, s = 37, 70, 1000, 1900
    header = header_of(width, height, gray)
    noise, rng = Shaped(header, shape), np.random.default_rng(1)
    error = rng.standard_normal((1, 1 if gray else 3, height, width)).astype(np.float32).repeat(3 if gray else 1, 1)
    e = whitening.coefficients(error[0], noise.field).astype(np.float64)
    of_t, of_s = (sigma_i(shape, height, width, level) ** 2 for level in (t, s))
    variance = of_s * (1 - of_s / of_t)
    expected = (1 - of_s / of_t) * e / np.sqrt(variance)  # the means differ by (1 - r) e
    residual = residual_of(noise, error, t)
    foreseen, reached, rate = residual.energy(s), residual.snr_of(residual.energy(s)), residual.rate()
    delta = residual.delta(s)
    assert delta.shape == (header.elements,)
    assert np.square(delta, dtype=np.float64).sum() == pytest.approx(np.square(expected).sum(), rel=1e-5)
    assert foreseen == pytest.approx(np.square(expected).sum(), rel=2e-3)  # multipliers are put together in classes
    assert reached == pytest.approx(2 ** (s / 256), rel=1e-6)
    h = math.log(2) / 256
    assert rate * h == pytest.approx(residual.energy(t + 1) / header.elements, rel=0.01)
    if not gray:
        np.testing.assert_allclose(delta, z_of(expected).ravel(), atol=2e-4 * np.abs(delta).max())


def test_white_noise_is_the_case_of_no_table(photo):
    """Without multipliers and at T = 1 both kinds of noise would be one: the residual's rate and energy are those of the error."""
    header = header_of(photo.shape[1], photo.shape[0])
    error = np.random.default_rng(0).standard_normal((1, 3, *photo.shape[:2])).astype(np.float32)
    white = residual_of(White(header), error.copy(), 500)
    assert white.rate() == pytest.approx(np.square(error).mean() * 2 ** (500 / 256), rel=1e-6)
    assert white.snr_of(white.energy(800)) == pytest.approx(2 ** (800 / 256))
    assert white.snr_of(energy_of(1e-9, header.dimensions)) == pytest.approx(2 ** (500 / 256))


@settings(max_examples=15)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.lists(st.integers(-100, 128), min_size=18, max_size=18),
    st.sampled_from([0, 32, 64]),
    st.integers(-4000, 4000),
)
def test_what_the_network_sees_becomes_the_picture_again(height, width, entries, cell, level):
    header = header_of(width, height, pictures=2)
    table = tuple(tuple(entries[6 * c : 6 * c + 6]) for c in range(3))
    cells = bytes(np.random.default_rng(0).integers(0, 25, -(-height // cell) * -(-width // cell)).tolist()) if cell else b""
    noise = Shaped(header, Shape(table, (0, 2500), None, 0, 0, cell, cells))
    x = np.random.default_rng(1).uniform(-1, 1, (2, 3, height, width)).astype(np.float32)
    u_0 = np.stack([whitening.coefficients(each, noise.field) for each in x])
    y = noise.seen(u_0, level) / np.float32(math.sqrt(1 / (1 + 2 ** (-level / 256))))
    np.testing.assert_allclose(noise.picture(y, level), x, atol=2e-3)  # G is up to 64, m up to 32


def test_start_and_states_have_the_noise_of_their_levels(photo, model):
    """(u_t - u_0) / sigma_i is standard normal in every band and colour, all along a chain of real steps."""
    parsed = container.parse(encode_pixels(Picture(photo), model, Rate(3.0), EncodeOptions(10, 3, tune="perception")).data)
    u_0 = whitening.coefficients(arrays.from_pixels(photo)[0])
    height, width = photo.shape[:2]
    f = whitening.frequencies(height, width)
    for state in decoder.states(parsed, arithmetic.denoiser(model)):
        eps = (state.x_t[0] - u_0) / sigma_i(parsed.shape, height, width, state.level)
        assert eps.var() == pytest.approx(1, abs=0.04)
        for c in range(3):
            for low, high in ((0, 0.3), (0.3, 0.6), (0.6, 0.9), (0.9, 2)):
                band = eps[c][(f >= low) & (f < high)]
                assert stats.kstest(band, "norm").pvalue > 1e-4, (state.index, c, low)


def test_the_decoder_has_the_encoders_picture(photo, model):
    encoding = encode_pixels(Picture(photo), model, Quality(60), EncodeOptions(8, 3, tune="perception"))
    assert np.array_equal(np.asarray(ddpmcodec.decode(encoding.data, model=model, reconstruct="mean", orientations=1)), encoding.pixels)
    parsed = container.parse(encoding.data)
    assert parsed.shape is not None and parsed.shape.number == 2
    before = threads.count()
    try:
        threads.use(2)
        other = np.asarray(ddpmcodec.decode(encoding.data, model=model, reconstruct="mean", orientations=1))
    finally:
        threads.use(before)
    assert abs(quality.psnr(other, photo) - encoding.psnr) < 0.05


def test_white_files_have_no_section_and_no_transform(photo, model):
    data = encode_pixels(Picture(photo), model, Rate(0.5), EncodeOptions(4, 1, tune="psnr")).data
    parsed = container.parse(data)
    assert parsed.shape is None and "S" not in [section.type for section in parsed.sections]
    noise = noise_of(parsed.header, None)
    x = np.ones((1, 3, 2, 2), np.float32)
    assert noise.seen(x, 0) is x


@pytest.mark.parametrize("tune", ["psnr", "perception"])
def test_a_quality_is_the_noise_at_multiplier_one(photo, model, tune):
    encoding = encode_pixels(Picture(photo), model, Quality(50), EncodeOptions(6, 1, tune=tune))
    assert ddpmcodec.info(encoding.data)["noise"]["sigma"] == pytest.approx(10, rel=0.01)


def test_a_region_of_interest_is_finer(photo, model):
    height, width = photo.shape[:2]
    inside = np.zeros((height, width), bool)
    inside[: height // 2, : width // 2] = True
    options = {"evaluations": 10, "effort": 3, "tune": "perception"}
    plain = encode_pixels(Picture(photo), model, Rate(1.5), EncodeOptions(**options))
    chosen = encode_pixels(Picture(photo), model, Rate(1.5), EncodeOptions(**options, roi=Roi(((0, 0, width // 2, height // 2),), gain=12)))
    assert len(chosen.data) <= 1500
    assert quality.psnr(photo, chosen.pixels, inside) > quality.psnr(photo, plain.pixels, inside) + 0.3
    assert quality.psnr(photo, chosen.pixels, ~inside) < quality.psnr(photo, plain.pixels, ~inside) - 0.3
    assert np.array_equal(np.asarray(ddpmcodec.decode(chosen.data, model=model, reconstruct="mean", orientations=1)), chosen.pixels)


@pytest.mark.long
@pytest.mark.parametrize(("width", "height"), [(1021, 683), (1365, 1024)])
def test_large_pictures_have_the_noise_of_their_levels(width, height, data_dir):
    """By band of frequency; and the energy of delta is even over the blocks of the rotation."""
    from PIL import Image

    with Image.open(data_dir / "raccoon-1021x683.jpg") as photo:
        pixels = np.asarray(photo.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))
    options = EncodeOptions(5, 2, tune="perception", precision="fp32")
    parsed = container.parse(encode_pixels(Picture(pixels), "photo-2", Rate(0.4), options).data)
    x_0 = arrays.from_pixels(pixels)
    u_0, f = whitening.coefficients(x_0[0]), whitening.frequencies(height, width)
    noise = Shaped(parsed.header, parsed.shape)
    for state in decoder.states(parsed, arithmetic.denoiser(registry.resolve("photo-2"), "cpu", "fp32")):
        m = np.empty_like(u_0)
        for colours, plane in noise.multipliers(state.level):
            m[colours] = plane
        sigma = 2 ** (-state.level / 512) * m
        eps = (state.x_t[0] - u_0) / sigma
        assert eps.var() == pytest.approx(1, abs=0.005)
        for c in range(3):
            for low, high in ((0.02, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 0.9), (0.9, 1.5)):
                band = eps[c][(f >= low) & (f < high)]
                assert stats.kstest(band[:: max(1, len(band) // 20_000)], "norm").pvalue > 1e-4, (state.index, c, low)
        if state.index == 2:
            delta = residual_of(noise, x_0 - state.evaluate(), state.level).delta(state.level + 500)
            padded = np.zeros(parsed.header.dimensions, np.float32)
            padded[: delta.size] = delta
            energy = np.square(padded.reshape(4096, -1)[: delta.size // (padded.size // 4096)], dtype=np.float64).sum(0)
            assert (energy / energy.mean()).min() > 0.6 and (energy / energy.mean()).max() < 1.6

            assert (energy / energy.mean()).min() > 0.6 and (energy / energy.mean()).max() < 1.6


def test_multipliers_that_are_not_kept_are_the_same(photo, model, monkeypatch):
    options = EncodeOptions(evaluations=6, effort=1)
    kept = encode_pixels(Picture(photo), model, Quality(50), options).data
    monkeypatch.setattr("ddpmcodec.noise.MOST_KEPT", 0)
    assert encode_pixels(Picture(photo), model, Quality(50), options).data == kept
