"""The channel coder to compare ours with: the Poisson functional representation, chunk by chunk. No file is made with it.

Li & El Gamal 2018 (arXiv 1701.02827): candidates Z_1, Z_2, ... drawn from p arrive at the times T_1 < T_2 < ... of a Poisson process;
the one with the least T_i p(Z_i) / q(Z_i) is a sample of q. Its index K, of which E[log2 K] <= KL + log2(e) / e, is coded with a Zipf
distribution. With finitely many candidates it is Theis & Yosri's algorithm (2022, arXiv 2110.12805), and since the candidates needed grow
as 2^KL, a step is split into chunks of a few bits each, as DiffC does (Vonderfecht & Liu, ICLR 2025).

It is exact where the candidates suffice. Under q, log2(q / p) spreads by sqrt(2 KL log2 e) bits around KL (where d^2 is small), so that
2^16 candidates are too few for the 16 bits of a usual chunk: what comes out lies too near to p. `docs/coder.md` has by how much.
"""

import math

import constriction
import numba as nb
import numpy as np
import torch
from numpy.random import Philox

from ddpmcodec.channel import codeword, rotation
from ddpmcodec.channel.randomness import STREAM_ROTATION, SharedRandomness
from ddpmcodec.errors import EvaluationError

MAX_ELEMENTS = 3 * 64 * 64
CHUNK_BITS = 16
CANDIDATE_BITS = 16
# Streams beside those of ddpmcodec/channel/randomness.py; the counter's last word is the chunk.
STREAM_CANDIDATES = 101
STREAM_ARRIVALS = 102

GROUP = 16  # values, of 16 bits each, that one count of the Philox counter gives
BATCH = 1 << 22  # values in memory at a time
QUANTILES = torch.special.ndtri((torch.arange(1 << 16, dtype=torch.float64) + 0.5) / (1 << 16)).float().numpy()


@nb.njit(fastmath=True)
def _score(values, linear, quadratic, quantiles, scores):
    """Writes g . linear + quadratic |g|^2 for each candidate g, given as a row of places in the table of quantiles."""
    for i in range(scores.size):
        score = np.float32(0)
        for k in range(linear.size):
            g = quantiles[values[i, k]]
            score += g * (linear[k] + quadratic * g)
        scores[i] = score


def zipf_exponent(kl: float) -> float:
    """Of the distribution that codes the index of a chunk of `kl` bits (Li & El Gamal 2018)."""
    return 1 + 1 / (kl + math.log2(math.e) / math.e + 1)


class PoissonChannel:
    """A `ddpmcodec.channel.channel.Channel` whose n is the step's KL in whole bits: both sides know it, and d^2 = 2^(2 n / D) - 1 from it.

    nu is ignored. A message is an ANS coder's words, little endian, without the zero bytes at their end.

    Args:
        randomness: what sender and receiver share.
        count: N, the number of coded elements.
        width: the picture's width, on which the interleaving depends.
        chunk_bits: a step has ceil(n / chunk_bits) chunks of equally many dimensions.
        candidate_bits: a chunk has 2^candidate_bits candidates.

    Raises:
        EvaluationError: more elements than a picture of 64x64 has.
    """

    def __init__(
        self,
        randomness: SharedRandomness,
        count: int,
        width: int,
        chunk_bits: int = CHUNK_BITS,
        candidate_bits: int = CANDIDATE_BITS,
    ):
        self.candidates = 1 << candidate_bits
        if count > MAX_ELEMENTS:
            raise EvaluationError(
                "the Poisson coder is for pictures up to 64x64:"
                f" it draws {self.candidates} Gaussians a dimension and step, here {self.candidates * count:.1e} a step"
            )
        self.randomness = randomness
        self.count = count
        self.dimensions = codeword.padded_size(count, width)
        self.chunk_bits = chunk_bits

    def _bounds(self, n: int) -> list[tuple[int, int]]:
        """The rotated dimensions of each chunk: the first and the one behind the last."""
        chunks = max(1, -(-n // self.chunk_bits))
        return [(i * self.dimensions // chunks, (i + 1) * self.dimensions // chunks) for i in range(chunks)]

    def _variance(self, n: int) -> float:
        """1 + d^2: p's variance in units of q's."""
        return 4.0 ** (n / self.dimensions)

    def _model(self, n: int):
        weights = np.arange(1, self.candidates + 1) ** -zipf_exponent(n / len(self._bounds(n)))
        return constriction.stream.model.Categorical(weights / weights.sum(), perfect=False)

    def _rotation_signs(self, step: int) -> np.ndarray:
        return self.randomness.signs(self.dimensions, STREAM_ROTATION, step)

    def _values(self, step: int, chunk: int, first: int, count: int, dimensions: int) -> np.ndarray:
        """(count, dimensions) uint16: candidates first ... first + count - 1 of a chunk, as places in the table of quantiles."""
        groups = -(-dimensions // GROUP)
        counter = np.array([first * groups, STREAM_CANDIDATES, step, chunk], np.uint64)
        words = Philox(key=self.randomness.key, counter=counter).random_raw(count * groups * 4)
        return words.astype("<u8", copy=False).view("<u2").reshape(count, -1)[:, :dimensions]

    def _choose(self, linear: np.ndarray, quadratic: float, step: int, chunk: int) -> int:
        """The index, from 0, of the candidate with the least T p / q."""
        log_ratio = np.empty(self.candidates, np.float32)
        batch = max(1, BATCH // linear.size)
        for first in range(0, self.candidates, batch):
            scores = log_ratio[first : first + batch]
            _score(self._values(step, chunk, first, scores.size, linear.size), linear, np.float32(quadratic), QUANTILES, scores)
        words = self.randomness.words(self.candidates, STREAM_ARRIVALS, step, chunk)
        arrivals = np.cumsum(-np.log(((words >> 11) + 0.5) / 2.0**53))
        return int(np.argmin(np.log(arrivals) - log_ratio))

    def indices(self, delta: np.ndarray, step: int, n: int) -> np.ndarray:
        """The index, from 0, of the candidate that each chunk sends: (chunks,) int32. delta: (N,)."""
        target = rotation.rotate(delta.astype(np.float32, copy=False), self._rotation_signs(step))
        # A candidate is z = sqrt(1 + d^2) g, so ln(q / p) = sqrt(1 + d^2) delta . g - d^2 / 2 |g|^2 + what all candidates share.
        variance = self._variance(n)
        linear, quadratic = target * np.float32(math.sqrt(variance)), (1 - variance) / 2
        return np.array([self._choose(linear[a:b], quadratic, step, i) for i, (a, b) in enumerate(self._bounds(n))], np.int32)

    def send(self, delta: np.ndarray, step: int, n: int, nu: int = 0) -> bytes:
        coder = constriction.stream.stack.AnsCoder()
        coder.encode_reverse(self.indices(delta, step, n), self._model(n))
        return coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0")

    def receive(self, message: bytes, step: int, n: int, nu: int = 0) -> np.ndarray:
        bounds = self._bounds(n)
        words = np.frombuffer(message + bytes(-len(message) % 4), "<u4").astype(np.uint32)
        indices = constriction.stream.stack.AnsCoder(words).decode(self._model(n), len(bounds)).tolist()
        values = np.concatenate([self._values(step, i, indices[i], 1, b - a)[0] for i, (a, b) in enumerate(bounds)])
        z = QUANTILES[values] * np.float32(math.sqrt(self._variance(n)))
        return rotation.unrotate_(z, self._rotation_signs(step), self.count)
