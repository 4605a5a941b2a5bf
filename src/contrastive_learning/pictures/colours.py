"""Vote colours that colour-blind people can tell apart, and their legend: orange = no, blue = yes, grey = no votes."""

from typing import NamedTuple

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from contrastive_learning.pictures.shown import IntArray, vote_shares

ANCHORS = ("#b34700", "#f2a65a", "#7db8e8", "#174f8f")  # at shares 0, 1/3, 2/3, 1
NO_VOTES = "#bdbdbd"
SHARES = LinearSegmentedColormap.from_list("votes", ANCHORS)
MAX_NAMED_VOTES = 5  # with more annotators, the legend gives shares instead of numbers of votes


class LegendEntry(NamedTuple):
    label: str
    colour: tuple[float, ...] | str


def colours_of(yes_votes: IntArray, num_votes: IntArray) -> list[tuple[float, ...] | str]:
    """The colour of each response from its votes on one criterion [responses]."""
    shares = vote_shares(yes_votes, num_votes)
    return [NO_VOTES if num == 0 else SHARES(float(share)) for share, num in zip(shares, num_votes, strict=True)]


def legend(num_votes: IntArray) -> list[LegendEntry]:
    """Entries for `num_votes`, those of everything drawn: `k of n` if everything has n votes, else shares."""
    numbers = sorted(set(num_votes[num_votes > 0].tolist()))
    if len(numbers) == 1 and numbers[0] <= MAX_NAMED_VOTES:
        entries = [LegendEntry(f"{k} of {numbers[0]}", SHARES(k / numbers[0])) for k in range(numbers[0] + 1)]
    else:
        entries = [LegendEntry(f"{share} %", SHARES(share / 100)) for share in (0, 25, 50, 75, 100)]
    if (num_votes == 0).any():
        entries.append(LegendEntry("no votes", NO_VOTES))
    return entries


def drawing_order(yes_votes: IntArray, num_votes: IntArray) -> IntArray:
    """Indices [responses] with the commonest colour first, so that rare ones are drawn on top."""
    shares = np.nan_to_num(vote_shares(yes_votes, num_votes), nan=-1)
    _, group, sizes = np.unique(shares, return_inverse=True, return_counts=True)
    order: IntArray = np.argsort(-sizes[group], kind="stable")
    return order
