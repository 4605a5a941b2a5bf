"""Samplers decide which responses share a batch. Each sees every one once per epoch, in an order set by (seed, epoch).

In: Examples, the votes, lengths and text numbers of a training set. Out: lists of row numbers, one list per batch, for
`DataLoader(batch_sampler=...)`. It imports only runtime; data, training and the application import it.
"""

from contrastive_learning.samplers.examples import BatchSampler, Examples
from contrastive_learning.samplers.grouped import GroupedBatchSampler, balanced, domains, random, unanimity
from contrastive_learning.samplers.hard_negative import HardNegativeBatchSampler
from contrastive_learning.samplers.unjudged import WithUnjudgedBatchSampler

__all__ = [
    "BatchSampler",
    "Examples",
    "GroupedBatchSampler",
    "HardNegativeBatchSampler",
    "WithUnjudgedBatchSampler",
    "balanced",
    "domains",
    "random",
    "unanimity",
]
