"""The expected share of yes votes from a probability: Platt scaling per criterion, fitted on the validation split."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from contrastive_learning.metrics.rated import FloatArray, per_criterion

PRIOR_VOTES = 10.0  # pseudo-votes for "the probabilities need no correction"


def fit_vote_shares(probabilities: ArrayLike, yes_votes: ArrayLike, num_votes: ArrayLike) -> FloatArray:
    """(slope, offset) per criterion [criteria, 2]: the share of yes votes is about sigmoid(slope x logit + offset).

    Arrays: [responses, criteria]. Platt scaling (1999) on all votes. A penalty worth PRIOR_VOTES pulls towards (1, 0):
    few votes change little.
    """
    columns = per_criterion(probabilities, yes_votes, num_votes)
    return np.array([_fit(column.probability, column.yes_votes, column.num_votes) for column in columns])


def vote_shares(probabilities: ArrayLike, fitted: NDArray[np.floating]) -> FloatArray:
    """Expected shares of yes votes [responses, criteria], by what `fit_vote_shares` returned.

    >>> vote_shares([[0.5]], np.array([[2.0, 0.0]])).tolist()
    [[0.5]]
    """
    shares: FloatArray = expit(fitted[:, 0] * _logits(np.asarray(probabilities)) + fitted[:, 1])
    return shares


def _fit(probability: FloatArray, yes_votes: FloatArray, num_votes: FloatArray) -> FloatArray:
    logits = _logits(probability)

    def objective(slope_and_offset: FloatArray) -> tuple[float, FloatArray]:
        """The negative log likelihood with the penalty, and its gradient."""
        values = slope_and_offset[0] * logits + slope_and_offset[1]
        away = slope_and_offset - (1.0, 0.0)
        loss = (num_votes * np.logaddexp(0, values) - yes_votes * values).sum() + PRIOR_VOTES * (away**2).sum() / 2
        error = num_votes * expit(values) - yes_votes
        gradient = np.array([(error * logits).sum(), error.sum()]) + PRIOR_VOTES * away
        return float(loss), gradient

    fitted: FloatArray = minimize(objective, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B").x
    return fitted


def _logits(probability: NDArray[np.floating]) -> FloatArray:
    logits: FloatArray = logit(np.clip(probability.astype(np.float64), 1e-6, 1 - 1e-6))
    return logits
