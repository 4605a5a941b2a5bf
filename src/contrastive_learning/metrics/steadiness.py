"""How steadily a model judges split votes: the same response again, under dropout or after a small edit of its text."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from contrastive_learning.metrics.rated import FloatArray

IntArray = NDArray[np.integer]


class Steadiness(NamedTuple):
    """Over the split votes of all criteria, a vote count of one response on one criterion each."""

    flips: float  # share of decisions that differ from the undisturbed one, 0..1
    sd: float  # of the probability around the undisturbed one


def steadiness(
    undisturbed: ArrayLike, disturbed: ArrayLike, yes_votes: ArrayLike, num_votes: ArrayLike, thresholds: ArrayLike
) -> Steadiness | None:
    """None if nothing that was disturbed has split votes.

    undisturbed, yes_votes, num_votes: [responses, criteria]. disturbed: probabilities [times, responses, criteria],
    NaN where a response was not disturbed. thresholds: [criteria].

    >>> steadiness([[0.6]], [[[0.4]], [[0.7]]], [[2]], [[3]], [0.5])
    Steadiness(flips=0.5, sd=0.15811388300841894)
    """
    before, after = np.asarray(undisturbed), np.asarray(disturbed)
    yes, num = np.asarray(yes_votes), np.asarray(num_votes)
    compared = np.isfinite(after) & (yes > 0) & (yes < num)  # [times, responses, criteria]
    if not compared.any():
        return None
    flipped = (after > thresholds) != (before > thresholds)
    difference = (after - before)[compared]
    return Steadiness(float(flipped[compared].mean()), float(np.sqrt((difference**2).mean())))


def scattered(parts: Sequence[tuple[IntArray, NDArray[np.floating]]], num_responses: int) -> FloatArray:
    """Probabilities of some rows each -> [times, responses, criteria], NaN elsewhere."""
    return np.stack([_of_all(rows, probabilities, num_responses) for rows, probabilities in parts])


def _of_all(rows: IntArray, probabilities: NDArray[np.floating], num_responses: int) -> FloatArray:
    whole = np.full((num_responses, probabilities.shape[1]), np.nan)
    whole[rows] = probabilities
    return whole
