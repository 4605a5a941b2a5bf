import numpy as np
import pytest

from contrastive_learning.pictures.shown import ShownResponses, main_criterion, vote_shares


def test_the_same_ids_are_picked_whatever_the_order_of_the_file(make_split, criteria):
    ids = [f"r{index}" for index in range(40)]
    first = ShownResponses.of(make_split(ids), criteria, 10)
    other = ShownResponses.of(make_split(ids[::-1]), criteria, 10)
    assert set(first.ids) == set(other.ids)
    assert len(first.ids) == 10
    assert [ids[row] for row in first.rows] == first.ids
    assert ShownResponses.of(make_split(ids), criteria, 500).ids == ids


def test_more_data_only_replaces_what_the_new_ids_push_out(make_split, criteria):
    ids = [f"r{index}" for index in range(40)]
    before = ShownResponses.of(make_split(ids[:30]), criteria, 10)
    after = ShownResponses.of(make_split(ids), criteria, 10)
    assert set(after.ids) - set(before.ids) <= set(ids[30:])


def test_the_main_criterion_has_the_most_even_majorities(make_split, criteria):
    sample = ShownResponses.of(make_split(["a", "b", "c", "d"]), criteria, 4)
    sample.yes_votes[:] = [[3, 3, 0], [3, 3, 0], [3, 1, 0], [3, 0, 0]]
    assert main_criterion(sample.criteria, sample.yes_votes, sample.num_votes) == "safe"


def test_a_share_without_votes_is_not_a_number():
    shares = vote_shares(np.array([1, 0]), np.array([2, 0]))
    assert shares[0] == 0.5
    assert np.isnan(shares[1])


def test_a_sample_needs_three_responses(make_split, criteria):
    with pytest.raises(ValueError, match="pictures.sample_size must be at least 3, got 2"):
        ShownResponses.of(make_split(["a"]), criteria, 2)
