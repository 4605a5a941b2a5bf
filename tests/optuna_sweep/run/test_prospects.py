"""How sure the best is so far, and what a search will still cost."""

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from optuna_sweep.run.prospects import interval_of, seconds_left, seconds_of_run
from optuna_sweep.rungs import Rungs
from support.plans import planned
from support.sweeps import PROMOTION


def trial(state, steps, value=0.0, **attributes):
    distribution = {"x": optuna.distributions.FloatDistribution(0, 1)}
    values = dict.fromkeys(range(1, steps + 1), value)
    reached = value if state == TrialState.COMPLETE else None
    return create_trial(
        state=state,
        params={"x": 0.5},
        distributions=distribution,
        value=reached,
        intermediate_values=values,
        user_attrs=attributes,
    )


def numbered(*trials):
    for number, each in enumerate(trials):
        each.number = number
    return list(trials)


def test_the_interval_of_the_best_is_that_over_its_seeds_by_the_spread_of_all_configurations():
    """Two seeds each, .1 and .3 apart: variance (.005 + .045) / 2 = .025; t of 2 degrees of freedom is 4.3027."""
    best = trial(TrialState.COMPLETE, 0, 0.85, seed_values=[[0.8], [0.9]], interval=[0.1, 0.2])
    other = trial(TrialState.COMPLETE, 0, 0.45, seed_values=[[0.3], [0.6]])
    margin = 4.3026527 * (0.025 / 2) ** 0.5
    assert interval_of(best, [best, other]) == pytest.approx((0.85 - margin, 0.85 + margin))


def test_with_one_seed_it_is_what_the_task_says():
    said, silent = trial(TrialState.COMPLETE, 0, 0.5, interval=[0.25, 0.75]), trial(TrialState.COMPLETE, 0, 0.5)
    assert interval_of(said, [said, silent]) == (0.25, 0.75)
    assert interval_of(silent, [said, silent]) is None


@pytest.mark.parametrize(
    ("rungs", "num_trials", "whole", "top", "expected"),
    [
        (Rungs(1, 3), 27, 27, None, (27 + 9 * 2 + 3 * 6 + 18, 1)),
        (Rungs(1, 3), 27, 9, None, (27 + 9 * 2 + 3 * 6, 3)),
        (Rungs(1, 3), 27, 40, None, (27 + 9 * 2 + 3 * 6 + 18 + 13, 1)),
        (Rungs(1, 3), 27, None, None, (27 + 9 * 2 + 3 * 6 + 18, 1)),  # no rule lets a trial go further
        (Rungs(2, 2), 5, None, None, (5 * 2 + 2 * 2 + 4, 1)),
        (Rungs(1, 3), 2, 9, None, (2 + 8, 1)),  # of two a third is none, but one comes to its end
        (Rungs(1, 3), 27, 27, 1, (27 + 9 * 2 + 24, 1)),  # all pause at rung 1, but one
    ],
)
def test_what_a_search_with_promotion_is_to_cost(rungs, num_trials, whole, top, expected):
    assert rungs.expected_steps(num_trials, whole, top) == expected


def test_the_time_left_is_that_of_the_steps_to_come_and_of_further_seeds():
    """Three trials of up to nine epochs: 3 + 2 + 6 steps. 2 s each; two slots."""
    first, second = trial(TrialState.WAITING, 1, 0.5, seconds=2.0), trial(TrialState.RUNNING, 1, 0.4)
    with planned(*PROMOTION, "hydra.sweeper.discard=null", "x=1,2,3", "hydra.sweeper.seeds=[0,1]") as (plan, _):
        assert seconds_left(plan, numbered(second), 2) is None
        assert seconds_left(plan, numbered(first, second), 2) == ((3 + 2 - 2) * 2.0 / 2, True)
        ended = trial(TrialState.COMPLETE, 9, 0.3, seconds=18.0)
        assert seconds_left(plan, numbered(first, second, ended), 2) == (0.0, False)
        longer = trial(TrialState.PRUNED, 9, 0.3, seconds=18.0)
        assert seconds_left(plan, numbered(first, longer), 1) == (0.0, True)
    assert seconds_of_run([ended, first]) == 18
    assert seconds_of_run([trial(TrialState.COMPLETE, 9, seconds=18.0, seed_values=[[1], [2], [3]])]) == 6
    assert seconds_of_run([first]) is None
