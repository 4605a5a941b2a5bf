"""Which examples meet in a batch. Every example is seen once an epoch; the order depends on (seed, epoch) alone."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


class BatchSampler(Protocol):
    """Yields lists of example indices; `set_epoch` before each pass."""

    batch_size: int

    def __iter__(self) -> Iterator[list[int]]: ...

    def __len__(self) -> int: ...

    def set_epoch(self, epoch: int) -> None: ...


class RandomBatchSampler:
    """A fresh permutation each epoch, cut into batches whose sizes differ by at most one (no tiny last batch)."""

    def __init__(self, yes_votes: NDArray[Any], num_votes: NDArray[Any], *, batch_size: int, seed: int) -> None:
        """yes_votes, num_votes: [examples, criteria]; only their length matters here."""
        if batch_size < 2:
            raise ValueError(f"sampler.batch_size must be at least 2 (a pair needs two responses), got {batch_size}")
        self.batch_size = batch_size
        self.seed = seed
        self.num_examples = len(yes_votes)
        self.epoch = 0

    def __len__(self) -> int:
        return -(-self.num_examples // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.num_examples)
        return iter([part.tolist() for part in np.array_split(order, len(self))])

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


class _DealtBatchSampler:
    """Deals the members of rare groups to the batches first, all groups jointly, then fills up at random.

    A response placed for one group counts for all that it is in. Cost: O(examples x groups) an epoch.
    """

    PER_GROUP = 2  # an anchor needs a positive: a single member of a group is nobody's pair

    def __init__(self, groups: NDArray[np.bool_], *, batch_size: int, seed: int) -> None:
        """groups: [examples, groups]."""
        self._random = RandomBatchSampler(groups, groups, batch_size=batch_size, seed=seed)
        self.batch_size = batch_size
        self.groups = groups

    def __len__(self) -> int:
        return len(self._random)

    def set_epoch(self, epoch: int) -> None:
        self._random.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        batches = list(self._random)  # the same sizes, filled anew
        return iter(_deal(np.concatenate(batches), self.groups, [len(batch) for batch in batches], self.PER_GROUP))


class BalancedBatchSampler(_DealtBatchSampler):
    """Two responses of both sides of every criterion in each batch, as far as the data have them.

    Side = majority of the votes; ties are on neither.
    """

    def __init__(self, yes_votes: IntArray, num_votes: IntArray, *, batch_size: int, seed: int) -> None:
        """yes_votes, num_votes: [examples, criteria]."""
        sides = np.concatenate([2 * yes_votes > num_votes, 2 * yes_votes < num_votes], axis=1)
        super().__init__(sides, batch_size=batch_size, seed=seed)


class UnanimityBatchSampler(_DealtBatchSampler):
    """Two unanimous yes and two split responses of every criterion in each batch, as far as the data have them.

    These are the positives and the hard negatives of the unanimity loss.
    """

    def __init__(self, yes_votes: IntArray, num_votes: IntArray, *, batch_size: int, seed: int) -> None:
        """yes_votes, num_votes: [examples, criteria]."""
        unanimous_yes = (yes_votes == num_votes) & (num_votes > 0)
        split = (yes_votes > 0) & (yes_votes < num_votes)
        super().__init__(np.concatenate([unanimous_yes, split], axis=1), batch_size=batch_size, seed=seed)


def _deal(order: IntArray, groups: NDArray[np.bool_], capacities: list[int], per_group: int) -> list[list[int]]:
    batches: list[list[int]] = [[] for _ in capacities]
    have = np.zeros((len(batches), groups.shape[1]), dtype=np.int64)  # [batches, groups]
    free = np.ones(len(groups), dtype=bool)

    def place(example: int, batch: int) -> None:
        batches[batch].append(int(example))
        have[batch] += groups[example]
        free[example] = False

    for wanted in range(1, per_group + 1):
        for group in np.argsort(groups.sum(0), kind="stable"):
            members = iter(order[groups[order, group] & free[order]])
            for batch in np.argsort(have[:, group], kind="stable"):
                if have[batch, group] < wanted and len(batches[batch]) < capacities[batch]:
                    example = next(members, None)
                    if example is None:
                        break
                    place(example, batch)
    rest = iter(order[free[order]])
    for batch, capacity in enumerate(capacities):
        for _ in range(capacity - len(batches[batch])):
            place(next(rest), batch)
    return batches
