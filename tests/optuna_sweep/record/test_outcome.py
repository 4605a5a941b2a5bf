"""What an outcome says of its trials."""

from dataclasses import replace

import pytest

from optuna_sweep.outcome import Confirmation, SeedRun


@pytest.mark.parametrize(
    ("apart", "spread", "is_noise"),
    [(0.019, None, True), (0.021, None, False), (0.021, 0.01, True), (0.1, 0.01, False)],
)
def test_trials_that_differ_less_than_seeds_are_noise(outcome, tmp_path, apart, spread, is_noise):
    """Without several seeds .02 counts as noise; else four standard deviations, here those of the fresh seeds."""
    two = [replace(trial, values=(value,)) for trial, value in zip(outcome.trials, (0.5, 0.5 + apart), strict=False)]
    confirmation = None
    if spread is not None:
        seeds = {seed: SeedRun((0.5 + seed * spread,), tmp_path) for seed in (1, 2)}
        confirmation = Confirmation({2: seeds, None: {}}, 1.0)
    found = replace(outcome, trials=two, confirmation=confirmation)
    assert found.is_noise == is_noise


def test_nothing_is_no_noise(outcome):
    assert not replace(outcome, trials=[]).is_noise


@pytest.mark.parametrize(("key", "is_noise"), [("seed", True), ("y", False)])
def test_trials_that_differ_only_in_the_seed_are_one_configuration(outcome, key, is_noise):
    """x sets .05 apart, and the seed .02: four standard deviations are .0566."""
    points = [(x, other) for x in (0, 1) for other in (0, 1)]
    trials = [
        replace(outcome.trials[0], params={"x": x, key: other}, values=(0.5 + 0.05 * x + 0.02 * other,))
        for x, other in points
    ]
    assert replace(outcome, trials=trials).is_noise == is_noise
