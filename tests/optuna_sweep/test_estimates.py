"""Estimates of configurations from all trials of a search together."""

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import create_trial

from optuna_sweep.estimates import estimates

SPACE = {"x": FloatDistribution(0.01, 1.0, log=True), "y": FloatDistribution(-1.0, 1.0)}


def trials_of(points, values, seed_values=None, space=SPACE):
    made = []
    for number, (point, value) in enumerate(zip(points, values, strict=True)):
        attributes = {} if seed_values is None else {"seed_values": [[run] for run in seed_values[number]]}
        trial = create_trial(
            params=dict(zip(space, point, strict=True)), distributions=space, value=value, user_attrs=attributes
        )
        trial.number = number
        made.append(trial)
    return made


def study(random, *, num_trials=20, reach=0.03, sd=0.02, seeds=3):
    """True values of random points, which fall off from a best place, and trials that saw them with noise."""
    unit, best = random.random((num_trials, 2)), random.random(2)
    truth = 0.8 - reach * ((unit - best) ** 2).sum(axis=1)
    runs = truth[:, None] + sd * random.normal(size=(num_trials, seeds))
    points = [(0.01 * 100**x, 2 * y - 1) for x, y in unit.tolist()]
    return truth, trials_of(points, runs.mean(axis=1).tolist(), runs.tolist() if seeds > 1 else None)


def test_the_best_estimate_is_nearer_to_the_best_than_the_luckiest_trial_and_its_chance_is_honest():
    random = np.random.default_rng(0)
    lost, said, right = [], [], []
    for _ in range(40):
        truth, trials = study(random)
        found = estimates(trials, SPACE, "maximize")
        chosen = max(found, key=lambda number: found[number].mean)
        luckiest = max(trials, key=lambda trial: trial.value).number
        lost.append((truth.max() - truth[chosen], truth.max() - truth[luckiest]))
        said.append(found[chosen].chance)
        right.append(chosen == truth.argmax())
        assert sum(each.chance for each in found.values()) == pytest.approx(1)
    by_estimate, by_luck = np.mean(lost, axis=0)
    assert by_estimate < 0.85 * by_luck
    assert np.mean(said) == pytest.approx(np.mean(right), abs=0.1)


def test_minimising_is_maximising_with_the_other_sign():
    _, trials = study(np.random.default_rng(2))
    turned = trials_of(
        [tuple(trial.params.values()) for trial in trials],
        [-trial.value for trial in trials],
        [[-value for (value,) in trial.user_attrs["seed_values"]] for trial in trials],
    )
    up, down = estimates(trials, SPACE, "maximize"), estimates(turned, SPACE, "minimize")
    assert [each.mean for each in down.values()] == pytest.approx([-each.mean for each in up.values()])
    assert [each.chance for each in down.values()] == pytest.approx([each.chance for each in up.values()], abs=0.02)


def test_configurations_that_ran_with_many_quiet_seeds_keep_their_values():
    points = [(0.01 * 100**x, 0.0) for x in np.linspace(0, 1, 7).tolist()]
    values = np.sin(np.arange(7.0)).tolist()
    trials = trials_of(points, values, [[value - 1e-6, value + 1e-6] for value in values])
    found = estimates(trials, SPACE, "maximize")
    assert [each.mean for each in found.values()] == pytest.approx(values, abs=1e-3)
    assert found[2].chance == 1.0


def test_choices_that_do_not_differ_are_drawn_together():
    space = {"loss": CategoricalDistribution(["a", "b"])}
    points = [("a",), ("a",), ("a",), ("b",), ("b",), ("b",)]
    values = [0.80, 0.82, 0.84, 0.81, 0.83, 0.85]
    runs = [[value - 0.05, value + 0.05] for value in values]
    found = estimates(trials_of(points, values, runs, space), space, "maximize")
    assert abs(found[0].mean - found[3].mean) < 0.01
    assert found[0].mean == pytest.approx(found[1].mean)


@pytest.mark.parametrize("values", [[0.1, 0.2, 0.3, 0.4], [0.5] * 8, [0.1, 0.2, 0.3, float("inf"), 0.4, 0.5]])
def test_without_a_difference_or_enough_trials_there_are_none(values):
    points = [(0.1 + index / 100, 0.0) for index in range(len(values))]
    assert estimates(trials_of(points, values), SPACE, "maximize") == {}
