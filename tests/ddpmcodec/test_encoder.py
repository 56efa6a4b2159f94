import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddpmcodec import arrays, decoder, plan, quality
from ddpmcodec.channel import codeword
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.errors import RateError
from ddpmcodec.format import container
from ddpmcodec.format.header import Header
from ddpmcodec.models import arithmetic
from ddpmcodec.picture import Picture
from ddpmcodec.shaping import shape_for
from ddpmcodec.target import Rate, Target, VisitedLevels, choose


def decoded(data, model):
    return arrays.to_pixels(decoder.last_state(container.parse(data), arithmetic.denoiser(model, "cpu", "fp32")).evaluate())


@pytest.mark.parametrize("fixture", ["encoding", "large_encoding", "small_encoding"])
def test_decoding_gives_the_encoders_own_picture(fixture, model, request):
    e = request.getfixturevalue(fixture)
    assert np.array_equal(decoded(e.data, model), e.pixels)


def test_the_report_is_true(encoding, photo, model):
    parsed = container.parse(encoding.data)
    assert encoding.psnr == quality.psnr(photo, encoding.pixels)
    assert encoding.path_bits == sum(step.n for step in parsed.steps)
    assert encoding.bpp == 8 * len(encoding.data) / 8000
    assert len(encoding.step_kl_bits) == len(parsed.steps) and encoding.kl_bits == pytest.approx(sum(encoding.step_kl_bits))
    assert 0 <= encoding.network_seconds <= encoding.seconds
    for text in (f"{len(encoding.data)} bytes", "1.0000 bpp", f"PSNR {encoding.psnr:.2f} dB", "bits/KL 1.", "s network", "s coder"):
        assert text in encoding.summary()
    assert "\n" not in encoding.summary()
    assert len(parsed.steps) in encoding.prefix_psnr
    for count, psnr in encoding.prefix_psnr.items():
        prefix = container.serialize(parsed.first(count))
        assert quality.psnr(photo, decoded(prefix, model)) == pytest.approx(psnr, abs=1e-9)


@pytest.mark.parametrize("fixture", ["encoding", "large_encoding"])
def test_kl_is_that_of_the_errors(fixture, photo, model, request):
    """N/2 log2(1 + d^2) a step with d^2 = |x_0 - x0hat|^2 (snr_s - snr_t) / N, from a walk of the decoder's."""
    e = request.getfixturevalue(fixture)
    parsed = container.parse(e.data)
    x_0 = arrays.from_pixels(photo)
    kept = None
    for state, kl in zip(decoder.states(parsed, arithmetic.denoiser(model, "cpu", "fp32")), e.step_kl_bits, strict=False):
        step = parsed.steps[state.index]
        kept = state.evaluate() if step.evaluate else kept
        snr_s, snr_t = model.levels.snr(step.level), model.levels.snr(state.level)
        d2 = np.square(x_0 - kept, dtype=np.float64).sum() * (snr_s - snr_t) / 24_000
        assert kl == pytest.approx(12_000 * math.log2(1 + d2), rel=1e-4)


def test_rate_identity(encoding, large_encoding):
    """Path bits are KL bits over the code's efficiency, a few per cent more for short steps."""
    for e, steps in ((encoding, container.parse(encoding.data).steps), (large_encoding, container.parse(large_encoding.data).steps)):
        for step, kl in zip(steps, e.step_kl_bits, strict=True):
            assert 1.0 < step.n / kl < (1.2 if step.n > 1000 else 1.35)
        assert 1.05 < e.path_bits / e.kl_bits < 1.2
        assert e.path_bits / 8 < len(e.data) < e.path_bits / 8 + 64 + 4 * len(steps) + 4 * e.path_bits / 8 / 1024


def test_effort_buys_efficiency(photo, model):
    part = photo[:40, :50]
    cost = {effort: encode_pixels(Picture(part), model, Rate(4), EncodeOptions(8, effort, tune="psnr")) for effort in (1, 2, 3, 4, 5)}
    ratios = [cost[effort].path_bits / cost[effort].kl_bits for effort in (1, 2, 3, 4, 5)]
    assert ratios == sorted(ratios, reverse=True)
    for effort, e in cost.items():
        assert {step.nu for step in container.parse(e.data).steps} == {6 + 2 * effort}


def test_the_rate_is_met_closely(photo, model):
    for bpp in (0.3, 1, 3):
        e = encode_pixels(Picture(photo), model, Rate(bpp), EncodeOptions(evaluations=10, effort=1))
        assert 0.95 * bpp * 1000 <= len(e.data) <= bpp * 1000


def test_more_bytes_are_a_better_picture(photo, model):
    psnr = [encode_pixels(Picture(photo), model, Rate(bpp), EncodeOptions(evaluations=8, effort=1)).psnr for bpp in (0.2, 0.5, 1, 2, 4, 8)]
    assert psnr == sorted(psnr) and psnr[-1] > psnr[0] + 15


def test_the_default_rate(photo, model):
    assert 950 <= len(encode_pixels(Picture(photo), model, Target(), EncodeOptions(evaluations=8, effort=1)).data) <= 1000
    assert 400 < len(encode_pixels(Picture(photo[:20, :30]), model, Target(), EncodeOptions(evaluations=8, effort=1)).data) <= 512


def test_too_small_a_rate(photo, model):
    header = Header(100, 80, model.name, model.hash, model.levels, model.start, 0)
    least = container.serialized_size(header, ())
    with pytest.raises(RateError):
        encode_pixels(Picture(photo), model, Rate(8 * (least - 0.5) / 8000), EncodeOptions(effort=1, tune="psnr"))
    e = encode_pixels(Picture(photo), model, Rate(8 * (least + 0.5) / 8000), EncodeOptions(effort=1, tune="psnr"))
    assert len(e.data) == least and container.parse(e.data).steps == ()
    assert np.array_equal(decoded(e.data, model), e.pixels)


def contents(kind, height, width, rng):
    if kind == "noise":
        return rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    if kind == "checker":
        return np.broadcast_to((np.indices((height, width)).sum(0) % 2 * 255)[..., None], (height, width, 3)).astype(np.uint8)
    if kind == "gradient":
        ramp = np.linspace(0, 255, height * width).reshape(height, width, 1)
        return np.concatenate([ramp, 255 - ramp, ramp / 2], 2).astype(np.uint8)
    return np.full((height, width, 3), {"black": 0, "gray": 128, "white": 255}[kind], np.uint8)


sides = st.one_of(st.just(1), st.integers(1, 40))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    sides,
    sides,
    st.sampled_from(["noise", "checker", "gradient", "black", "gray", "white"]),
    st.sampled_from([None, 0.02, 0.5, 2, 7.5, 24]) | st.floats(0.01, 24),
    st.integers(0, 2**63 - 1),
    st.integers(2, 8),
    st.sampled_from(["psnr", "perception"]),
)
def test_any_picture_within_any_rate(model, height, width, kind, bpp, seed, evaluations, tune):
    pixels = contents(kind, height, width, np.random.default_rng(seed))
    budget = int(bpp * height * width / 8) if bpp else max(512, height * width // 8)
    try:
        e = encode_pixels(Picture(pixels), model, choose(bpp=bpp), EncodeOptions(evaluations, 1, seed, tune))
    except RateError:
        header = Header(width, height, model.name, model.hash, model.levels, model.start, seed)
        assert container.serialized_size(header, (), shape_for(header, choose(bpp=bpp), tune, None)) > budget
        return
    assert len(e.data) <= budget
    parsed = container.parse(e.data)
    assert parsed.complete and (parsed.header.width, parsed.header.height, parsed.header.seed) == (width, height, seed)
    assert len(decoder.evaluated_levels(parsed)) <= evaluations
    assert np.array_equal(decoded(e.data, model), e.pixels)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 33), (47, 1), (2, 2), (17, 31), (16, 64)])
@pytest.mark.parametrize("bpp", [None, 24])
def test_sizes(model, photo, height, width, bpp):
    pixels = photo[:height, :width] if bpp else photo[30 : 30 + height, 20 : 20 + width]
    if bpp and height * width < 30:
        with pytest.raises(RateError):
            encode_pixels(Picture(pixels), model, Rate(bpp), EncodeOptions(effort=1))
        return
    e = encode_pixels(Picture(pixels), model, choose(bpp=bpp), EncodeOptions(evaluations=6, effort=1))
    assert e.pixels.shape == (height, width, 3) and np.array_equal(decoded(e.data, model), e.pixels)
    if height * width > 30:
        assert e.psnr > 15


def test_a_picture_met_exactly(model):
    """One white pixel, of which the network's clamped x0hat at some step is exactly right."""
    white = np.full((1, 1, 3), 255, np.uint8)
    for seed in range(5, 10):
        e = encode_pixels(Picture(white), model, Target(), EncodeOptions(evaluations=20, effort=1, seed=seed))
        assert e.psnr > 40 and np.array_equal(decoded(e.data, model), e.pixels)


def test_the_network_is_evaluated_as_often_as_said(photo, model):
    calls = []
    hook = model.network.register_forward_hook(lambda *_: calls.append(1))
    progress = []
    try:
        for evaluations in (2, 3, 9):
            calls.clear(), progress.clear()
            e = encode_pixels(
                Picture(photo[:30, :40]),
                model,
                Rate(3),
                EncodeOptions(evaluations=evaluations, effort=1, backend="torch"),
                progress=lambda *p: progress.append(p),
            )
            assert len(calls) == evaluations == len(progress) and progress[-1] == (evaluations, evaluations)
            parsed = container.parse(e.data)
            assert len(decoder.evaluated_levels(parsed)) == evaluations
            calls.clear(), progress.clear()
            decoder.last_state(parsed, arithmetic.denoiser(model, "cpu", "fp32", backend="torch"), lambda *p: progress.append(p))
            assert len(calls) == evaluations
            assert progress == [(i + 1, evaluations) for i in range(evaluations)]
    finally:
        hook.remove()


def test_finer_schedules_cost_fewer_bits(photo, model):
    """A left Riemann sum: coarse steps send what finer ones need not."""
    coarse, fine = (encode_pixels(Picture(photo), model, Rate(2), EncodeOptions(evaluations=n, effort=1)) for n in (5, 25))
    assert fine.psnr > coarse.psnr + 0.3


def test_steps_of_more_bits_than_words_have_are_split(photo, model):
    """n <= D / 2: what needs more stops at levels between, with x0hat kept."""
    part = photo[:24, :30]
    e = encode_pixels(Picture(part), model, Rate(20), EncodeOptions(evaluations=4, effort=1))
    parsed = container.parse(e.data)
    assert not all(step.evaluate for step in parsed.steps)
    assert max(step.n for step in parsed.steps) == codeword.legal_bits(parsed.header.dimensions // 2)
    assert len(decoder.evaluated_levels(parsed)) <= 4
    assert np.array_equal(decoded(e.data, model), e.pixels)
    count = next(i for i, step in enumerate(parsed.steps) if not step.evaluate)  # a prefix inside such a group
    within, before = (decoded(container.serialize(parsed.first(n)), model) for n in (count, count - 1))
    assert quality.psnr(part, within) > quality.psnr(part, before)


def test_given_levels_are_visited(photo, model):
    levels = [-2000, -1000, -500, 0, 300, 700]
    e = encode_pixels(Picture(photo[:40, :40]), model, VisitedLevels(tuple(levels)), EncodeOptions(effort=1))
    parsed = container.parse(e.data)
    assert [step.level for step in parsed.steps] == levels
    assert np.array_equal(decoded(e.data, model), e.pixels)


def test_the_seed_is_all_the_chance_there_is(photo, model):
    part = photo[:30, :30]
    a, b, c = (encode_pixels(Picture(part), model, Rate(2), EncodeOptions(evaluations=6, effort=1, seed=seed)) for seed in (1, 1, 2))
    assert a.data == b.data and a.data != c.data
    assert abs(a.psnr - c.psnr) < 1


def test_a_model_of_discrete_timesteps(photo, discrete_model):
    e = encode_pixels(Picture(photo[:30, :40]), discrete_model, Rate(6), EncodeOptions(evaluations=8, effort=1))
    parsed = container.parse(e.data)
    assert parsed.header.levels == discrete_model.levels and parsed.header.start == 1000
    timesteps = [1000, *(step.level for step in parsed.steps)]
    assert len(timesteps) > 3 and timesteps == sorted(set(timesteps), reverse=True) and timesteps[-1] >= 1
    assert len(e.data) <= 6 * 1200 / 8
    assert np.array_equal(decoded(e.data, discrete_model), e.pixels)


@pytest.mark.parametrize("nu", [8, 10, 12])
def test_path_bits_and_ideal_bits_are_inverse(nu):
    for kl in (1.0, 50.0, 10_000.0):
        assert plan.ideal_bits(plan.path_bits(kl, nu), nu) == pytest.approx(kl)


def test_energy_inverts_the_kl():
    for kl in (10.0, 1000.0, 20_000.0):
        assert plan.kl_bits(plan.energy_of(kl, 28_672), 28_672) == pytest.approx(kl)
