"""The encoder's plan, which decides where the next step goes and how many bits it has.

It works on few numbers: the level reached, and what steps from there would cost. The decoder reads the steps from the file, so
nothing here is part of the format.
"""

import math
from collections.abc import Callable

from ddpmcodec import spacing
from ddpmcodec.channel import codeword
from ddpmcodec.format import container
from ddpmcodec.format.header import Header
from ddpmcodec.format.shape import Shape
from ddpmcodec.format.steptable import Step
from ddpmcodec.models.process import nats_of_bits, snr_of_sigma
from ddpmcodec.residual import Residual
from ddpmcodec.target import Aim, Lossless, Target, VisitedLevels

DEFAULT_EVALUATIONS = 30
MAX_EVALUATIONS = 1 << 14  # as many as a file has steps
DEFAULT_EFFORT = 5
NU_OF_EFFORT = {1: 8, 2: 10, 3: 12, 4: 14, 5: 16}
AIMED_BEYOND = 1 / 3  # of the excess allowed, that the last step to an aim goes for: as much as predictions err
LAST_STEP_GAIN = 2.0  # of the excess allowed, that the last step to an aim may gain
AIM_SHARE = 0.6  # of the gain still wanted that a step may make, where that is more: predictions err by up to 60 %
SCORE_SHARE = 0.35  # of the score still wanted that a step may make
UNMEASURED_GAIN = 3.0  # dB that a typical picture may gain between two measurements of a score, which rises unevenly
SHORTEST_STEP_BITS = 128  # where there is a choice: shorter steps are merged (measured on 64 x 64 pictures)
LAST_STEP_BITS = 48  # the shortest step that fills up a budget: shorter ones are not worth their entry in the table
STARTING_BITS = 5  # measured for blocks of 16 to 1000 bits: eta n / (n + 5) of the ideal
TABLE_BYTES = 2  # estimate of a step's entry in the table
STEP_COST_BITS = 8 * TABLE_BYTES + STARTING_BITS + 4  # what one more step costs in all, padding included


def kl_bits(energy: float, count: int) -> float:
    """Return KL(q || p) in bits of a step with |delta|^2 = `energy` over `count` elements: N/2 log2(1 + d^2), d^2 = energy / N.

    p has the variance of q times 1 + d^2 (docs/format.md, "Why this sends a sample of q").
    """
    return count / 2 * math.log2(1 + energy / count)


def path_bits(kl: float, nu: int) -> float:
    """Return the number of path bits that carry `kl` ideal bits: as in long blocks, and those that a block needs to fill its windows."""
    return kl / codeword.ETA[nu] + STARTING_BITS


def ideal_bits(n: float, nu: int) -> float:
    """Return the ideal bits that n path bits carry: the inverse of `path_bits`."""
    return max(0.0, codeword.ETA[nu] * (n - STARTING_BITS))


def energy_of(kl: float, count: int) -> float:
    """Return the energy |delta|^2 over `count` elements that costs `kl` bits: the inverse of `kl_bits`."""
    return count * math.expm1(nats_of_bits(2 * kl) / count)


class _Approach:
    """Predicts where an aim is reached, and learns from what is measured on the way.

    Args:
        typical: errors of a typical picture, whose gain in dB the measure's is proportional to, as far as a step sees.
    """

    def __init__(self, aim: Aim, typical: spacing.Typical):
        self.aim = aim
        self.typical = typical
        self.ratio = aim.per_db[1]  # the measure's gain in the last step, over the dB that a typical picture gains
        self.last: tuple[float, float] | None = None  # ln snr and value where it was measured last

    def __call__(self, log_snr: float, last: float, measure: Callable[[], float]) -> tuple[float, float] | None:
        """Return the ln snr at which the aim will be reached, and that to which the next step may lead; None where it is reached.

        Args:
            log_snr: ln snr where the chain stands.
            last: ln snr at which the chain ends at the latest.
            measure: returns the value there.
        """
        value = measure()
        if value >= self.aim.value:
            return None
        self._learn(log_snr, value)
        wanted = self.aim.value + AIMED_BEYOND * self.aim.excess - value
        share = wanted if wanted <= LAST_STEP_GAIN * self.aim.excess else (SCORE_SHARE if self.aim.is_score else AIM_SHARE) * wanted
        if self.aim.is_score:
            share = min(share, self.ratio * UNMEASURED_GAIN)
        return self._log_snr_of_gain(log_snr, last, wanted), self._log_snr_of_gain(log_snr, last, share)

    def _learn(self, log_snr: float, value: float) -> None:
        """Compare the gain since the last measurement with the dB that a typical picture gains."""
        if self.last is not None and log_snr > self.last[0]:
            least, _, most = self.aim.per_db
            typical = float(spacing.gain(self.typical, self.last[0], log_snr))
            if self.aim.is_score:  # whose gain in a short step says little
                least, most = max(least, self.ratio / 2), min(most, 2 * self.ratio)
            self.ratio = min(max((value - self.last[1]) / typical, least), most)
        self.last = log_snr, value

    def _log_snr_of_gain(self, log_snr: float, last: float, gain: float) -> float:
        """Return the ln snr, up to `last`, at which a gain is to be expected."""
        low, high = log_snr, last
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self.ratio * spacing.gain(self.typical, log_snr, middle) < gain else (low, middle)
        return high


class Plan:
    """The steps of one encode, made one at a time.

    Args:
        nu: memory of the code, in bits.
        evaluations: network evaluations that decoding the whole file takes, the last picture's included.
        target: where to end.
        budget: bytes that the file may have beside alpha and metadata; None where there is no limit.
        shape: of the noise; None where it is white.

    A target with an end may take more than `evaluations`, where steps would be longer than `spacing.MAX_STEP`. A step that would need
    more bits than a step can have ends early. With such a target the network is then evaluated once more instead of using x0hat again,
    which makes files of noise a tenth as long.

    Attributes:
        steps: those planned so far.
    """

    def __init__(
        self,
        header: Header,
        nu: int,
        evaluations: int,
        target: Target,
        budget: int | None = None,
        shape: Shape | None = None,
    ):
        self.header = header
        self.nu = nu
        self.budget = budget
        self.shape = shape
        self.typical = spacing.typical_of(shape)
        self.evaluations = evaluations
        visited = target.visited if isinstance(target, VisitedLevels | Lossless) else None
        self.visited = iter(visited) if visited is not None else None
        self.has_end = target.has_end
        self.last_level = header.levels.nearest(snr_of_sigma(target.sigma))
        self.approach = None if target.aim is None else _Approach(target.aim, self.typical)
        self.ends: tuple[int, int] | None = None  # levels, by the last measurement: where the aim is reached, and to which steps may lead
        self.steps: list[Step] = []
        self.remainder = 0.0  # path bits that rounding has taken away so far, which the next step gets
        self.destination: int | None = None  # level that a step which had to be split leads to

    @property
    def keeps_x0hat(self) -> bool:
        """Whether the next step goes on towards the last one's destination, with the x0hat that it had."""
        return self.destination is not None

    def next_step(self, level: int, residual: Residual, measure: Callable[[], float]) -> Step | None:
        """Return the step from `level`, where x0hat leaves a residual; None at the end.

        Args:
            measure: returns what the target aims at, of the picture that x0hat is as 8 bits.
        """
        evaluate = not self.keeps_x0hat
        destination = self.destination if self.destination is not None else self._destination(level, residual, measure)
        if destination is None or (step := self._step(level, residual, destination, evaluate)) is None:
            return None
        self.destination = destination if step.level != destination and not self.has_end else None
        self.steps.append(step)
        return step

    def _bits_left(self) -> float:
        """Return about how many path bits one more step could have."""
        if self.budget is None:
            return math.inf
        return 8 * (self.budget - container.serialized_size(self.header, tuple(self.steps), self.shape) - TABLE_BYTES)

    def _destination(self, level: int, residual: Residual, measure: Callable[[], float]) -> int | None:
        """Return the level to go to, were there no limit to a step's bits; None at the end."""
        levels = self.header.levels
        if self.visited is not None:
            # A step that had to end early may have left some of them behind.
            return next((following for following in self.visited if levels.distance(level, following) > 0), None)
        steps_left = self.evaluations - 1 - sum(step.evaluate for step in self.steps)
        if self.has_end:
            steps_left = max(1, steps_left)
        if steps_left <= 0 or self._bits_left() < LAST_STEP_BITS or self.header.levels.distance(level, self.last_level) <= 0:
            return None
        snr = levels.snr(level)
        end = limit = self.last_level
        if self.approach is not None:
            if self.ends is None or not self.approach.aim.is_score or levels.distance(level, self.ends[1]) <= 0:
                ends = self.approach(math.log(snr), math.log(levels.snr(self.last_level)), measure)
                if ends is None:
                    return None
                self.ends = levels.nearest(math.exp(ends[0])), levels.nearest(math.exp(ends[1]))
            end, limit = self.ends
        if self.has_end:
            limit = self._towards(level, levels.nearest(snr * math.exp(spacing.MAX_STEP)), limit)
        if steps_left == 1:
            return limit
        elements = self.header.elements
        nats = nats_of_bits(ideal_bits(self._bits_left() - steps_left * STEP_COST_BITS, self.nu))
        end_log_snr = math.log(levels.snr(end))
        log_step = spacing.next_step(self.typical, math.log(snr), residual.rate(), steps_left, nats / elements, end_log_snr)
        worthwhile = residual.snr_of(energy_of(SHORTEST_STEP_BITS, self.header.dimensions))
        return self._towards(level, levels.nearest(max(snr * math.exp(log_step), worthwhile)), limit)

    def _towards(self, origin: int, level: int, limit: int) -> int:
        """Return `level`, or the nearest to it that is at least one below `origin` in noise and not beyond `limit`."""
        levels = self.header.levels
        return levels.descend(origin, max(1, min(levels.distance(origin, level), levels.distance(origin, limit))))

    def _step(self, level: int, residual: Residual, destination: int, evaluate: bool) -> Step | None:
        """Return the step to the destination, or as far as the bits of a step or of the budget go; None where that is nowhere."""
        levels, dimensions = self.header.levels, self.header.dimensions
        kl = kl_bits(residual.energy(destination), dimensions)
        if self.visited is not None and kl < STARTING_BITS:
            # Sending nothing costs the steps that follow less than this one's beginning would.
            return Step(destination, 0, self.nu, evaluate)
        wanted = max(1, round(path_bits(kl, self.nu) + self.remainder))
        bits_left = max(0, self._bits_left())
        n = codeword.legal_bits(int(min(wanted, dimensions // 2, bits_left)))
        while n:
            reached = destination
            if shortened := n < codeword.legal_bits(wanted):
                if n < LAST_STEP_BITS:
                    return None
                snr_s = residual.snr_of(energy_of(ideal_bits(n, self.nu), dimensions))
                reached = self._towards(level, levels.nearest(snr_s), destination)
                if bits_left < dimensions // 2 and levels.snr(reached) > 1.1 * snr_s:
                    return None  # neighbouring levels lie further apart than the budget goes
            step = Step(reached, n, self.nu, evaluate)
            excess = 0 if self.budget is None else container.serialized_size(self.header, (*self.steps, step), self.shape) - self.budget
            if excess <= 0:
                self.remainder = 0.0 if shortened else wanted - n
                return step
            n = codeword.legal_bits(max(0, n - 8 * excess))
        return None
