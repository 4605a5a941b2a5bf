"""The share of each batch that one of several processes encodes."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader

from contrastive_learning.runtime.processes import num_processes, rank
from contrastive_learning.samplers.examples import BatchSampler


def sharded(loader: DataLoader[Any]) -> DataLoader[Any]:
    """A loader over the same batches that yields only the rows of this process."""
    return DataLoader(
        loader.dataset,
        batch_sampler=ShardedBatches(loader.batch_sampler, rank(), num_processes()),  # type: ignore[arg-type]
        collate_fn=loader.collate_fn,
        num_workers=loader.num_workers,
        pin_memory=loader.pin_memory,
        worker_init_fn=loader.worker_init_fn,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
    )


class ShardedBatches:
    """Every `num_shards`-th example of each batch, beginning with the `shard`-th (from 0)."""

    def __init__(self, batches: BatchSampler, shard: int, num_shards: int) -> None:
        self.batches, self.shard, self.num_shards = batches, shard, num_shards
        self.batch_size = batches.batch_size
        self._check(self.batch_size)
        self._order: list[list[int]] | None = None
        self._num_done = 0

    def start(self, order: list[list[int]] | None, num_done: int) -> None:
        """Set what a pass yields: the batches of `order`, or of the sampler if None, after the first `num_done`."""
        self._order, self._num_done = order, num_done

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in islice(self._order or self.batches, self._num_done, None):
            self._check(len(batch))
            yield batch[self.shard :: self.num_shards]

    def _check(self, batch_size: int) -> None:
        if batch_size < self.num_shards:
            raise ValueError(f"a batch of {batch_size} is too small for {self.num_shards} processes")
