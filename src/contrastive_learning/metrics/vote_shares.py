"""The expected share of yes votes from a probability: Platt scaling per criterion, fitted on the validation split.

And how far the share of one response lies from what is expected: as the beta distribution with that mean says.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import betaincinv, betaln, expit, logit

from contrastive_learning.metrics.rated import FloatArray, per_criterion

PRIOR_VOTES = 10.0  # pseudo-votes for "the probabilities need no correction"
PRIOR_CONCENTRATION, PRIOR_FACTOR = 3.0, 4.5  # log-normal: two thirds lie within this factor of it
SMALLEST_SHARE = 1e-3  # a beta distribution whose mean is 0 has no width
COVERED = 0.9  # of the responses have a share within the interval


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


def fit_concentrations(shares: ArrayLike, yes_votes: ArrayLike, num_votes: ArrayLike) -> FloatArray:
    """How many votes the expected share is worth, per criterion [criteria].

    Arrays: [responses, criteria]; shares: those expected. The share of a response is taken to be drawn from
    Beta(κ share, κ (1 - share)), so that its votes are beta-binomial; κ maximises their likelihood. Large κ: the
    expected share is as good as the true one; below 2, annotators mostly agree, where the expected share is near 0.5,
    too. Only responses with several votes tell; a log-normal prior keeps κ finite.
    """
    columns = per_criterion(shares, yes_votes, num_votes)
    return np.array([_concentration(column.probability, column.yes_votes, column.num_votes) for column in columns])


def vote_share_intervals(shares: ArrayLike, concentrations: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Ends [responses, criteria] of the intervals that hold COVERED of the responses' shares, tails of equal size.

    Where nearly all shares are 0, or 1, the expected one may lie in a tail; the interval then reaches to it.
    shares: [responses, criteria], expected; concentrations: [criteria], see `fit_concentrations`.

    >>> low, high = vote_share_intervals([[0.5]], [2.0])  # uniform
    >>> low.round(2).tolist(), high.round(2).tolist()
    ([[0.05]], [[0.95]])
    """
    yes, no = prior_votes(shares, concentrations)
    tail = (1 - COVERED) / 2
    low, high = betaincinv(yes, no, tail), betaincinv(yes, no, 1 - tail)
    return np.minimum(low, shares), np.maximum(high, shares)


def prior_votes(shares: ArrayLike, concentrations: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """The parameters (κ share, κ (1 - share)) of the beta distributions, each [responses, criteria]."""
    mean = np.asarray(shares, np.float64).clip(SMALLEST_SHARE, 1 - SMALLEST_SHARE)
    strength = np.asarray(concentrations, np.float64)
    return strength * mean, strength * (1 - mean)


def _concentration(share: FloatArray, yes_votes: FloatArray, num_votes: FloatArray) -> float:
    def objective(log_concentration: float) -> float:
        """The negative log likelihood, and the prior's."""
        yes, no = prior_votes(share, np.exp(log_concentration))
        likelihood = (betaln(yes + yes_votes, no + num_votes - yes_votes) - betaln(yes, no)).sum()
        away = (log_concentration - np.log(PRIOR_CONCENTRATION)) / np.log(PRIOR_FACTOR)
        return float(away**2 / 2 - likelihood)

    return float(np.exp(minimize_scalar(objective, bounds=(-5, 8), method="bounded").x))


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
