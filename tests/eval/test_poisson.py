"""The reference channel coder: samples, indices and lengths against the theory, and a chain of it."""

import math

import numpy as np
import pytest
from scipy import stats

from ddpmcodec import arrays, chain, noise, quality
from ddpmcodec.channel import rotation
from ddpmcodec.channel.randomness import STREAM_ROTATION, SharedRandomness
from ddpmcodec.errors import EvaluationError
from ddpmcodec.eval.poisson import PoissonChannel, zipf_exponent
from ddpmcodec.format.header import Header
from ddpmcodec.format.steptable import Step
from ddpmcodec.models import arithmetic
from ddpmcodec.models.model import Model
from ddpmcodec.plan import energy_of, kl_bits

COUNT = 4096
CHUNK_BITS = 4  # for which 2^16 candidates are as good as infinitely many
N = 2048
CHUNKS = N // CHUNK_BITS


def delta_of(n: int, count: int = COUNT) -> np.ndarray:
    """Gaussian, as rotated targets are, with |delta|^2 such that the KL is n bits."""
    delta = np.random.default_rng(n).standard_normal(count)
    delta *= math.sqrt(count * (4 ** (n / count) - 1)) / np.linalg.norm(delta)
    assert kl_bits(float(np.square(delta).sum()), count) == pytest.approx(n)
    return delta


def channel_of(chunk_bits: int, **options: int) -> PoissonChannel:
    return PoissonChannel(SharedRandomness(5, 0), COUNT, 64, chunk_bits, **options)


@pytest.fixture(scope="module")
def indices() -> np.ndarray:
    return channel_of(CHUNK_BITS).indices(delta_of(N), 3, N)


@pytest.fixture(scope="module")
def message() -> bytes:
    return channel_of(CHUNK_BITS).send(delta_of(N), 3, N, 8)


def test_the_receiver_gets_a_sample_of_q(message: bytes):
    """Where the candidates suffice: z - delta is standard normal by Kolmogorov and Smirnov, and does not follow delta."""
    delta, randomness = delta_of(N), SharedRandomness(5, 0)
    z = PoissonChannel(randomness, COUNT, 64, CHUNK_BITS).receive(message, 3, N, 8)
    assert z.shape == (COUNT,) and z.dtype == np.float32
    # Before the rotation back, which would make any noise Gaussian.
    noise = rotation.rotate(z.astype(np.float64) - delta, randomness.signs(COUNT, STREAM_ROTATION, 3))
    assert abs(noise.mean()) < 3 / math.sqrt(COUNT)
    assert noise.var() == pytest.approx(1, abs=3 * math.sqrt(2 / COUNT))
    below = stats.norm.cdf(np.sort(noise))
    rank = np.arange(COUNT) / COUNT
    assert max((below - rank).max(), (rank + 1 / COUNT - below).max()) < 1.63 / math.sqrt(COUNT)
    assert z @ delta / (delta @ delta) == pytest.approx(1, abs=3 / np.linalg.norm(delta))


def test_the_index_is_as_short_as_the_theorem_says(indices: np.ndarray):
    """E[log2 K] <= KL + log2(e) / e (Li & El Gamal 2018), and not by far."""
    assert indices.shape == (CHUNKS,)
    bound = CHUNK_BITS + math.log2(math.e) / math.e
    log_index = np.log2(indices + 1.0)
    error = log_index.std() / math.sqrt(CHUNKS)
    assert bound - 1.5 < log_index.mean() < bound + 3 * error


def test_the_length_is_that_of_the_zipf_code(indices: np.ndarray, message: bytes):
    exponent = 1 + 1 / (CHUNK_BITS + 0.53 + 1)
    assert zipf_exponent(CHUNK_BITS) == pytest.approx(exponent, rel=1e-3)
    weights = np.arange(1, 1 + (1 << 16)) ** -exponent
    ideal = -np.log2(weights[indices] / weights.sum()).sum()
    assert ideal - 8 < 8 * len(message) < 1.002 * ideal + 32
    # No code of samples is shorter than the KL; this one is at most so much longer.
    bound = CHUNK_BITS + 0.53
    assert N < 8 * len(message) < CHUNKS * (bound + math.log2(bound + 1) + 1) + 32


def test_too_few_candidates_give_a_sample_too_near_to_p():
    """16 bits of KL from 2^16 candidates, the usual chunk, lose more than a tenth."""
    delta = delta_of(512)
    channel = channel_of(16)
    z = channel.receive(channel.send(delta, 0, 512), 0, 512)
    assert 0.7 < z @ delta / (delta @ delta) < 0.9


def test_nothing_to_say_takes_no_bytes():
    channel = channel_of(16, candidate_bits=8)
    assert channel.send(np.zeros(COUNT), 0, 0) == b""
    z = channel.receive(b"", 0, 0)
    assert np.square(z).mean() == pytest.approx(1, abs=0.1)
    assert not np.array_equal(z, channel.receive(b"", 1, 0))


@pytest.mark.parametrize("n", [1, 3, 17, 1000])
def test_chunks_of_any_size(n: int):
    """Sizes that divide nothing, and a picture that does not fill its dimensions."""
    sender, receiver = (PoissonChannel(SharedRandomness(1, 0), 3 * 7 * 5, 7, 3, candidate_bits=6) for _ in range(2))
    delta = np.full(3 * 7 * 5, 2.0)
    z = receiver.receive(sender.send(delta, 2, n), 2, n)
    assert z.shape == delta.shape and np.isfinite(z).all()


def test_a_chain(model: Model, photo: np.ndarray):
    """Sender and receiver, who share nothing but the seed and the steps, walk the same chain to the same picture."""
    pixels = photo[:24, :32]
    header = Header(32, 24, model.name, model.hash, model.levels, model.start, 9)
    x_0 = arrays.from_pixels(pixels)
    sent: list[tuple[Step, bytes]] = []

    def side() -> tuple[SharedRandomness, PoissonChannel]:
        randomness = SharedRandomness(9, 0)
        return randomness, PoissonChannel(randomness, header.elements, header.width, 6, candidate_bits=12)

    randomness, channel = side()

    def send(state: chain.State) -> tuple[Step, bytes] | None:
        if state.index == 6:
            return None
        error = float(np.square(x_0 - state.evaluate()).sum())
        level = model.levels.nearest(model.levels.snr(state.level) + energy_of(300, header.dimensions) / error)
        delta = noise.delta_of((x_0 - state.evaluate()).reshape(-1), noise.step_posterior(model.levels, level, state.level))
        step = Step(level, round(kl_bits(float(np.square(delta).sum()), header.dimensions)), 8)
        sent.append((step, channel.send(delta, state.index, step.n, step.nu)))
        return sent[-1]

    *_, encoded = chain.walk(arithmetic.denoiser(model, "cpu", "fp32"), header, noise.White(header), randomness, channel, send)
    received = iter(sent)
    *_, decoded = chain.walk(
        arithmetic.denoiser(model, "cpu", "fp32"), header, noise.White(header), *side(), lambda state: next(received, None)
    )
    assert decoded.index == 6 and np.array_equal(decoded.x_t, encoded.x_t)
    shown = arrays.to_pixels(decoded.evaluate())
    flat = np.broadcast_to(pixels.mean((0, 1)).round().astype(np.uint8), pixels.shape)
    assert quality.psnr(pixels, shown) > quality.psnr(pixels, flat) + 3


def test_only_for_small_pictures():
    PoissonChannel(SharedRandomness(0, 0), 3 * 64 * 64, 64)
    with pytest.raises(EvaluationError, match=r"up to 64x64.* 65536 Gaussians"):
        PoissonChannel(SharedRandomness(0, 0), 3 * 64 * 65, 65)
