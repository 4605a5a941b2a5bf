"""Averages of the weights of several runs."""

import pytest
import torch

from contrastive_learning.training.soups import alike, averaged, greedy_soup


def weights(*values, dtype=torch.float64):
    return {"w": torch.tensor(values, dtype=dtype), "count": torch.tensor(3)}


def test_the_average_is_that_of_a_loop_and_keeps_types():
    """Whole numbers, such as positions, are not averaged."""
    members = [weights(1.0, 2.0, dtype=torch.float16), weights(2.0, 5.0, dtype=torch.float16)]
    found = averaged(members)
    assert found["w"].dtype == torch.float16
    assert found["w"].tolist() == [1.5, 3.5]
    assert found["count"] is members[0]["count"]


@pytest.mark.parametrize("maximize", [True, False])
def test_each_candidate_is_taken_in_if_the_score_does_not_fall(maximize):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(12, 3, dtype=torch.float64, generator=generator).tolist()
    candidates = [weights(*each) for each in values]
    target = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)

    def distance(found):
        return (-1 if maximize else 1) * (found["w"] - target).norm().item()

    kept, best = [0], sum((a - b) ** 2 for a, b in zip(values[0], target.tolist(), strict=True)) ** 0.5
    for position in range(1, 12):
        tried = [*kept, position]
        mean = [sum(values[each][column] for each in tried) / len(tried) for column in range(3)]
        found = sum((a - b) ** 2 for a, b in zip(mean, target.tolist(), strict=True)) ** 0.5
        if found <= best:
            kept, best = tried, found
    soup = greedy_soup(candidates, distance, maximize=maximize)
    assert 2 < len(soup.members) < 12
    assert soup.members == tuple(kept)
    assert abs(soup.score) == pytest.approx(best)
    assert soup.best_single == distance(candidates[0])


def test_an_equal_score_takes_in():
    assert greedy_soup([weights(1.0), weights(2.0)], lambda _: 0.5, maximize=True).members == (0, 1)


def test_other_shapes_are_refused():
    assert not alike(weights(1.0), weights(1.0, 2.0))
    with pytest.raises(ValueError, match="must have the same names and shapes"):
        greedy_soup([weights(1.0), weights(1.0, 2.0)], lambda _: 0.0, maximize=True)
