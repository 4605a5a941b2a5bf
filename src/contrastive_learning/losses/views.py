"""Two views of each response: the same tokens, encoded under two dropout masks (SimCSE, Gao et al. 2021).

Rows stand view by view: row i of a batch of n responses is the first view of response i, row n + i the second one.

Gao et al. 2021: https://arxiv.org/abs/2104.08821
"""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from contrastive_learning.losses.pairs import Pairs
from contrastive_learning.losses.pullbacks import Pullback


def other_views(rows: Tensor) -> Tensor:
    """The other view of each row: [2 * responses, ...]."""
    return rows.roll(len(rows) // 2, 0)


def with_own_views(pairs: Pairs) -> Pairs:
    """The same pairs, but the two views of a response attract each other with weight 1 in every criterion.

    A response that is on no side of a criterion, as it was not judged or has a tie, so has its own other view as the
    only positive. Where only negatives repel, the other view is none.
    """
    if pairs.by_votes_only:
        return pairs
    denominator, missing = pairs.denominator, 1 - pairs.own
    if not denominator.everyone and denominator.groups is None:
        num_responses = len(missing) // 2
        denominator = replace(denominator, groups=torch.arange(num_responses, device=missing.device).repeat(2))
    return replace(
        pairs,
        attraction=partial(_attraction, pairs=pairs, missing=missing),
        positive_weight=pairs.positive_weight + missing,
        own=torch.ones_like(missing),
        denominator=denominator,
    )


def _attraction(z: Tensor, anchor_weights: Tensor, *, pairs: Pairs, missing: Tensor) -> tuple[Tensor, Pullback]:
    """That of the pairs, and sum_i a_ic missing_ic z_i . z_i' for what they lack of weight 1."""
    value, pairs_pullback = pairs.attraction(z, anchor_weights)
    weights, others = anchor_weights * missing, other_views(z)
    both_sides = weights + other_views(weights)  # [batch, criteria], of z_i . z_i' seen from i and from i'

    def pullback(grad: Tensor) -> Tensor:
        return pairs_pullback(grad).addcmul(others, (both_sides * grad).sum(1, keepdim=True))

    return value + weights.T @ (z * others).sum(1), pullback
