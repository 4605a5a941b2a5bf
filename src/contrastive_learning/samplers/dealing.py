"""How examples are divided into batches: evenly, by group, and never the same text twice in one batch."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from contrastive_learning.samplers.examples import BoolArray, IntArray


def assemble(
    groups: BoolArray,
    sizes: list[int],
    window: int,
    build: Callable[[NDArray[np.int64], list[int]], list[list[int]]],
    texts: IntArray,
    rng: np.random.Generator,
) -> list[list[int]]:
    """The batches of an epoch: `build` makes those of each `window` of batches, then all are shuffled."""
    order = spread(groups, rng)
    batches: list[list[int]] = []
    for first in range(0, len(sizes), window):
        some = sizes[first : first + window]
        members, order = order[: sum(some)], order[sum(some) :]
        batches += build(members, some)
    batches = [batches[index] for index in rng.permutation(len(batches))]
    separate_duplicates(batches, texts, groups)
    return batches


def spread(groups: BoolArray, rng: np.random.Generator) -> NDArray[np.int64]:
    """A random order in which any stretch holds about the same share of each group (systematic sampling).

    groups: [examples, groups]. If an example is in several groups, its rarest one counts.
    """
    by_rarity = np.argsort(groups.sum(0), kind="stable")
    ordered = np.concatenate([groups[:, by_rarity], np.ones((len(groups), 1), dtype=bool)], axis=1)
    stratum = ordered.argmax(1)  # the rarest group, or none
    place = np.empty(len(groups))
    for value in np.unique(stratum):
        members = rng.permutation(np.flatnonzero(stratum == value))
        place[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.argsort(place, kind="stable")


def deal(groups: BoolArray, sizes: list[int], per_group: int) -> list[list[int]]:
    """Cut positions 0, 1, … into batches of the given sizes, near to consecutive slices of them.

    Each batch first gets `per_group` members of every group [positions, groups], the rarest group first, the nearest
    members first; a position counts for all groups that it is in. A scarce group is
    given to as many batches as possible.
    """
    ends = np.cumsum(sizes)
    centres = [int(end) - size // 2 for end, size in zip(ends, sizes, strict=True)]
    batches: list[list[int]] = [[] for _ in sizes]
    have = np.zeros((len(sizes), groups.shape[1]), dtype=np.int64)  # [batches, groups]
    free = np.ones(len(groups), dtype=bool)
    for wanted in range(1, per_group + 1):
        for group in np.argsort(groups.sum(0), kind="stable"):
            lacking = np.count_nonzero(have[:, group] < wanted)
            members = np.flatnonzero(groups[:, group] & free).tolist() if lacking else []
            for batch in np.argsort(have[:, group], kind="stable")[:lacking]:
                if len(batches[batch]) >= sizes[batch] or not members:
                    continue
                position = members.pop(_nearest(members, centres[batch]))
                batches[batch].append(position)
                have[batch] += groups[position]
                free[position] = False
    rest = iter(np.flatnonzero(free).tolist())
    for batch, size in zip(batches, sizes, strict=True):
        batch.extend(next(rest) for _ in range(size - len(batch)))
    return batches


def _nearest(members: list[int], centre: int) -> int:
    right = bisect_left(members, centre)
    if right == len(members) or (right > 0 and centre - members[right - 1] <= members[right] - centre):
        return right - 1
    return right


def separate_duplicates(batches: list[list[int]], texts: IntArray, groups: BoolArray) -> None:
    """Swap repeated texts into other batches, in place, preferably for an example of the same groups.

    A text that occurs more often than there are batches stays repeated in some of them.
    """
    repeated = {text for text, count in Counter(texts.tolist()).items() if count > 1}
    if not repeated:
        return
    held = [Counter(texts[batch].tolist()) for batch in batches]
    for here, batch in enumerate(batches):
        for slot, example in enumerate(batch):
            if texts[example] in repeated and held[here][texts[example]] > 1:
                _swap_away(here, slot, batches, held, texts, groups)


def _swap_away(
    here: int, slot: int, batches: list[list[int]], held: list[Counter[int]], texts: IntArray, groups: BoolArray
) -> None:
    example = batches[here][slot]
    best: tuple[int, int, int] | None = None  # (groups that differ, batch, slot)
    for there, batch in enumerate(batches):
        if held[there][texts[example]]:
            continue
        fits = np.array([not held[here][texts[other]] for other in batch])
        cost = np.where(fits, (groups[batch] != groups[example]).sum(1), groups.shape[1] + 1)
        other = int(cost.argmin())
        if fits[other] and (best is None or cost[other] < best[0]):
            best = (int(cost[other]), there, other)
        if best is not None and best[0] == 0:
            break
    if best is None:
        return
    _, there, other_slot = best
    other = batches[there][other_slot]
    batches[here][slot], batches[there][other_slot] = other, example
    for place, gone, new in ((here, example, other), (there, other, example)):
        held[place][int(texts[gone])] -= 1
        held[place][int(texts[new])] += 1
