"""Which examples meet in a batch. Each sampler sees every example once an epoch, in an order set by (seed, epoch)."""

from contrastive_learning.samplers.examples import BatchSampler, Examples
from contrastive_learning.samplers.grouped import GroupedBatchSampler, balanced, random, unanimity
from contrastive_learning.samplers.hard_negative import HardNegativeBatchSampler

__all__ = [
    "BatchSampler",
    "Examples",
    "GroupedBatchSampler",
    "HardNegativeBatchSampler",
    "balanced",
    "random",
    "unanimity",
]
