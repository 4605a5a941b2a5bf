"""A comparison that ends as soon as its seeds answer it."""

import numpy as np
import pytest
from scipy import stats

from optuna_sweep.comparison import CONFIDENCE, compare
from optuna_sweep.looks import answer, confidence_of_each, looks

SEEDS = range(12)


def decisions(gain, num_studies=1000, seeds=SEEDS):
    """For studies with this mean gain, in spreads of it: the share that is decided, and the mean number of seeds."""
    studies = np.random.default_rng(0).normal(gain, 1, size=(num_studies, len(seeds)))
    ended = [ending(dict(enumerate(gains)), seeds) for gains in studies]
    return sum("decide it" in why and "hardly" not in why for _, why in ended), np.mean([number for number, _ in ended])


def ending(gains, seeds):
    """How many seeds run, and why no more."""
    none = dict.fromkeys(gains, 0.0)
    for number in seeds[2:]:
        have = {seed: gains[seed] for seed in seeds[:number]}
        if why := answer(have, none, seeds, "maximize"):
            return number, why
    last = compare(gains, none, "maximize", confidence_of_each(len(seeds)))
    return len(seeds), "all decide it" if last.is_decided else "hardly"


def test_of_a_thousand_studies_without_a_difference_at_most_fifty_are_decided_with_half_the_seeds():
    """Half of the eight that one look had; if there is a difference, most are found, and sooner, too."""
    decided, seeds = decisions(0)
    assert decided <= 50
    assert seeds < 4
    decided, seeds = decisions(2)
    assert decided > 960
    assert seeds < 5.6


@pytest.mark.parametrize("num_seeds", [6, 12])
def test_intervals_of_all_looks_together_leave_out_the_truth_in_five_of_a_hundred_studies(num_seeds):
    """Also if nothing ends the runs, and a person stops at the look that she likes best."""
    studies = np.random.default_rng(7).normal(size=(20_000, num_seeds))
    certain = [1 - stats.ttest_1samp(studies[:, :number], 0, axis=1).pvalue for number in looks(num_seeds)]
    wrong = (np.max(certain, axis=0) > confidence_of_each(num_seeds)).mean()
    assert wrong == pytest.approx(1 - CONFIDENCE, abs=0.005)


def test_one_look_is_the_interval_without_looks():
    assert confidence_of_each(4) == CONFIDENCE


def test_seeds_count_in_their_order_whatever_came_first():
    gains = {0: 2.0, 1: 2.1, 2: 1.9, 4: 2.0, 5: 2.0}  # the fourth seed has not ended yet
    assert answer(gains, dict.fromkeys(SEEDS, 0.0), SEEDS, "maximize") is None
    assert answer(gains | {3: 2.0}, dict.fromkeys(SEEDS, 0.0), SEEDS, "maximize") == "4 seeds decide it"


def test_a_later_look_decides_what_the_first_does_not():
    gains = dict(enumerate([0.5, 0.1, 0.9, 0.3, 0.5, 0.5]))
    none = dict.fromkeys(gains, 0.0)
    assert answer(dict(list(gains.items())[:5]), none, SEEDS, "maximize") is None
    assert answer(gains, none, SEEDS, "maximize") == "6 seeds decide it"
    assert answer(gains, none, SEEDS, "minimize") == "6 seeds decide it"  # a loss is an answer, too
