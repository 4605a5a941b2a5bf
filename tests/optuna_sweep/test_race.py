"""Which configurations run no further seeds."""

import numpy as np
import pytest

from optuna_sweep.race import cannot_win

SEEDS = range(5)


def raced(quality, random, direction="maximize"):
    """Runs the configurations one after the other. Returns who has run all seeds, all values, and how many ran."""
    sign = 1 if direction == "maximize" else -1
    table = quality[:, None] + 0.01 * random.normal(size=len(SEEDS)) + 0.02 * random.normal(size=(len(quality), 5))
    values = [dict(enumerate(row)) for row in (sign * table).tolist()]
    complete, runs = [], 0
    for number, own in enumerate(values):
        for seed in SEEDS:
            runs += 1
            if seed == SEEDS[-1]:
                complete.append(number)
            elif cannot_win(
                {key: own[key] for key in range(seed + 1)}, [values[each] for each in complete], SEEDS, direction
            ):
                break
    return complete, table.mean(axis=1), runs


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_best_stays_and_a_third_of_the_runs_is_saved(direction):
    random = np.random.default_rng(0)
    runs, kept = [], []
    for _ in range(60):
        complete, means, number = raced(0.04 * random.normal(size=20), random, direction)
        runs.append(number)
        kept.append(means.argmax() in complete)
    assert np.mean(kept) > 0.95
    assert np.mean(runs) < 0.7 * 20 * 5


def test_equals_are_hardly_ever_dropped():
    random = np.random.default_rng(1)
    dropped = [20 - len(raced(np.zeros(20), random)[0]) for _ in range(60)]
    assert np.mean(dropped) < 0.05 * 20


def test_a_few_rivals_tell_too_little_of_the_noise():
    rivals = [{seed: 0.8 + 0.01 * (seed % 2) for seed in SEEDS}, dict.fromkeys(SEEDS, 0.81)]
    assert not cannot_win({0: 0.0}, rivals, SEEDS, "maximize")
    assert cannot_win({0: 0.0}, [*rivals, rivals[0]], SEEDS, "maximize")
