"""Batches of similar length that hold members of every group, as far as the data allow."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from contrastive_learning.samplers.dealing import assemble, deal
from contrastive_learning.samplers.examples import BoolArray, Examples, batch_sizes

PER_GROUP = 2  # an anchor needs a positive: a single member of a group is nobody's pair


class GroupedBatchSampler:
    """Deals out an epoch in windows of `length_window` batches.

    The order is random and each group is spread evenly over it. Within a window the examples are sorted by length and
    cut into batches, so that a batch is padded little; every batch then gets `per_group` members of every group before
    the rest fills up. The batches of all windows are shuffled. With `length_window` 1 the lengths are left to chance.

    Example:
        >>> import numpy as np
        >>> from contrastive_learning.samplers import Examples, GroupedBatchSampler
        >>> yes_votes = np.array([[3], [3], [3], [2], [0], [1], [0], [0]])  # of three votes each
        >>> examples = Examples(yes_votes, np.full_like(yes_votes, 3), lengths=np.full(8, 10), texts=np.arange(8))
        >>> is_unanimous = np.isin(yes_votes, (0, 3))  # [examples, groups], here one group
        >>> batches = GroupedBatchSampler(examples, is_unanimous, batch_size=4, seed=0, length_window=1)
        >>> [len(batch) for batch in batches]
        [4, 4]
    """

    def __init__(
        self,
        examples: Examples,
        groups: BoolArray,
        *,
        batch_size: int,
        seed: int,
        length_window: int,
        per_group: int = PER_GROUP,
    ) -> None:
        """groups: [examples, groups], which example belongs to which group; it may be in several."""
        if length_window < 1:
            raise ValueError(f"sampler.length_window must be at least 1, got {length_window}")
        self.examples, self.groups = examples, groups
        self.batch_size, self.seed, self.length_window, self.per_group = batch_size, seed, length_window, per_group
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
        return [members[batch].tolist() for batch in deal(self.groups[members], sizes, self.per_group)]


def random(examples: Examples, *, batch_size: int, seed: int, length_window: int) -> GroupedBatchSampler:
    """Batches of similar lengths, without any other rule.

    Example:
        >>> import numpy as np
        >>> from contrastive_learning.samplers import Examples, random
        >>> yes_votes = np.array([[3], [3], [3], [2], [0], [1], [0], [0]])  # of three votes each
        >>> examples = Examples(yes_votes, np.full_like(yes_votes, 3), lengths=np.full(8, 10), texts=np.arange(8))
        >>> batches = random(examples, batch_size=4, seed=0, length_window=1)
        >>> sorted(row for batch in batches for row in batch)
        [0, 1, 2, 3, 4, 5, 6, 7]
    """
    no_groups = np.zeros((len(examples), 0), dtype=bool)
    return GroupedBatchSampler(examples, no_groups, batch_size=batch_size, seed=seed, length_window=length_window)


def balanced(examples: Examples, *, batch_size: int, seed: int, length_window: int) -> GroupedBatchSampler:
    """At least two responses of each side of every criterion in each batch, as far as the data allow.

    Example:
        >>> import numpy as np
        >>> from contrastive_learning.samplers import Examples, balanced
        >>> yes_votes = np.array([[3], [3], [3], [2], [0], [1], [0], [0]])  # of three votes each
        >>> examples = Examples(yes_votes, np.full_like(yes_votes, 3), lengths=np.full(8, 10), texts=np.arange(8))
        >>> batches = balanced(examples, batch_size=4, seed=0, length_window=1)
        >>> [int((yes_votes[batch] > 1).sum()) for batch in batches]  # responses with a majority of yes
        [2, 2]
    """
    sides = np.concatenate([examples.yes_side, examples.no_side], axis=1)
    return GroupedBatchSampler(examples, sides, batch_size=batch_size, seed=seed, length_window=length_window)


def unanimity(examples: Examples, *, batch_size: int, seed: int, length_window: int) -> GroupedBatchSampler:
    """At least two unanimous yes and two split responses of every criterion in each batch, as far as the data allow.

    These are the positives and the hard negatives of the unanimity loss.

    Example:
        >>> import numpy as np
        >>> from contrastive_learning.samplers import Examples, unanimity
        >>> yes_votes = np.array([[3], [3], [3], [2], [0], [1], [0], [0]])  # of three votes each
        >>> examples = Examples(yes_votes, np.full_like(yes_votes, 3), lengths=np.full(8, 10), texts=np.arange(8))
        >>> batches = unanimity(examples, batch_size=4, seed=0, length_window=1)
        >>> [int((yes_votes[batch] == 3).sum()) > 0 for batch in batches]  # unanimous yes
        [True, True]
    """
    yes, num = examples.yes_votes, examples.num_votes
    groups = np.concatenate([(yes == num) & (num > 0), (yes > 0) & (yes < num)], axis=1)
    return GroupedBatchSampler(examples, groups, batch_size=batch_size, seed=seed, length_window=length_window)


def domains(examples: Examples, *, batch_size: int, seed: int, length_window: int) -> GroupedBatchSampler:
    """At least one response of every domain on the rarer side of each criterion per batch, as far as the data allow.

    Then an anchor of that side has positives in other domains, which `loss.contrastive.domains=across` needs. Raises
    ValueError if the domains are not known.

    Example:
        >>> import numpy as np
        >>> from contrastive_learning.samplers import Examples, domains
        >>> yes_votes = np.array([[3], [3], [0], [3], [3], [3], [0], [0], [3], [3]])  # of three votes each
        >>> topic = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 0])
        >>> examples = Examples(yes_votes, np.full_like(yes_votes, 3), np.full(10, 10), np.arange(10), topic)
        >>> batches = domains(examples, batch_size=10, seed=0, length_window=1)
        >>> [len(batch) for batch in batches]
        [10]
    """
    if examples.domains is None:
        raise ValueError("sampler=domains needs the domain of each response, got none")
    numbers = np.unique(examples.domains, return_inverse=True)[1]
    in_domain = numbers[:, None] == np.arange(numbers.max() + 1)  # [examples, domains]
    yes, no = examples.yes_side, examples.no_side
    rarer = np.where(yes.sum(0) <= no.sum(0), yes, no)  # [examples, criteria]
    groups = (rarer[:, :, None] & in_domain[:, None]).reshape(len(examples), -1)
    return GroupedBatchSampler(
        examples, groups, batch_size=batch_size, seed=seed, length_window=length_window, per_group=1
    )
