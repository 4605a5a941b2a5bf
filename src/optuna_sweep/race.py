"""Racing: a configuration that can hardly become the best any more runs no further seeds (`hydra.sweeper.race`).

Each is compared with the best complete one on the seeds that it has run, by a one-sided test whose noise is known from
all complete configurations together: what is left of their values once the means of configurations and of seeds are
taken away (a two-way analysis of variance). By Bonferroni's rule over all looks and all rivals, one that is as good as
the best is dropped in at most 5 % of cases.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from optuna_sweep.comparison import CONFIDENCE

FEWEST_DEGREES = 8  # of freedom, for a noise that can be trusted: 3 seeds of 5 configurations, 5 seeds of 3


def fewest_complete(num_seeds: int) -> int:
    """How many configurations must have run all their seeds before one can be dropped.

    >>> fewest_complete(3), fewest_complete(5)
    (5, 3)
    """
    return 1 + math.ceil(FEWEST_DEGREES / (num_seeds - 1))


def cannot_win(
    values: Mapping[int, float], complete: Sequence[Mapping[int, float]], seeds: Sequence[int], direction: str
) -> bool:
    """Whether a configuration may be dropped.

    values: its objective by seed, of the seeds that have run; complete: those of configurations with all seeds.

    >>> rivals = [{1: 0.80 + gap, 2: 0.82 + gap, 3: 0.81} for gap in (0.0, 0.01, 0.02, -0.01, 0.0)]
    >>> cannot_win({1: 0.81}, rivals, (1, 2, 3), "maximize"), cannot_win({1: 0.5}, rivals, (1, 2, 3), "maximize")
    (False, True)
    """
    import numpy as np  # here, as in comparison.py
    from scipy.special import stdtrit

    degrees = (len(complete) - 1) * (len(seeds) - 1)
    if not values or degrees < FEWEST_DEGREES:
        return False
    sign = 1 if direction == "maximize" else -1
    table = sign * np.array([[each[seed] for seed in seeds] for each in complete])  # [configurations, seeds]
    means = table.mean(axis=1, keepdims=True)
    rest = table - means - table.mean(axis=0, keepdims=True) + table.mean()
    best = complete[int(means.argmax())]
    behind = fmean(sign * (best[seed] - value) for seed, value in values.items())
    error = (2 * (rest**2).sum() / degrees / len(values)) ** 0.5
    certainty = 1 - (1 - CONFIDENCE) / ((len(seeds) - 1) * len(complete))
    return bool(behind > stdtrit(degrees, certainty) * error)
