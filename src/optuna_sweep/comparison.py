"""How two configurations compare that ran with the same seeds."""

from collections.abc import Mapping
from typing import NamedTuple

RESAMPLES = 10_000
FEW_SEEDS, ENOUGH_SEEDS = 4, 6  # by chance, n differences have the same sign once in 2^(n-1) times


class Comparison(NamedTuple):
    """Paired over seeds, positive = better; the interval is a percentile bootstrap of the mean difference, 95 %."""

    mean_gain: float
    low: float
    high: float
    num_seeds: int

    @property
    def word(self) -> str:
        """A gain, a loss, or that neither is shown; fewer than FEW_SEEDS decide nothing."""
        if self.num_seeds < FEW_SEEDS:
            return "not decided"
        hint = "a hint of " if self.num_seeds < ENOUGH_SEEDS else ""
        return f"{hint}a gain" if self.low > 0 else f"{hint}a loss" if self.high < 0 else "no gain shown"

    def __str__(self) -> str:
        if self.num_seeds < FEW_SEEDS:
            return f"{self.mean_gain:+.4f} over {self.num_seeds} paired seeds, and {FEW_SEEDS} are the least"
        return f"{self.mean_gain:+.4f} [{self.low:+.4f}, {self.high:+.4f}] over {self.num_seeds} paired seeds"


def compare(values: Mapping[int, float], baseline: Mapping[int, float], direction: str) -> Comparison | None:
    """Compares two configurations by their objective values per seed; None with fewer than two seeds in common.

    >>> compare({1: 0.75, 2: 1.0}, {1: 0.5, 2: 0.5}, "maximize").mean_gain
    0.375
    """
    import numpy as np  # here: Hydra's scan for plugins, which every start pays for, executes this module

    sign = 1 if direction == "maximize" else -1
    seeds = sorted(values.keys() & baseline.keys())
    if len(seeds) < 2:
        return None
    gains = np.array([sign * (values[seed] - baseline[seed]) for seed in seeds])
    drawn = np.random.default_rng(0).choice(gains, size=(RESAMPLES, len(gains)))
    low, high = np.quantile(drawn.mean(axis=1), [0.025, 0.975])
    return Comparison(float(gains.mean()), float(low), float(high), len(gains))
