"""What the channel coder costs and how good its samples are, on real steps of a real picture.

python -m ddpmcodec.eval.bench PHOTO

For each effort and noise level: x_t is drawn from q(x_t | x_0), the step goes to 1.2 times the snr, and the message is really made and
received. Columns: the step's KL in bits; path bits per bit of KL; microseconds a path bit for the search, median of three;
<delta, z> / |delta|^2, which should be 1; variance and kurtosis of z - delta, which should be 1 and 3.
"""

import time
from statistics import median

import click
import numpy as np
import torch

from ddpmcodec import codeword, decoder, picture
from ddpmcodec.chain import step_posterior, target
from ddpmcodec.channel import TrellisChannel
from ddpmcodec.container import VERSION, parse
from ddpmcodec.encoder import encode_pixels
from ddpmcodec.models import process, registry
from ddpmcodec.models.checkpoint import Model
from ddpmcodec.plan import NU_OF_EFFORT, kl_bits, path_bits
from ddpmcodec.randomness import STREAM_SAMPLING, SharedRandomness

SIGMAS = (200, 100, 50, 25, 12, 6)  # of 255
SNR_RATIO = 1.2


def measure_step(model: Model, pixels: np.ndarray, sigma: float, nu: int) -> tuple[float, float, float, float, float, float]:
    """KL in bits, path bits / KL, us a bit, <delta, z> / |delta|^2, variance and kurtosis of z - delta."""
    x_0 = picture.to_tensor(pixels)
    level_t = model.levels.nearest((127.5 / sigma) ** 2)
    level_s = model.levels.nearest(SNR_RATIO * model.levels.snr(level_t))
    randomness = SharedRandomness(0, VERSION)
    noise = randomness.gaussians(x_0.numel(), STREAM_SAMPLING).view_as(x_0)
    x_t = process.q_sample(x_0, process.abar_of_snr(model.levels.snr(level_t)), noise)
    x0hat = model.predict_x_0(x_t, level_t).clamp(-1, 1)
    delta = target(x_0, x0hat, step_posterior(model.levels, level_s, level_t)).double()
    channel = TrellisChannel(randomness, x_0.numel(), pixels.shape[1])
    kl = kl_bits(float(delta.square().sum()), channel.dimensions)
    n = codeword.legal_bits(round(path_bits(kl, nu)))
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        message = channel.send(delta, 0, n, nu)
        seconds.append(time.perf_counter() - begin)
    z = channel.receive(message, 0, n, nu).double()
    error = z - delta
    variance = float(error.var())
    kurtosis = float((error - error.mean()).pow(4).mean()) / variance**2
    return kl, n / kl, median(seconds) / n * 1e6, float(delta @ z / (delta @ delta)), variance, kurtosis


def decoding_overhead(model: Model, data: bytes) -> tuple[float, float]:
    """Seconds that decoding takes in all, and in the network."""
    parsed = parse(data)
    begin = time.perf_counter()
    state = decoder.last_state(parsed, model, lambda done, total: None)
    total = time.perf_counter() - begin
    x_t, level = state.x_t, state.level
    begin = time.perf_counter()
    for _ in range(decoder.evaluations(parsed)):
        model.predict_x_0(x_t, level)
    return total, time.perf_counter() - begin


@click.command()
@click.argument("photo", type=click.Path(exists=True, dir_okay=False))
def main(photo: str) -> None:
    """Measure the channel coder on PHOTO."""
    with open(photo, "rb") as f:
        pixels = picture.read(f.read())
    model = registry.find()
    print(f"{pixels.shape[1]}x{pixels.shape[0]}, {model.name}, {torch.get_num_threads()} threads\n")
    print("| effort | nu | sigma | KL bits | bits/KL | us a bit | <delta,z>/delta^2 | variance | kurtosis |\n|---|" + "---:|" * 8)
    for effort, nu in NU_OF_EFFORT.items():
        measure_step(model, pixels, SIGMAS[0], nu)  # compiles, or loads what was compiled
        for sigma in SIGMAS:
            kl, ratio, us, projection, variance, kurtosis = measure_step(model, pixels, sigma, nu)
            print(f"| {effort} | {nu} | {sigma} | {kl:.0f} | {ratio:.3f} | {us:.2f} | {projection:.4f} | {variance:.4f} | {kurtosis:.3f} |")
    total, network = decoding_overhead(model, encode_pixels(pixels, model, evaluations=12, effort=1).data)
    print(f"\ndecoding, 12 evaluations: {total:.2f} s, of which the network {network:.2f} s")


if __name__ == "__main__":
    main()
