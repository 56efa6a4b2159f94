"""What is shown of a file: samples, the probability flow, and means over orientations."""

import math

import numpy as np
import pytest

import ddpmcodec
from ddpmcodec import arrays, decoder, reconstruction
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.format import container
from ddpmcodec.models import arithmetic
from ddpmcodec.models.levels import sigma
from ddpmcodec.orientations import COUNTS
from ddpmcodec.picture import Picture
from ddpmcodec.reconstruction import Reconstruction, visited
from ddpmcodec.target import Lossless, Rate


def test_sampling_draws_from_p(encoding, photo, model):
    """The stochastic decoder: seeded, and as far from x0hat as x0hat is from the picture, where the network knows its error."""
    parsed = container.parse(encoding.data).first(6)
    state = decoder.last_state(parsed, arithmetic.denoiser(model, "cpu", "fp32"))
    progress = []
    a = reconstruction.sample(state, 1, progress=lambda *p: progress.append(p))
    assert progress[-1][0] == progress[-1][1] == len(progress)
    b, c = reconstruction.sample(state, 1), reconstruction.sample(state, 2)
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert np.abs(a).max() <= 1
    x_0 = arrays.from_pixels(photo)
    error = [np.square(x - x_0).mean() for x in (state.evaluate(), a, c)]
    assert error[0] < error[1] and error[0] < error[2]
    rms = math.sqrt(np.square(a - state.evaluate()).mean() / error[0])
    assert 0.3 < rms < 2


def test_sampling_adds_what_the_mean_lacks(encoding, photo, model):
    """Neighbouring pixels of a sample differ about as much as the photo's; those of x0hat at high noise much less."""
    parsed = container.parse(encoding.data).first(4)
    state = decoder.last_state(parsed, arithmetic.denoiser(model, "cpu", "fp32"))

    def roughness(x):
        return np.square(x[..., 1:] - x[..., :-1]).mean()

    assert roughness(state.evaluate()) < roughness(reconstruction.sample(state, 0))


def test_sampling_of_a_discrete_chain(photo, discrete_model):
    e = encode_pixels(Picture(photo[:20, :20]), discrete_model, Rate(10), EncodeOptions(evaluations=5, effort=1))
    state = decoder.last_state(container.parse(e.data), arithmetic.denoiser(discrete_model, "cpu", "fp32"))
    x = reconstruction.sample(state, 3)
    assert x.shape == (1, 3, 20, 20) and np.isfinite(x).all()


def test_the_flow_is_ddim(encoding, model):
    """Equation 12 of arXiv 2010.02502 with eta = 0, in float64, from the level reached to sigma 1.5 at equal ratios of sigma."""
    parsed = container.parse(encoding.data).first(6)
    denoiser = arithmetic.denoiser(model, "cpu", "fp32")
    state = decoder.last_state(parsed, denoiser)
    levels, x, before = model.levels, state.x_t.astype(np.float64), state.level
    ratio = (1.5 / sigma(levels, before)) ** (1 / 3)
    for i in (1, 2, 3):
        level = levels.nearest((127.5 / (sigma(levels, state.level) * ratio**i)) ** 2)
        abar_t, abar_s = (levels.snr(each) / (1 + levels.snr(each)) for each in (before, level))
        x_0 = denoiser.predict_x_0(x.astype(np.float32), before).clip(-1, 1).astype(np.float64)
        eps = (x - math.sqrt(abar_t) * x_0) / math.sqrt(1 - abar_t)
        x, before = math.sqrt(abar_s) * x_0 + math.sqrt(1 - abar_s) * eps, level
    assert sigma(levels, before) == pytest.approx(1.5, rel=2e-3)
    end = denoiser.predict_x_0(x.astype(np.float32), before).clip(-1, 1)
    mean, told = state.evaluate(), []
    np.testing.assert_allclose(reconstruction.flow(state, progress=lambda *p: told.append(p), share=1), end, atol=1e-4)
    np.testing.assert_allclose(reconstruction.flow(state), mean + 0.3 * (end - mean), atol=1e-4)
    assert np.array_equal(reconstruction.flow(state, share=0), mean)
    assert np.array_equal(reconstruction.flow(state, 4, share=0), reconstruction.mean(state, 4))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("tune", ["psnr", "perception"])
def test_the_flow_adds_details_and_no_noise(photo, model, tune):
    """Between the mean and a sample: rougher than the one, and closer to the photo than the other."""
    parsed = container.parse(encode_pixels(Picture(photo), model, Rate(0.5), EncodeOptions(8, 1, tune=tune)).data)
    state = decoder.last_state(parsed, arithmetic.denoiser(model, "cpu", "fp32"))
    x_0 = arrays.from_pixels(photo)

    def roughness(x):
        return np.square(x[..., 1:] - x[..., :-1]).mean()

    mean, flow, sample = state.evaluate(), reconstruction.flow(state), reconstruction.sample(state)
    assert roughness(mean) < roughness(flow) < roughness(sample)
    assert np.square(flow - x_0).mean() < np.square(sample - x_0).mean()


@pytest.mark.parametrize("tune", ["psnr", "perception"])
def test_by_default_the_flow_is_shown_with_two_orientations(photo, model, discrete_model, tune):
    """But for models of timesteps, x0hat of whose pictures is the paper's."""

    def decoded(**options):
        return np.asarray(ddpmcodec.decode(data, model=used, **options))

    for used, kind, other, orientations in ((model, "flow", "mean", 2), (discrete_model, "mean", "flow", 1)):
        options = EncodeOptions(6, 1, tune=tune if used is model else "auto")
        data = encode_pixels(Picture(photo[:32, :40]), used, Rate(2), options).data
        assert np.array_equal(decoded(), decoded(reconstruct=kind, orientations=orientations))
        assert not np.array_equal(decoded(), decoded(reconstruct=other))


def test_progress_counts_every_evaluation(encoding, model):
    parsed = container.parse(encoding.data)
    for shown in (Reconstruction(), Reconstruction("mean", 8), Reconstruction("flow", 2), Reconstruction("sample", 4)):
        told = []
        reconstruction.decoded(parsed, arithmetic.denoiser(model, "cpu", "fp32"), shown, lambda *p, told=told: told.append(p))
        done, totals = zip(*told, strict=True)
        assert sorted(done) == list(done) and set(totals) == {done[-1]} == {len(reconstruction.evaluated_levels(parsed, shown))}


def test_where_little_noise_is_left_the_flow_is_the_mean(large_encoding, model, discrete_model):
    levels = model.levels
    assert visited("flow", levels, levels.nearest((127.5 / 1.4) ** 2)) == []
    assert visited("mean", levels, 0) == []
    assert visited("flow", discrete_model.levels, 1) == []
    for kind in ("flow", "sample"):
        assert visited(kind, discrete_model.levels, 900) == sorted(set(visited(kind, discrete_model.levels, 900)), reverse=True)


@pytest.mark.parametrize("kind", ["flow", "sample"])
def test_reconstructions_of_a_discrete_chain(photo, discrete_model, kind):
    data = encode_pixels(Picture(photo[:20, :20]), discrete_model, Rate(10), EncodeOptions(evaluations=5, effort=1)).data
    assert ddpmcodec.decode(data, model=discrete_model, reconstruct=kind, orientations=2).size == (20, 20)


@pytest.mark.parametrize("tune", ["psnr", "perception"])
@pytest.mark.parametrize("count", COUNTS)
def test_orientations_are_averaged_at_the_last_state(photo, model, tune, count):
    """Against the network run on each picture turned by numpy; with the chain itself as it was."""
    encoding = encode_pixels(Picture(photo), model, Rate(0.5), EncodeOptions(6, 1, tune=tune))
    parsed, denoiser = container.parse(encoding.data), arithmetic.denoiser(model, "cpu", "fp32")
    *_, state = decoder.states(parsed, denoiser)
    seen = state.noise.seen(state.x_t, state.level)
    turns = [(0, False), (2, False), (0, True), (2, True), (1, False), (3, False), (1, True), (3, True)][:count]  # quarter turns, mirrored
    x_0 = 0
    for quarters, mirrored in turns:
        y = np.rot90(seen[..., ::-1] if mirrored else seen, quarters, (2, 3))
        back = np.rot90(denoiser.predict_x_0(np.ascontiguousarray(y), state.level), -quarters, (2, 3))
        x_0 = x_0 + (back[..., ::-1] if mirrored else back) / count
    if tune == "psnr":
        x_0 = x_0.clip(-1, 1)
    expected = arrays.to_pixels(state.noise.picture(np.ascontiguousarray(x_0, np.float32), state.level))
    decoded = np.asarray(ddpmcodec.decode(encoding.data, model=model, reconstruct="mean", orientations=count, precision="fp32"))
    assert np.abs(decoded.astype(int) - expected).max() <= 1
    assert np.array_equal(decoded, encoding.pixels) == (count == 1)


@pytest.mark.parametrize("tune", ["psnr", "perception"])
def test_several_gray_pictures(drawing, model, tune):
    """Each is near its own mean; none gets colour, or another's content."""
    sources = [drawing[..., 1], drawing[::-1, ::-1, 1]]
    data = ddpmcodec.encode(sources, model=model, bpp=2, evaluations=6, effort=1, tune=tune)
    means = ddpmcodec.decode_pictures(data, model=model, reconstruct="mean", orientations=1)
    shown = ddpmcodec.decode_pictures(data, model=model, reconstruct="flow", orientations=8)
    assert [image.mode for image in shown] == ["L", "L"]
    for mean, image in zip(means, shown, strict=True):
        difference = np.asarray(image, float) - np.asarray(mean, float)
        assert 0 < np.square(difference).mean() < 0.1 * np.asarray(mean, float).var()


def test_a_whole_lossless_file_shows_the_exact_picture(drawing, model):
    data = encode_pixels(Picture(drawing), model, Lossless(), EncodeOptions(6, 1)).data
    steps = len(container.parse(data).steps)

    def decoded(*steps, **options):
        return np.asarray(ddpmcodec.decode(data, *steps, model=model, **options))

    for options in ({}, {"reconstruct": "flow"}, {"orientations": 8}, {"reconstruct": "flow", "orientations": 2}):
        assert np.array_equal(decoded(**options), drawing)
    assert not np.array_equal(decoded(reconstruct="sample"), drawing)
    assert not np.array_equal(decoded(steps - 1, orientations=8), decoded(steps - 1))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"reconstruct": "median"}, ValueError),
        ({"reconstruct": None}, ValueError),
        *(({"orientations": count}, ValueError) for count in (-1, 0, 3, 16)),
        *(({"orientations": count}, TypeError) for count in (2.0, "2")),
        *(({"reconstruct": "sample", "seed": seed}, ValueError) for seed in (-1, 1 << 64)),
    ],
)
def test_options_out_of_range(encoding, model, options, error):
    with pytest.raises(error, match=next(iter(reversed(options)))):
        ddpmcodec.decode(encoding.data, 0, model=model, **options)
