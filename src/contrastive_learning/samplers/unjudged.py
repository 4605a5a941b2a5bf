"""Adds responses that nobody judged to the batches of any sampler."""

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from contrastive_learning.samplers.examples import BatchSampler, Examples

WINDOW = 16  # batches whose unjudged responses are dealt out by length, so that little is padded


class WithUnjudgedBatchSampler:
    """The batches of `judged`, each followed by `share` unjudged responses per judged one.

    An epoch is still one pass over the judged responses. The unjudged ones are drawn without replacement, pass after
    pass, each pass in a random order of its own: an epoch continues where the one before has ended, so that all of them
    have their turn, whether an epoch takes a part of them or all of them several times. No batch holds one text twice.

    Example:
        >>> import numpy as np
        >>> from contrastive_learning.samplers import Examples, WithUnjudgedBatchSampler, random
        >>> votes = np.array([[3], [0], [2], [1], [0], [0], [0], [0]])  # the last four are unjudged
        >>> def first(number):
        ...     return Examples(votes[:number], np.sign(votes[:number]), np.full(number, 9), np.arange(number))
        >>> judged = random(first(4), batch_size=2, seed=0, length_window=1)
        >>> batches = list(WithUnjudgedBatchSampler(judged, first(8), share=1.0, seed=0))
        >>> [[index >= 4 for index in batch] for batch in batches]
        [[False, False, True, True], [False, False, True, True]]
    """

    def __init__(self, judged: BatchSampler, examples: Examples, *, share: float, seed: int) -> None:
        """examples: those of `judged`, then the unjudged ones."""
        self.judged, self.examples, self.share, self.seed = judged, examples, share, seed
        self.batch_size = judged.batch_size
        self.epoch = 0
        self._pool = np.arange(len(judged.examples), len(examples))

    def __len__(self) -> int:
        return len(self.judged)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self.judged.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        batches = list(self.judged)
        counts = [self.num_added(len(batch)) for batch in batches]
        drawn = self._drawn(self.epoch * sum(counts), sum(counts))
        for first in range(0, len(batches), WINDOW):
            window = slice(first, first + WINDOW)
            some, drawn = np.split(drawn, [sum(counts[window])])
            yield from self._dealt(batches[window], counts[window], some)

    def num_added(self, num_judged: int) -> int:
        """How many unjudged responses come to `num_judged` ones."""
        return min(round(self.share * num_judged), len(self._pool))

    def _drawn(self, start: int, count: int) -> NDArray[np.int64]:
        """The responses at the places start, start + 1, ... of all passes, one after the other."""
        size = len(self._pool)
        passes = range(start // size, -(-(start + count) // size))
        orders = [np.random.default_rng((self.seed, number)).permutation(self._pool) for number in passes]
        return np.concatenate([np.empty(0, np.int64), *orders])[start - size * passes.start :][:count]

    def _dealt(self, batches: list[list[int]], counts: list[int], drawn: NDArray[np.int64]) -> list[list[int]]:
        """`batches`, the longer ones with the longer ones of `drawn`. What fits into no batch is left out."""
        lengths, texts = self.examples.lengths, self.examples.texts
        held = [set(texts[batch].tolist()) for batch in batches]
        added: list[list[int]] = [[] for _ in batches]
        by_length = sorted(range(len(batches)), key=lambda index: int(lengths[batches[index]].max()))

        def put(example: int, place: int) -> None:
            added[place].append(example)
            held[place].add(texts[example])

        def make_room(example: int, places: list[int]) -> bool:
            """Put it into a full batch, one of whose added responses goes to one of `places`, which have room."""
            for place, full in product(places, reversed(by_length)):  # the last ones are full last
                other = next((each for each in reversed(added[full]) if texts[each] not in held[place]), None)
                if other is not None and texts[example] not in held[full]:
                    added[full].remove(other)
                    held[full].remove(texts[other])
                    put(other, place)
                    put(example, full)
                    return True
            return False

        for example in drawn[np.argsort(lengths[drawn], kind="stable")].tolist():
            places = [index for index in by_length if len(added[index]) < counts[index]]
            free = next((index for index in places if texts[example] not in held[index]), None)
            if free is not None:
                put(example, free)
            else:
                make_room(example, places)
        return [batch + more for batch, more in zip(batches, added, strict=True)]


def judged_only(loader: DataLoader[int]) -> DataLoader[int]:
    """A loader over the judged responses: `loader` itself if it adds no others."""
    sampler = getattr(loader, "batch_sampler", None)
    if not isinstance(sampler, WithUnjudgedBatchSampler):
        return loader
    return DataLoader(loader.dataset, batch_sampler=sampler.judged, collate_fn=loader.collate_fn)
