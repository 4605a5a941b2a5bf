"""The interval of a difference over paired seeds."""

import numpy as np
import pytest
from scipy import stats

from optuna_sweep.comparison import ENOUGH_SEEDS, FEW_SEEDS, Comparison, compare, noise_width, seed_noise, settled


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


def test_what_would_be_decided_is_what_the_same_seeds_again_decide():
    values, baseline = {1: 0.5, 2: 0.1, 3: 0.9, 4: 0.3}, dict.fromkeys(range(1, 5), 0.0)
    gain = compare(values, baseline, "maximize")
    assert not gain.is_decided
    assert [gain.would_be_decided(number) for number in (4, 5, 12)] == [False, True, True]
    needed = float(stats.t.ppf(0.975, 3)) - gain.mean_gain / (np.std([*values.values()], ddof=1) / 2)
    assert [gain.would_be_decided(4, better) for better in (needed - 1e-6, needed + 1e-6)] == [False, True]


def test_noise_is_what_seeds_set_apart_and_not_what_configurations_do():
    groups = np.random.default_rng(2).normal(0, 0.02, size=(200, 5)) + np.arange(200)[:, None]
    assert seed_noise(groups.tolist()) == pytest.approx(0.02, rel=0.05)
    assert noise_width(groups.tolist()) == pytest.approx(0.08, rel=0.05)


def test_without_several_seeds_noise_has_a_fixed_width():
    assert seed_noise([[0.5], [], [0.75]]) is None
    assert noise_width([[0.5], [], [-0.75]]) == 0.02
    assert noise_width([[300.0], [200.0]]) == 6
    assert noise_width([[0.5, 0.5]]) == 0.02
    assert noise_width([]) == 0.02
