"""Batches built around pairs that the current model embeds close together although their votes differ."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrastive_learning.samplers.dealing import assemble
from contrastive_learning.samplers.examples import Examples, batch_sizes
from contrastive_learning.samplers.grouped import balanced

PAIRS_PER_CRITERION = 2
FloatArray = NDArray[np.floating[Any]]


class HardNegativeBatchSampler:
    """Each batch gets, for every criterion, two responses of its rarer side with their nearest ones of the other side.

    Near = largest cosine of the embeddings last given to `refresh`, among the free examples of a pool of `pool_batches`
    batches; so an epoch costs O(examples x pool x dim). Before the first `refresh` the batches are those of `balanced`.
    As in ANCE (Xiong et al. 2021, https://arxiv.org/abs/2007.00808), but every example is seen once per epoch.

    Example:
        >>> import numpy as np
        >>> from contrastive_learning.samplers import Examples, HardNegativeBatchSampler
        >>> yes_votes = np.array([[3], [3], [3], [2], [0], [1], [0], [0]])  # of three votes each
        >>> examples = Examples(yes_votes, np.full_like(yes_votes, 3), lengths=np.full(8, 10), texts=np.arange(8))
        >>> batches = HardNegativeBatchSampler(examples, batch_size=4, seed=0, pool_batches=2)
        >>> batches.refresh(np.eye(8)[[0, 1, 2, 3, 0, 1, 2, 3]])  # [examples, dim]; rows 0 and 4 are equal, and so on
        >>> all((row + 4) % 8 in batch for batch in batches for row in batch)
        True
    """

    def __init__(self, examples: Examples, *, batch_size: int, seed: int, pool_batches: int) -> None:
        if pool_batches < 2:
            raise ValueError(f"sampler.pool_batches must be at least 2, got {pool_batches}")
        self.examples = examples
        self.batch_size, self.seed, self.pool_batches = batch_size, seed, pool_batches
        self.epoch = 0
        self._sizes = batch_sizes(len(examples), batch_size)
        self._before = balanced(examples, batch_size=batch_size, seed=seed, length_window=1)
        self._sides = np.concatenate([examples.yes_side, examples.no_side], axis=1)
        self._embeddings: FloatArray | None = None

    def __len__(self) -> int:
        return len(self._sizes)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self._before.set_epoch(epoch)

    def refresh(self, embeddings: FloatArray) -> None:
        """embeddings: [examples, dim], unit norm, in the order of the examples."""
        if len(embeddings) != len(self.examples):
            raise ValueError(f"embeddings must have {len(self.examples)} rows, got {len(embeddings)}")
        self._embeddings = embeddings

    def __iter__(self) -> Iterator[list[int]]:
        if self._embeddings is None:
            return iter(self._before)
        rng = np.random.default_rng((self.seed, self.epoch))
        build = partial(_build, examples=self.examples, embeddings=self._embeddings)
        return iter(assemble(self._sides, self._sizes, self.pool_batches, build, self.examples.texts, rng))


def _build(pool: NDArray[np.int64], sizes: list[int], *, examples: Examples, embeddings: FloatArray) -> list[list[int]]:
    embeddings = embeddings[pool]
    cosines = embeddings @ embeddings.T  # [pool, pool]
    yes, no = examples.yes_side[pool], examples.no_side[pool]
    yes_is_rarer = yes.sum(0) < no.sum(0)
    rarer, other = np.where(yes_is_rarer, yes, no), np.where(yes_is_rarer, no, yes)  # [pool, criteria]
    free = np.ones(len(pool), dtype=bool)
    batches: list[list[int]] = [[] for _ in sizes]
    for _ in range(PAIRS_PER_CRITERION):
        for criterion in np.argsort(rarer.sum(0), kind="stable"):
            for batch, size in zip(batches, sizes, strict=True):
                anchors = np.flatnonzero(free & rarer[:, criterion])
                opposite = free & other[:, criterion]
                if len(batch) + 2 > size or not len(anchors) or not opposite.any():
                    continue
                anchor = anchors[0]  # the pool is in random order
                negative = np.where(opposite, cosines[anchor], -np.inf).argmax()
                free[[anchor, negative]] = False
                batch += [int(anchor), int(negative)]
    rest = iter(np.flatnonzero(free).tolist())
    for batch, size in zip(batches, sizes, strict=True):
        batch.extend(next(rest) for _ in range(size - len(batch)))
    return [pool[batch].tolist() for batch in batches]
