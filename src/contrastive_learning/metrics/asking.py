"""What votes and an expected vote share together say of a response: whom to ask again, and which labels may be wrong.

The share of yes of all annotators that could be asked has, before any vote, the distribution Beta(κ p, κ (1 - p)): p is
the share that a judge expects, κ how many votes that is worth (see `fit_concentrations`). k of n votes of yes make it
Beta(κ p + k, κ (1 - p) + n - k). No annotator needs a name, n may differ from cell to cell, and be 0.
All arrays are [responses, criteria] or broadcast to it; concentrations are [criteria].
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betainc

from contrastive_learning.metrics.rated import FloatArray
from contrastive_learning.metrics.vote_shares import prior_votes


def posterior_shares(
    shares: ArrayLike, concentrations: ArrayLike, yes_votes: ArrayLike, num_votes: ArrayLike
) -> FloatArray:
    """The mean share of yes given the votes.

    >>> posterior_shares([[0.5]], [2.0], [[3]], [[3]]).tolist()
    [[0.8]]
    """
    yes, no = _posterior(shares, concentrations, yes_votes, num_votes)
    mean: FloatArray = yes / (yes + no)
    return mean


def values_of_a_vote(
    shares: ArrayLike, concentrations: ArrayLike, yes_votes: ArrayLike, num_votes: ArrayLike
) -> FloatArray:
    """By how much one more vote lowers, on average, the chance to err about the side of 1/2 on which the share lies.

    Where one vote cannot change that judgement it is 0; a millionth of the vote's variance q (1 - q) orders those, q
    being the mean share. On public data this finds the votes that flip a majority better than the drop of the share's
    variance, q (1 - q) / (κ + n + 1)^2, does: that prefers criteria with a small κ, also where all annotators agree.

    >>> values_of_a_vote([[0.5], [0.9], [0.9]], [2.0], [[1], [0], [2]], [[2], [0], [2]]).round(3).tolist()
    [[0.188], [0.0], [0.0]]
    """
    yes, no = _posterior(shares, concentrations, yes_votes, num_votes)
    mean = yes / (yes + no)
    after = mean * _chance_to_err(yes + 1, no) + (1 - mean) * _chance_to_err(yes, no + 1)
    value: FloatArray = np.maximum(_chance_to_err(yes, no) - after, 0) + 1e-6 * mean * (1 - mean)
    return value


def _chance_to_err(yes: FloatArray, no: FloatArray) -> FloatArray:
    below = betainc(yes, no, 0.5)
    smaller: FloatArray = np.minimum(below, 1 - below)
    return smaller


def chances_of_error(
    shares: ArrayLike, concentrations: ArrayLike, yes_votes: ArrayLike, num_votes: ArrayLike
) -> FloatArray:
    """How likely the share lies on the other side of 1/2 than the majority of votes; NaN without a majority.

    >>> chances_of_error([[0.01]], [6.0], [[2], [0]], [[3], [3]]).round(2).tolist()
    [[0.94], [0.0]]
    """
    yes, no = _posterior(shares, concentrations, yes_votes, num_votes)
    lead = 2 * np.asarray(yes_votes) - np.asarray(num_votes)
    below = betainc(yes, no, 0.5)  # the chance that the share is below 1/2
    chance: FloatArray = np.select([lead > 0, lead < 0], [below, 1 - below], np.nan)
    return chance


def _posterior(
    shares: ArrayLike, concentrations: ArrayLike, yes_votes: ArrayLike, num_votes: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    yes, no = prior_votes(shares, concentrations)
    said_yes, said = np.asarray(yes_votes, np.float64), np.asarray(num_votes, np.float64)
    return yes + said_yes, no + said - said_yes
