"""Batches of similar length that hold members of every group, as far as the data have them."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from contrastive_learning.samplers.dealing import assemble, deal
from contrastive_learning.samplers.examples import BoolArray, Examples, batch_sizes

PER_GROUP = 2  # an anchor needs a positive: a single member of a group is nobody's pair


class GroupedBatchSampler:
    """Deals out an epoch in windows of `length_window` batches.

    The order is random and each group is spread evenly over it. Within a window the examples are sorted by length and
    cut into batches, so that a batch is padded little; every batch then gets `PER_GROUP` members of every group before
    the rest fills up. The batches of all windows are shuffled. `length_window` 1 leaves the lengths to chance.
    """

    def __init__(
        self, examples: Examples, groups: BoolArray, *, batch_size: int, seed: int, length_window: int
    ) -> None:
        """groups: [examples, groups], who belongs to what; an example may be in several."""
        if length_window < 1:
            raise ValueError(f"sampler.length_window must be at least 1, got {length_window}")
        self.examples, self.groups = examples, groups
        self.batch_size, self.seed, self.length_window = batch_size, seed, length_window
        self.epoch = 0
        self._dealt: tuple[int, list[list[int]]] | None = None  # an epoch and its batches
        self._sizes = batch_sizes(len(examples), batch_size)

    def __len__(self) -> int:
        return len(self._sizes)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        if self._dealt is None or self._dealt[0] != self.epoch:
            rng = np.random.default_rng((self.seed, self.epoch))
            texts = self.examples.texts
            batches = assemble(self.groups, self._sizes, self.length_window, self._by_length, texts, rng)
            self._dealt = self.epoch, batches
        return iter(self._dealt[1])

    def _by_length(self, members: NDArray[np.int64], sizes: list[int]) -> list[list[int]]:
        members = members[np.argsort(self.examples.lengths[members], kind="stable")]
        return [members[batch].tolist() for batch in deal(self.groups[members], sizes, PER_GROUP)]


def random(examples: Examples, *, batch_size: int, seed: int, length_window: int) -> GroupedBatchSampler:
    """No rule but similar lengths."""
    no_groups = np.zeros((len(examples), 0), dtype=bool)
    return GroupedBatchSampler(examples, no_groups, batch_size=batch_size, seed=seed, length_window=length_window)


def balanced(examples: Examples, *, batch_size: int, seed: int, length_window: int) -> GroupedBatchSampler:
    """Two responses of both sides of every criterion in each batch, all criteria jointly."""
    sides = np.concatenate([examples.yes_side, examples.no_side], axis=1)
    return GroupedBatchSampler(examples, sides, batch_size=batch_size, seed=seed, length_window=length_window)


def unanimity(examples: Examples, *, batch_size: int, seed: int, length_window: int) -> GroupedBatchSampler:
    """Two unanimous yes and two split responses of every criterion in each batch.

    These are the positives and the hard negatives of the unanimity loss.
    """
    yes, num = examples.yes_votes, examples.num_votes
    groups = np.concatenate([(yes == num) & (num > 0), (yes > 0) & (yes < num)], axis=1)
    return GroupedBatchSampler(examples, groups, batch_size=batch_size, seed=seed, length_window=length_window)
