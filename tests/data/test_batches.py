import math

import pytest
import torch

from contrastive_learning.data.batches import Batch

TOKENS = {"input_ids": torch.ones(2, 3, dtype=torch.long), "attention_mask": torch.ones(2, 3, dtype=torch.long)}


def test_labels_are_shares_of_yes():
    """Without num_votes each label is one vote, NaN none; with them, a share of 2/3 of 3 votes is 2 yes."""
    labels = torch.tensor([[1.0, math.nan], [2 / 3, 0.0]])
    one_vote = Batch.of(TOKENS | {"labels": labels})
    torch.testing.assert_close(one_vote.yes_votes, torch.tensor([[1, 0], [2 / 3, 0]]))
    assert one_vote.num_votes.tolist() == [[1, 0], [1, 1]]
    three_votes = Batch.of(TOKENS | {"labels": labels, "num_votes": torch.full((2, 2), 3)})
    torch.testing.assert_close(three_votes.yes_votes, torch.tensor([[3.0, 0.0], [2.0, 0.0]]))
    assert three_votes.index is None


def test_votes_come_as_they_are():
    votes = {"yes_votes": torch.tensor([[1], [3]]), "num_votes": torch.tensor([[3], [3]])}
    batch = Batch.of(TOKENS | votes | {"index": torch.tensor([7, 4])})
    assert (batch.yes_votes.tolist(), batch.num_votes.tolist()) == ([[1], [3]], [[3], [3]])
    assert batch.index is not None
    assert batch.index.tolist() == [7, 4]


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match="must have labels, or yes_votes and num_votes; got input_ids, attention_mask"):
        Batch.of(TOKENS)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.1, got -1 to 0"):
        Batch.of(TOKENS | {"labels": torch.tensor([[-1.0], [0.0]])})
