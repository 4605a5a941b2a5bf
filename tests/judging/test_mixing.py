"""The weight of a second judge beside the classification head."""

import numpy as np
import pytest

from contrastive_learning.judging import choose_weights, mix


def weight_by_loop(linear, other, yes_votes, num_votes):
    """For responses with at least two votes each."""
    scores, terms = [], []
    for step in range(10):
        row = []
        for p, q, yes, total in zip(linear, other, yes_votes, num_votes, strict=True):
            mixed = (1 - step / 10) * p + step / 10 * q
            row.append((mixed - yes / total) ** 2 - yes * (total - yes) / (total**2 * (total - 1)))
        terms.append(row)
        scores.append(sum(row) / len(row))
    best = min(range(10), key=scores.__getitem__)
    total_weight = mean = 0.0
    for step in range(10):
        differences = [a - b for a, b in zip(terms[step], terms[best], strict=True)]
        center = sum(differences) / len(differences)
        deviation = (sum((d - center) ** 2 for d in differences) / len(differences)) ** 0.5
        error = max(deviation / len(differences) ** 0.5, 1e-9)
        weight = np.exp((scores[best] - scores[step]) / error)
        total_weight += weight
        mean += weight * step / 10
    return mean / total_weight


def drawn(num_responses=120, seed=0, noise=(1.0, 1.0)):
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 2, (num_responses, 2))
    num_votes = rng.integers(2, 5, truth.shape)
    yes_votes = rng.binomial(num_votes, 1 / (1 + np.exp(-truth)))
    linear, other = (1 / (1 + np.exp(-truth - rng.normal(0, size, truth.shape))) for size in noise)
    return linear, other, yes_votes, num_votes


def test_the_weight_is_that_of_a_loop():
    arrays = drawn()
    expected = [weight_by_loop(*(array[:, criterion] for array in arrays)) for criterion in range(2)]
    assert choose_weights(*arrays) == pytest.approx(expected, abs=1e-12)
    assert all(0.3 < weight < 0.7 for weight in expected)


def test_the_better_judge_gets_more_weight():
    assert (choose_weights(*drawn(num_responses=2000, noise=(0.2, 4))) < 0.1).all()
    assert (choose_weights(*drawn(num_responses=2000, noise=(4, 0.2))) > 0.8).all()


def test_responses_without_votes_do_not_count():
    linear, other, yes_votes, num_votes = drawn()
    expected = choose_weights(linear, other, yes_votes, num_votes)
    more = [
        np.concatenate([array, extra])
        for array, extra in zip((linear, other), (0.9, 0.1), strict=True)
        for extra in [np.full((30, 2), extra)]
    ]
    votes = [np.concatenate([array, np.zeros((30, 2), int)]) for array in (yes_votes, num_votes)]
    assert choose_weights(*more, *votes) == pytest.approx(expected)
    num_votes[:, 1] = yes_votes[:, 1] = 0
    first, nobody_judged = choose_weights(linear, other, yes_votes, num_votes)
    assert (first, nobody_judged) == (pytest.approx(expected[0]), 0)


def test_judges_that_agree_are_mixed_evenly_which_changes_nothing():
    linear, _, yes_votes, num_votes = drawn()
    assert choose_weights(linear, linear, yes_votes, num_votes) == pytest.approx([0.45, 0.45])
    np.testing.assert_allclose(mix(linear, linear, [0.45, 0.2]), linear)


def test_impossible_probabilities_are_refused():
    linear, other, yes_votes, num_votes = drawn()
    with pytest.raises(ValueError, match="probabilities must lie in 0..1"):
        choose_weights(linear, other + 1, yes_votes, num_votes)
    with pytest.raises(ValueError, match=r"must be \[responses, criteria\]"):
        choose_weights(linear[:5], other, yes_votes, num_votes)
