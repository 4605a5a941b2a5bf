"""How far a metric would move if other responses had been drawn."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from contrastive_learning.metrics.rated import FloatArray

RESAMPLES = 200


def bootstrap_intervals(
    metrics: Callable[[NDArray[np.int64]], ArrayLike], num_responses: int, resamples: int = RESAMPLES
) -> FloatArray:
    """95 % intervals of metrics [metrics, 2]: percentiles over bootstrap samples of the responses.

    metrics: gets the rows of a sample [responses], gives the values [metrics], NaN where the sample defines none.
    Returns NaN for a metric that no sample defines.

    >>> votes = np.array([1.0, 0.0, 1.0, 1.0])
    >>> bootstrap_intervals(lambda rows: [votes[rows].mean()], 4)
    array([[0.25, 1.  ]])
    """
    draw = np.random.default_rng(0)
    samples = np.array([metrics(draw.integers(num_responses, size=num_responses)) for _ in range(resamples)])
    intervals = np.full((samples.shape[1], 2), np.nan)
    defined = np.isfinite(samples).any(axis=0)
    intervals[defined] = np.nanpercentile(samples[:, defined], [2.5, 97.5], axis=0).T
    return intervals
