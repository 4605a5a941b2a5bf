"""How often runs that differ only in the seed decide otherwise on responses that divided the annotators."""

import itertools

import numpy as np
import pytest

from contrastive_app.report.between_seeds import Decisions, between_seeds
from contrastive_app.report.evidence import gather

from .conftest import write_recorded
from .test_page import page_of


def test_disagreement_is_the_share_of_pairs_of_runs_that_decide_otherwise():
    random = np.random.default_rng(0)
    yes, is_split = random.integers(0, 2, size=(5, 7, 3)), random.random((7, 3)) < 0.5
    pairs = [one != other for one, other in itertools.combinations(yes, 2)]
    expected = np.where(is_split, np.mean(pairs, axis=0), 0.0)
    assert Decisions(yes, is_split).disagreement() == pytest.approx(expected)


@pytest.fixture
def recorded(sweep):
    """Three seeds with and three without a contrastive term, on 20 responses; the first criterion divided people."""
    sweep.trial(0.07, 0.1, 0.9, 0.9, 0.9)
    sweep.trial(0.07, 0.0, 0.8, 0.8, 0.8)
    for trial, unsteady in ((0, 2), (1, 10)):
        for seed in range(3):
            first = [0.9 if row >= unsteady or seed == 0 else 0.1 for row in range(20)]
            write_recorded(sweep.trials[trial].runs[seed].folder, [[p, 0.1 * seed] for p in first])
    return sweep


def test_both_configurations_are_told_with_an_interval_over_responses(recorded):
    said = between_seeds(gather(recorded.outcome()))
    assert said.startswith(
        "Two of the 3 runs with τ = 0.07, λ = 0.1 that differ only in the seed decide otherwise on 6.7 % of the 20 "
        "split votes of test, with λ = 0 on 33.3 % (difference −26.7 points, 95 % over responses −"
    )
    assert said in page_of(recorded.outcome())


def test_thresholds_are_those_of_each_run(recorded):
    """With a threshold above all probabilities, one run says no throughout."""
    folder = recorded.trials[0].runs[1].folder
    write_recorded(folder, [[0.9, 0.1]] * 20, thresholds=(0.95, 0.5))
    assert "decide otherwise on 66.7 % of the 20" in between_seeds(gather(recorded.outcome()))


def test_nothing_is_said_of_one_seed_or_of_other_responses(sweep, recorded):
    (recorded.trials[0].runs[1].folder / "test.parquet").unlink()
    assert between_seeds(gather(recorded.outcome())) == ""
    write_recorded(recorded.trials[0].runs[1].folder, [[0.9, 0.1]] * 19)
    assert between_seeds(gather(recorded.outcome())) == ""
