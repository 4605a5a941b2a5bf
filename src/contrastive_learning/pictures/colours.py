"""Vote colours that colour-blind people can tell apart, and their legend: orange = no, blue = yes, grey = no votes.

Borderline responses are pale, with a dark rim.
"""

from typing import NamedTuple

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgba_array
from numpy.typing import NDArray

from contrastive_learning.pictures.shown import FloatArray, IntArray, vote_shares

ANCHORS = ("#b34700", "#f2a65a", "#7db8e8", "#174f8f")  # at shares 0, 1/3, 2/3, 1
NO_VOTES = "#bdbdbd"
SHARES = LinearSegmentedColormap.from_list("votes", ANCHORS)
MAX_NAMED_VOTES = 5  # with more annotators, the legend gives shares instead of numbers of votes


class LegendEntry(NamedTuple):
    label: str
    colour: tuple[float, ...] | str
    borderline: bool


def colours_of(yes_votes: IntArray, num_votes: IntArray) -> FloatArray:
    """The colour of each response from its votes on one criterion [responses]; red, green, blue, alpha [responses, 4].

    >>> colours_of(np.array([3]), np.array([3])).round(2).tolist()
    [[0.09, 0.31, 0.56, 1.0]]
    """
    shares, place = np.unique(np.nan_to_num(vote_shares(yes_votes, num_votes), nan=-1), return_inverse=True)
    colours = [NO_VOTES if share < 0 else SHARES(share) for share in shares.tolist()]
    return to_rgba_array(colours)[place]


def legend(num_votes: IntArray) -> list[LegendEntry]:
    """Entries for `num_votes`, those of everything drawn: `k of n` if everything has n votes, else shares."""
    numbers = sorted(set(num_votes[num_votes > 0].tolist()))
    if len(numbers) == 1 and numbers[0] <= MAX_NAMED_VOTES:
        total = numbers[0]
        named = [(f"{k} of {total}", k, total) for k in range(total + 1)]
    else:
        named = [(f"{share} %", share, 100) for share in (0, 25, 50, 75, 100)]
    entries = [
        LegendEntry(name, SHARES(yes / total), bool(borderline(np.array(yes), np.array(total))))
        for name, yes, total in named
    ]
    if (num_votes == 0).any():
        entries.append(LegendEntry("no votes", NO_VOTES, borderline=False))
    return entries


def borderline(yes_votes: IntArray, num_votes: IntArray) -> NDArray[np.bool_]:
    """Whether at least a third of the votes contradict the others, as 1 of 3 and 2 of 3 do; of the same shape."""
    minority = np.minimum(yes_votes, num_votes - yes_votes)
    split: NDArray[np.bool_] = (num_votes > 0) & (3 * minority >= num_votes)
    return split


def drawing_order(yes_votes: IntArray, num_votes: IntArray) -> IntArray:
    """Indices [responses]: the borderline ones last, on top; among equals the commonest colour first."""
    shares = np.nan_to_num(vote_shares(yes_votes, num_votes), nan=-1)
    _, group, sizes = np.unique(shares, return_inverse=True, return_counts=True)
    order: IntArray = np.lexsort((-sizes[group], borderline(yes_votes, num_votes)))
    return order
