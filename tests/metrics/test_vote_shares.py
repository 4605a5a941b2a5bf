import numpy as np
import pytest

from contrastive_learning.metrics import (
    fit_concentrations,
    fit_vote_shares,
    quality_metrics,
    vote_share_intervals,
    vote_share_metrics,
    vote_shares,
)


def column(values):
    return np.asarray(values, dtype=float)[:, None]


def test_vote_shares_are_calibrated_where_there_are_votes_to_tell():
    """Votes drawn from sigmoid(0.5 x logit + 1) are recovered; a handful of votes changes little."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 4000)
    share = 1 / (1 + np.exp(-(0.5 * logits + 1)))
    num_votes = np.full(4000, 3.0)
    yes_votes = rng.binomial(3, share).astype(float)
    probability = 1 / (1 + np.exp(-logits))
    fitted = fit_vote_shares(column(probability), column(yes_votes), column(num_votes))
    assert fitted[0] == pytest.approx([0.5, 1], abs=0.05)
    assert vote_shares(column(probability), fitted)[:, 0] == pytest.approx(share, abs=0.02)
    few = fit_vote_shares(column(probability[:2]), column(yes_votes[:2]), column(num_votes[:2]))
    assert few[0] == pytest.approx([1, 0], abs=0.3)
    unjudged = fit_vote_shares(column(probability), column(0 * yes_votes), column(0 * num_votes))
    assert unjudged.tolist() == [[1, 0]]


def test_the_brier_scores_of_vote_shares_are_those_of_these_probabilities():
    rng = np.random.default_rng(0)
    shares, num_votes = rng.random((50, 2)), np.full((50, 2), 3)
    yes_votes = rng.binomial(num_votes, shares)
    every = quality_metrics(shares, yes_votes, num_votes, ["a", "b"], [0.5, 0.5])
    expected = {f"{name}_of_vote_share": every[name] for name in ("brier", "borderline/brier")}
    assert vote_share_metrics(shares, yes_votes, num_votes) == expected


def test_saturated_probabilities_have_a_share():
    assert vote_shares([[0.0], [1.0]], np.array([[0.1, 0.0]]))[:, 0] == pytest.approx([0.2008, 0.7992], abs=1e-4)


def test_the_interval_covers_nine_in_ten_shares():
    """Shares drawn from Beta(κ p, κ (1 - p)), three votes each: κ is recovered, and 90 % lie within."""
    rng = np.random.default_rng(0)
    expected, concentrations = rng.uniform(0.1, 0.9, (4000, 2)), np.array([1.0, 12.0])
    shares = rng.beta(concentrations * expected, concentrations * (1 - expected))
    num_votes = np.full(shares.shape, 3)
    fitted = fit_concentrations(expected, rng.binomial(num_votes, shares), num_votes)
    assert fitted == pytest.approx(concentrations, rel=0.15)
    low, high = vote_share_intervals(expected, fitted)
    assert ((low <= shares) & (shares <= high)).mean(axis=0) == pytest.approx([0.9, 0.9], abs=0.02)


def test_single_votes_tell_nothing_of_the_spread():
    shares, yes_votes = np.full((500, 1), 0.5), (np.arange(500) % 2)[:, None]
    assert fit_concentrations(shares, yes_votes, np.ones((500, 1))) == pytest.approx([3.0], rel=1e-3)
    unanimous = fit_concentrations(np.ones((500, 1)), np.full((500, 1), 3), np.full((500, 1), 3))
    assert np.isfinite(unanimous).all()


def test_the_interval_holds_the_expected_share_also_where_nearly_all_are_0():
    low, high = vote_share_intervals([[0.0], [0.01], [1.0]], [0.25])
    assert [low[0, 0], high[1, 0], high[2, 0]] == [0, 0.01, 1]
