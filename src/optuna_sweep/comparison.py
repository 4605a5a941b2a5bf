"""How two configurations compare that ran with the same seeds."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

CONFIDENCE = 0.95
FEW_SEEDS, ENOUGH_SEEDS = 4, 6  # by chance, n differences have the same sign once in 2^(n-1) times
HOPELESS_SEEDS = 3  # with which a comparison in several looks may be given up, though none is decided
NOISE_WIDTH = 4  # standard deviations over seeds, that the values of equal configurations easily lie apart
LEAST_WIDTH = 0.02  # that counts as noise while no seeds tell: of values up to 1, else this share of them


class Comparison(NamedTuple):
    """Paired over seeds, positive = better; the interval is Student's of the mean difference.

    A bootstrap of so few differences is too narrow: of 1,000 studies without any difference it calls 135 decided at 6
    seeds and 104 at 8, Student's interval 54 and 45.
    """

    mean_gain: float
    low: float
    high: float
    num_seeds: int
    confidence: float = CONFIDENCE  # of the interval

    @property
    def says_something(self) -> bool:
        """Whether there are seeds enough for an interval that one should read."""
        return self.num_seeds >= (FEW_SEEDS if self.confidence <= CONFIDENCE else HOPELESS_SEEDS)

    @property
    def is_decided(self) -> bool:
        """The interval leaves out 0, over at least FEW_SEEDS."""
        return self.num_seeds >= FEW_SEEDS and not self.low <= 0 <= self.high

    @property
    def is_hint(self) -> bool:
        """Decided by so few seeds that they may agree by chance, unless the interval allows for it."""
        return self.is_decided and self.num_seeds < ENOUGH_SEEDS and self.confidence <= CONFIDENCE

    def would_be_decided(self, num_seeds: int, better: float = 0.0) -> bool:
        """Whether the interval would leave out 0 if there were so many seeds, with the same spread, and a mean that is
        `better` standard errors further from 0.
        """
        from scipy.special import stdtrit

        upper = (1 + self.confidence) / 2
        error = (self.high - self.mean_gain) / stdtrit(self.num_seeds - 1, upper)
        margin = stdtrit(num_seeds - 1, upper) * error * (self.num_seeds / num_seeds) ** 0.5
        return bool(abs(self.mean_gain) + better * error > margin)

    @property
    def word(self) -> str:
        """A gain, a loss, or that neither is shown; too few seeds decide nothing."""
        if not self.says_something:
            return "not decided"
        hint = "a hint of " * self.is_hint
        return f"{hint}a gain" if self.low > 0 else f"{hint}a loss" if self.high < 0 else "no gain shown"

    def __str__(self) -> str:
        if not self.says_something:
            return f"{self.mean_gain:+.4f} over {self.num_seeds} paired seeds, and {FEW_SEEDS} are the least"
        return f"{self.mean_gain:+.4f} [{self.low:+.4f}, {self.high:+.4f}] over {self.num_seeds} paired seeds"


def settled(gain: Comparison, without: Comparison | None) -> Comparison | None:
    """Of a comparison and that without the runs in doubt, the one that counts; None if runs in doubt decide the answer.

    They do not if they point the same way and only widen the interval.
    """
    if without is None or without.word == gain.word:
        return None if without is None else gain
    return without if without.is_decided and gain.mean_gain / without.mean_gain >= 1 else None


def compare(
    values: Mapping[int, float], baseline: Mapping[int, float], direction: str, confidence: float = CONFIDENCE
) -> Comparison | None:
    """Compares two configurations by their objective values per seed; None with fewer than two seeds in common.

    >>> compare({1: 0.75, 2: 1.0}, {1: 0.5, 2: 0.5}, "maximize").mean_gain
    0.375
    """
    # here: Hydra's scan for plugins, which every start pays for, executes this module
    import numpy as np
    from scipy.special import stdtrit

    sign = 1 if direction == "maximize" else -1
    seeds = sorted(values.keys() & baseline.keys())
    if len(seeds) < 2:
        return None
    gains = np.array([sign * (values[seed] - baseline[seed]) for seed in seeds])
    mean, margin = gains.mean(), stdtrit(len(gains) - 1, (1 + confidence) / 2) * gains.std(ddof=1) / len(gains) ** 0.5
    return Comparison(float(mean), float(mean - margin), float(mean + margin), len(gains), confidence)


def seed_noise(groups: Iterable[Sequence[float]]) -> float | None:
    """The standard deviation over seeds, pooled over configurations. groups: one value per seed of each.

    None if no configuration ran with several seeds, or none of their values differ.

    >>> seed_noise([[0.25, 0.75], [1.0, 1.5], [9.0]])
    0.3535533905932738
    """
    from statistics import variance  # here, as in `compare`

    several = [group for group in groups if len(group) > 1]
    free = sum(len(group) - 1 for group in several)
    squares = sum((len(group) - 1) * variance(group) for group in several)
    return math.sqrt(squares / free) if squares > 0 else None


def interval_of_mean(
    values: Sequence[float], groups: Iterable[Sequence[float]], confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """Student's interval of the mean of `values`, by the spread over seeds that all `groups` have in common.

    None if none of them tells the spread. Of the best of many it is too high: luck is part of what made it the best.

    >>> low, high = interval_of_mean([0.25, 0.75], [[0.25, 0.75]])  # 0.5 ± 12.706 x 0.3536 / sqrt(2)
    >>> round(low, 4), round(high, 4)
    (-2.6766, 3.6766)
    """
    from scipy.special import stdtrit  # here, as in `compare`

    groups = list(groups)
    noise = seed_noise(groups)
    if noise is None:
        return None
    free = sum(len(group) - 1 for group in groups if len(group) > 1)
    mean, margin = sum(values) / len(values), stdtrit(free, (1 + confidence) / 2) * noise / len(values) ** 0.5
    return float(mean - margin), float(mean + margin)


def noise_width(groups: Iterable[Sequence[float]]) -> float:
    """How far apart configurations easily lie by the seed: no axis should be narrower, or noise fills the picture.

    >>> noise_width([[0.8], [0.9]])
    0.02
    """
    groups = [group for group in groups if group]
    noise = seed_noise(groups)
    if noise is not None:
        return NOISE_WIDTH * noise
    return LEAST_WIDTH * max([1.0, *(abs(sum(group) / len(group)) for group in groups)])
