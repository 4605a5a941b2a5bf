import math

import numpy as np
import pytest

from contrastive_learning.metrics import steadiness


def test_agrees_with_a_loop_over_the_split_votes():
    rng = np.random.default_rng(0)
    before, after = rng.random((9, 2)), rng.random((4, 9, 2))
    after[1, :5] = np.nan  # not disturbed
    num = rng.integers(0, 4, (9, 2))
    yes = rng.binomial(num, 0.5)
    flips, squares = [], []
    for time, response, criterion in np.ndindex(after.shape):
        p, again = before[response, criterion], after[time, response, criterion]
        if 0 < yes[response, criterion] < num[response, criterion] and not math.isnan(again):
            flips.append((p > 0.4) != (again > 0.4))
            squares.append((p - again) ** 2)
    found = steadiness(before, after, yes, num, [0.4, 0.4])
    assert found.flips == pytest.approx(sum(flips) / len(flips))
    assert found.sd == pytest.approx(math.sqrt(sum(squares) / len(squares)))


@pytest.mark.parametrize(("yes", "after"), [([[3]], [[[0.2]]]), ([[2]], [[[math.nan]]]), ([[0]], [[[0.2]]])])
def test_nothing_is_said_without_split_votes_that_were_disturbed(yes, after):
    assert steadiness([[0.9]], after, yes, [[3]], [0.5]) is None
