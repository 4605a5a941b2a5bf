"""The training responses with those that nobody judged, as one data set for a loader."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from contrastive_learning.data.tokenized import TokenizedSplit
from contrastive_learning.samplers.examples import Examples


class WithUnjudged(Dataset[int]):
    """The responses of `judged`, then those of `unjudged`, numbered through. Neither is copied."""

    def __init__(self, judged: TokenizedSplit, unjudged: TokenizedSplit) -> None:
        self.judged, self.unjudged = judged, unjudged

    def __len__(self) -> int:
        return len(self.judged) + len(self.unjudged)

    def __getitem__(self, index: int) -> int:
        return index

    def collate(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The fields of a `Batch`, on the CPU: the judged responses, then the others, each in the given order."""
        first = len(self.judged)
        parts = [
            split.collate(own)
            for split, own in (
                (self.judged, [index for index in indices if index < first]),
                (self.unjudged, [index - first for index in indices if index >= first]),
            )
            if own
        ]
        if len(parts) == 2:
            parts[1]["index"] += first
        elif indices[0] >= first:
            parts[0]["index"] += first
        longest = max(part["input_ids"].shape[1] for part in parts)
        fill = {"input_ids": self.judged.pad_token_id, "attention_mask": 0}
        for part in parts:
            for name, value in fill.items():
                part[name] = F.pad(part[name], (0, longest - part[name].shape[1]), value=value)
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def examples(self) -> Examples:
        """What a batch sampler needs, of all responses."""
        both = self.judged.examples(), self.unjudged.examples()
        return Examples(*(np.concatenate([getattr(part, name) for part in both]) for name in FIELDS))


FIELDS = ("yes_votes", "num_votes", "lengths", "texts", "domains")
