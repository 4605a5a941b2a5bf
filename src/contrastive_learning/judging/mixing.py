"""How much a second judge counts beside the classification head, per criterion."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from contrastive_learning.metrics.rated import FloatArray, Rated, brier_terms, per_criterion, shrunk_choice

WEIGHTS = np.arange(10) / 10  # of the second judge: 0, .1, ..., .9


def mix(linear: ArrayLike, other: ArrayLike, weights: ArrayLike) -> FloatArray:
    """(1 - weight) linear + weight other; probabilities [responses, criteria], weights [criteria].

    >>> mix([[0.2, 0.5]], [[0.4, 0.9]], [0.5, 0.0]).round(3).tolist()
    [[0.3, 0.5]]
    """
    share = np.asarray(weights, dtype=np.float64)
    mixed: FloatArray = (1 - share) * np.asarray(linear, np.float64) + share * np.asarray(other, np.float64)
    return mixed


def choose_weights(linear: ArrayLike, other: ArrayLike, yes_votes: ArrayLike, num_votes: ArrayLike) -> FloatArray:
    """The weight of `other` beside `linear` per criterion [criteria], 0..0.9, for a good Brier score of their mix.

    Each array [responses, criteria], of responses that neither was fitted on. The best of WEIGHTS on a small set is
    partly luck. So, as thresholds are, each is weighted, here by exp(-t), t being how many standard errors its Brier
    score (corrected for the noise of the votes) is above the best one, and the result is the weighted mean. A criterion
    without votes gets 0.

    Raises ValueError for other shapes, probabilities outside 0..1 and yes_votes outside 0..num_votes.

    >>> choose_weights([[0.5], [0.5], [0.5]], [[1.0], [0.0], [1.0]], [[3], [0], [3]], [[3], [3], [3]]).round(2).tolist()
    [0.9]
    """
    columns = zip(per_criterion(linear, yes_votes, num_votes), per_criterion(other, yes_votes, num_votes), strict=True)
    return np.array([_weight(first, second) for first, second in columns], dtype=np.float64)


def _weight(linear: Rated, other: Rated) -> float:
    if not len(linear.probability):
        return 0.0
    mixed = [mix(linear.probability[:, None], other.probability[:, None], [weight])[:, 0] for weight in WEIGHTS]
    terms = np.stack([brier_terms(linear._replace(probability=probability)) for probability in mixed])
    return shrunk_choice(WEIGHTS, -terms.mean(axis=1), _standard_errors(terms))


def _standard_errors(terms: NDArray[np.float64]) -> FloatArray:
    """Of each row's mean less the mean of the best row [rows]; terms: [rows, responses], lower is better."""
    differences = terms - terms[terms.mean(axis=1).argmin()]
    errors: FloatArray = differences.std(axis=1) / np.sqrt(terms.shape[1])
    return errors
