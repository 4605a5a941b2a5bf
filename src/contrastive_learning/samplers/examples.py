"""What the samplers know of the training set, and what the trainer expects of a sampler."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.integer[Any]]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Examples:
    """Votes, lengths and identity of the responses of the training set, one row each."""

    yes_votes: IntArray  # [examples, criteria]
    num_votes: IntArray  # [examples, criteria], 0 = not judged
    lengths: IntArray  # [examples], tokens
    texts: IntArray  # [examples], equal numbers for equal inputs: such responses never share a batch
    domains: IntArray | None = None  # [examples], equal numbers for equal domains; None: not known

    def __len__(self) -> int:
        return len(self.yes_votes)

    @property
    def yes_side(self) -> BoolArray:
        """Majority of yes [examples, criteria]; a tie is on neither side."""
        return 2 * self.yes_votes > self.num_votes

    @property
    def no_side(self) -> BoolArray:
        """Majority of no [examples, criteria]."""
        return 2 * self.yes_votes < self.num_votes


class BatchSampler(Protocol):
    """Yields lists of example indices, one per batch. Call `set_epoch` before each pass."""

    batch_size: int
    examples: Examples

    def __iter__(self) -> Iterator[list[int]]: ...

    def __len__(self) -> int: ...

    def set_epoch(self, epoch: int) -> None: ...


def batch_sizes(num_examples: int, batch_size: int) -> list[int]:
    """The sizes of the batches of an epoch. They differ by at most one, so there is no tiny last batch."""
    if batch_size < 2:
        raise ValueError(f"sampler.batch_size must be at least 2 (a pair needs two responses), got {batch_size}")
    num_batches = -(-num_examples // batch_size)
    return [num_examples // num_batches + (index < num_examples % num_batches) for index in range(num_batches)]
