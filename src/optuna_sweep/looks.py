"""A comparison over seeds that is looked at while its runs come in, and ends as soon as they answer it.

Every look has an interval of the same confidence, chosen so that all of them together are wrong about a comparison
without a difference in 5 % of studies: repeated confidence intervals (Jennison and Turnbull 1989,
https://doi.org/10.1111/j.2517-6161.1989.tb01763.x). They hold at whichever look the runs end, and whatever ends them.
"""

from collections.abc import Mapping, Sequence
from functools import cache

from optuna_sweep.comparison import CONFIDENCE, FEW_SEEDS, HOPELESS_SEEDS, compare

GENEROUS = 0.25  # standard errors by which the mean may be better than it is before the rest is called hopeless
NULL_STUDIES = 100_000  # 5 % of them are known to .07 %


def looks(num_seeds: int) -> tuple[int, ...]:
    """After how many seeds: the fourth, every second one from there, the last.

    >>> looks(12), looks(9), looks(3)
    ((4, 6, 8, 10, 12), (4, 6, 8, 9), (3,))
    """
    return (*range(FEW_SEEDS, num_seeds, 2), num_seeds)


@cache
def confidence_of_each(num_seeds: int) -> float:
    """Of the interval at each look, so that all together are right in 95 % of studies, by simulation of studies.

    >>> round(confidence_of_each(12), 3)
    0.984
    """
    import numpy as np  # here, as in comparison.py
    from scipy.special import stdtr

    after = np.array(looks(num_seeds))
    if len(after) == 1:
        return CONFIDENCE
    gains = np.random.default_rng(0).standard_normal((NULL_STUDIES, num_seeds))
    sums, squares = (np.cumsum(values, axis=1)[:, after - 1] for values in (gains, gains**2))
    spread = np.sqrt((squares - sums**2 / after) / (after - 1))
    certainty = 1 - 2 * stdtr(after - 1, -abs(sums) / (spread * np.sqrt(after)))
    return float(np.quantile(certainty.max(axis=1), CONFIDENCE))


def answer(
    values: Mapping[int, float], baseline: Mapping[int, float], seeds: Sequence[int], direction: str
) -> str | None:
    """Why the runs so far are enough: a look decides, or all seeds would hardly do so. None if they are not.

    values, baseline: the objective by seed; seeds: all that the comparison may have, in the order in which they run.

    >>> answer({1: 0.82, 2: 0.81, 3: 0.83, 4: 0.82}, {1: 0.8, 2: 0.79, 3: 0.81, 4: 0.8}, range(1, 13), "maximize")
    '4 seeds decide it'
    """
    both = values.keys() & baseline.keys()
    num_both = next((index for index, seed in enumerate(seeds) if seed not in both), len(seeds))
    confidence = confidence_of_each(len(seeds))
    for number in range(HOPELESS_SEEDS, num_both + 1):
        first = seeds[:number]
        gain = compare({seed: values[seed] for seed in first}, baseline, direction, confidence)
        assert gain is not None
        if number in looks(len(seeds)) and gain.is_decided:
            return f"{number} seeds decide it"
        if number < len(seeds) and not gain.would_be_decided(len(seeds), GENEROUS):
            return f"{len(seeds)} seeds would hardly decide it, going by the first {number}"
    return None
