"""What training and evaluation read of a batch."""

from collections.abc import Mapping

import torch
from torch import Tensor


def votes_of(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(yes_votes, num_votes), each [batch, criteria] float, from our own keys or from `labels` in 0..1.

    `labels` are the share of yes votes; without `num_votes` each label counts as one vote, NaN as not judged.
    """
    if "yes_votes" in batch:
        return batch["yes_votes"].float(), batch["num_votes"].float()
    if "labels" not in batch:
        raise ValueError(f"a batch must have labels, or yes_votes and num_votes; got {', '.join(batch)}")
    labels = batch["labels"].float()
    judged = torch.isfinite(labels)
    if bool(((labels < 0) | (labels > 1)).any()):
        raise ValueError(f"labels must lie in 0..1, got {labels.min().item():g} to {labels.max().item():g}")
    num_votes = batch["num_votes"].float() if "num_votes" in batch else torch.ones_like(labels)
    num_votes = torch.where(judged, num_votes.expand_as(labels), 0.0)
    return torch.where(judged, labels * num_votes, 0.0), num_votes
