"""Which trials continue at which rung."""

import math

import pytest

from optuna_sweep.rungs import Rungs

ASHA, PASHA = Rungs(min_resource=1, reduction_factor=3), Rungs(min_resource=1, reduction_factor=3, progressive=True)
NAN = math.nan


def curves(*values):
    """Trials 0, 1, 2, ...: each value in a list is that of the next epoch."""
    return {number: dict(enumerate(each, start=1)) for number, each in enumerate(values)}


def test_rungs_are_powers_of_the_factor_and_a_trial_is_at_one_at_its_first_report_from_there_on():
    rungs = Rungs(min_resource=2, reduction_factor=2)
    assert [rungs.step(rung) for rung in range(4)] == [2, 4, 8, 16]
    steps = [1, 2, 3, 5, 7, 9]  # epoch 4 is not reported, nor 8
    reached = [(rungs.reached(curve), rungs.is_at_rung(curve)) for curve in prefixes(steps)]
    assert reached == [(None, False), (0, True), (0, False), (1, True), (1, False), (2, True)]


def prefixes(steps):
    return [dict.fromkeys(steps[: index + 1], 0.0) for index in range(len(steps))]


@pytest.mark.parametrize(
    ("values", "continuing"),
    [
        ([[0.5]], []),  # one third of one trial is none
        ([[0.5], [0.6], [0.4]], [1]),
        ([[0.5], [0.6], [0.4], [0.9], [0.8]], [3]),
        ([[0.5], [0.6], [0.4], [0.9], [0.8], [0.7]], [3, 4]),
        ([[0.5], [0.5], [0.5]], [0]),  # of equal ones the first
        ([[NAN], [0.1], [0.2], [NAN], [NAN], [NAN]], [1, 2]),
        ([[], [0.6], [0.4], [0.3]], [0, 1]),  # the first has reached no rung yet
    ],
)
def test_a_trial_continues_if_it_is_among_the_best_third_of_its_rung(values, continuing):
    found = curves(*values)
    assert [number for number in found if ASHA.continues(found, number)] == continuing


def test_a_paused_trial_is_promoted_when_others_have_reached_its_rung():
    """Two of six may continue: the one that is beyond the rung already, and the best of those that wait."""
    found = curves([0.5], [0.6, 0.6, 0.6], [0.4])
    assert ASHA.next_promoted(found, [0, 2]) is None
    found |= {3: {1: 0.3}, 4: {1: 0.2}, 5: {1: 0.1}}
    assert ASHA.next_promoted(found, [0, 2, 3, 4, 5]) == 0
    assert ASHA.next_promoted(found, [2, 3, 4, 5]) is None  # 0 runs on
    assert ASHA.next_promoted(found, []) is None


def test_the_highest_rung_is_promoted_first():
    found = curves([0.9], [0.8, 0.8, 0.8], [0.7, 0.7, 0.9], [0.6, 0.6, 0.6], *[[0.1]] * 8)
    assert ASHA.next_promoted(found, [0, 1, 2, 3]) == 2
    assert ASHA.next_promoted(found, [0, 1, 3]) == 0


def test_the_most_promising_of_the_paused_come_first():
    found = curves([0.9], [0.1, 0.1, 0.1], [NAN], [0.95], [0.2, 0.2, 0.3])
    assert ASHA.ranked(found, [0, 1, 2, 3, 4]) == [4, 1, 3, 0, 2]


def test_the_top_rung_stays_low_while_two_rungs_agree():
    agree = curves([0.5, 0.6, 0.7], [0.4, 0.5, 0.6], [0.3, 0.4, 0.5], [0.2])
    assert PASHA.top_rung(agree) == 1
    assert ASHA.top_rung(agree) is None
    assert not PASHA.continues(agree, 0)  # the best of the top rung pauses there
    assert ASHA.continues(agree, 0)


def test_the_top_rung_rises_while_rankings_disagree_and_stops_where_they_agree():
    """0 leads at epoch 1, 1 at epochs 3 and 9: the rungs 0 and 1 disagree, 1 and 2 agree."""
    crossed = curves([0.5, 0.6, 0.6], [0.4, 0.6, 0.9], [0.3, 0.4, 0.5])
    assert PASHA.top_rung(crossed) == 2
    assert PASHA.next_promoted(crossed, [0, 1, 2]) == 1
    long = curves([0.5, 0.6, *[0.6] * 7], [0.4, 0.6, *[0.9] * 7], [0.3, 0.4, *[0.5] * 7])
    assert PASHA.top_rung(long) == 2
    assert PASHA.next_promoted(long, [0, 1, 2]) is None


def test_what_noise_ranks_is_no_disagreement():
    """0 and 1 swap their order and swap back, and are .02 apart at the end: so much says nothing, .03 does."""
    pair = [0.50, 0.52, 0.52], [0.49, 0.53, 0.50]
    within = curves(*pair, [0.30, 0.31, 0.32], [0.31, 0.30, 0.30])
    beyond = curves(*pair, [0.30, 0.33, 0.34], [0.33, 0.32, 0.32])
    assert PASHA._noise(within.values(), 3) == PASHA._noise(beyond.values(), 3) == pytest.approx(0.02)
    assert PASHA.top_rung(within) == 1
    assert PASHA.top_rung(beyond) == 2
    clear = curves([0.50, 0.50, 0.50], [0.40, 0.45, 0.52])
    assert PASHA._noise(clear.values(), 3) == 0  # one swap, never back
    assert PASHA.top_rung(clear) == 2


def test_only_the_percentile_of_the_gaps_counts():
    """Ten pairs that have swapped and swapped back, .01 to .1 apart: the ninth of ten is .09."""
    pairs = [({1: 1.0, 2: 0.0, 3: 1.0 + gap / 100}, {1: 0.0, 2: 1.0, 3: 1.0}) for gap in range(1, 11)]
    far = [
        ({step: value + 10 * index for step, value in curve.items()})
        for index, pair in enumerate(pairs)
        for curve in pair
    ]
    assert PASHA._noise(far, 3) == pytest.approx(0.09)


def test_a_sampler_compares_values_at_the_highest_rung_that_enough_trials_have_reached():
    found = curves([0.5, 0.6, 0.7], [0.4], [0.6, 0.7, 0.65], [])
    assert ASHA.observed(found, 2) == {0: 0.7, 2: 0.65}
    assert ASHA.observed(found, 3) == ASHA.observed(found, 4) == {0: 0.5, 1: 0.4, 2: 0.6}
    assert ASHA.observed(curves([], []), 1) == {}


@pytest.mark.parametrize(("name", "value", "least"), [("min_resource", 0, 1), ("reduction_factor", 1, 2)])
def test_impossible_rungs_are_refused(name, value, least):
    with pytest.raises(ValueError, match=f"{name} must be at least {least}, got {value}"):
        Rungs(**{name: value})
