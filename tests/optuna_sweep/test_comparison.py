"""The interval of a difference over paired seeds."""

import numpy as np
import pytest
from scipy import stats

from optuna_sweep.comparison import ENOUGH_SEEDS, FEW_SEEDS, Comparison, compare, settled


def by_seed(values):
    return dict(enumerate(values))


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_interval_is_that_of_a_paired_t_test(direction):
    values, baseline = np.random.default_rng(1).normal(0.8, 0.02, size=(2, 7))
    found = compare(by_seed(values), by_seed(baseline), direction)
    sign = 1 if direction == "maximize" else -1
    expected = stats.ttest_rel(sign * values, sign * baseline).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.mean_gain == pytest.approx((expected.low + expected.high) / 2)


@pytest.mark.parametrize("num_seeds", [FEW_SEEDS, ENOUGH_SEEDS, 8])
def test_of_a_thousand_studies_without_a_difference_about_fifty_are_called_decided(num_seeds):
    studies = np.random.default_rng(0).normal(size=(1000, 2, num_seeds))
    found = [compare(by_seed(one), by_seed(other), "maximize") for one, other in studies]
    assert 35 <= sum(gain.low > 0 or gain.high < 0 for gain in found) <= 65


def test_equal_differences_are_certain_and_one_seed_is_none():
    assert compare({1: 0.75, 2: 1.0}, {1: 0.5, 2: 0.75}, "maximize")[:3] == (0.25, 0.25, 0.25)
    assert compare({1: 0.75, 2: 1.0}, {2: 0.75}, "maximize") is None


def test_runs_in_doubt_decide_nothing_unless_they_only_add_noise_to_the_same_answer():
    clear, noisy = Comparison(0.05, 0.04, 0.06, 7), Comparison(0.09, -0.02, 0.2, 8)
    assert settled(noisy, clear) == clear
    assert settled(clear, clear._replace(num_seeds=6)) == clear
    assert settled(clear, noisy) is None
    assert settled(Comparison(-0.09, -0.2, 0.02, 8), clear) is None
    assert settled(clear, None) is None


def looked_at_twice(values, baseline):
    """The comparison that `confirm.stop_early` ends with: after four seeds, or after all."""
    first = compare(by_seed(values[:FEW_SEEDS]), by_seed(baseline[:FEW_SEEDS]), "maximize", 0.975)
    if first.is_decided or not first.would_be_decided(len(values)):
        return first
    return compare(by_seed(values), by_seed(baseline), "maximize", 0.975)


def test_two_looks_are_wrong_at_most_once_in_twenty_and_take_half_the_seeds():
    """1,000 studies of ten seeds without a difference, and with one of twice the spread of differences."""
    studies = np.random.default_rng(0).normal(size=(1000, 2, 10))
    null = [looked_at_twice(one, other) for one, other in studies]
    assert sum(gain.is_decided for gain in null) <= 50
    assert np.mean([gain.num_seeds for gain in null]) < 5.5
    clear = [looked_at_twice(one + 2 * 2**0.5, other) for one, other in studies]
    assert sum(gain.low > 0 for gain in clear) > 950
    assert np.mean([gain.num_seeds for gain in clear]) < 7.5


def test_what_would_be_decided_is_what_the_same_seeds_again_decide():
    values, baseline = {1: 0.5, 2: 0.1, 3: 0.9, 4: 0.3}, dict.fromkeys(range(1, 5), 0.0)
    gain = compare(values, baseline, "maximize")
    assert not gain.is_decided
    assert [gain.would_be_decided(number) for number in (4, 5, 12)] == [False, True, True]
