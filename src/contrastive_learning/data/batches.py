"""What training and evaluation read of a batch that a loader yields."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Some tokenised responses with their votes, of one device."""

    input_ids: Tensor  # [batch, tokens], padded on the right
    attention_mask: Tensor  # [batch, tokens]; may be on the CPU while all else is on a GPU
    yes_votes: Tensor  # [batch, criteria], float
    num_votes: Tensor  # [batch, criteria], float, 0 = not judged
    index: Tensor | None  # [batch], row of each response in its split; None if the loader does not tell
    domains: Tensor | None = None  # [batch], whole numbers, equal for equal domains; None if the loader does not tell

    @classmethod
    def of(cls, batch: Mapping[str, Tensor]) -> Self:
        """Check what a loader yielded. Raises ValueError if votes or labels are missing, or labels not in 0..1."""
        known = batch.get("index"), batch.get("domains")
        return cls(batch["input_ids"], batch["attention_mask"], *votes_of(batch), *known)

    def on(self, device: torch.device) -> Self:
        """The same on `device`, but for the mask: who asks what it says should not have to wait for a GPU."""
        moved = {
            name: column.to(device, non_blocking=device.type == "cuda")
            for name, column in vars(self).items()
            if column is not None and name != "attention_mask"
        }
        return replace(self, **moved)


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
