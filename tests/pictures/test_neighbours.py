"""Places on the map, and the nearest responses, for viewers of embeddings."""

import numpy as np
import pytest

from contrastive_learning.pictures import neighbourhood
from contrastive_learning.pictures.layout import lay_out_spaces
from contrastive_learning.pictures.neighbours import nearest
from contrastive_learning.projections import own_slices


def by_a_loop(rows, index, count):
    norms = np.linalg.norm(rows, axis=1)
    apart = [
        (1 - rows[index] @ row / norms[index] / norm, other)
        for other, (row, norm) in enumerate(zip(rows, norms, strict=True))
    ]
    return sorted(pair for pair in apart if pair[1] != index)[:count]


@pytest.mark.parametrize("size", [1, 2, 9, 1500])  # 1500: more than are compared at once
def test_the_nearest_are_those_of_a_plain_loop(size):
    rows = np.random.default_rng(0).normal(size=(size, 3))
    found, distances = nearest(rows, 4)
    assert found.shape == distances.shape == (size, min(4, size - 1))
    for index in range(0, size, 300):
        expected = by_a_loop(rows, index, 4)
        assert found[index].tolist() == [other for _, other in expected]
        assert distances[index] == pytest.approx([distance for distance, _ in expected], abs=1e-12)


def test_a_criterion_of_its_own_slice_is_looked_at_there(make_split, evaluate):
    split = make_split([f"r{number}" for number in range(20)])
    found = evaluate(split, 0, projection="per_criterion")
    points, neighbours, _ = neighbourhood(found, 1)
    own = found.embeddings[:, own_slices(16, 3)[1]]
    assert neighbours.tolist() == nearest(own, 10)[0].tolist()
    layouts = lay_out_spaces(found.embeddings, found.yes_votes, found.num_votes, shared=False, projection="pca")
    assert points.tolist() == layouts.points[:, 1].tolist()


def test_in_a_shared_space_all_criteria_have_the_same(make_split, evaluate):
    found = evaluate(make_split([f"r{number}" for number in range(20)]), 0)
    first, second = (neighbourhood(found, criterion) for criterion in (0, 2))
    assert first.points.tolist() == second.points.tolist()
    assert first.neighbours.tolist() == second.neighbours.tolist() == nearest(found.embeddings, 10)[0].tolist()


def test_of_very_many_responses_only_the_places_are_given(make_split, evaluate, monkeypatch):
    monkeypatch.setattr("contrastive_learning.pictures.neighbours.MOST_ROWS", 19)
    found = neighbourhood(evaluate(make_split([f"r{number}" for number in range(20)]), 0), 0)
    assert (found.neighbours, found.distances) == (None, None)
    assert found.points.shape == (20, 2)
