"""Votes as shares of yes, and the levels that the strategies tell apart.

A share is NaN if a response was not judged. Every comparison with NaN is false, so an unjudged response belongs to
no level of that criterion without any mask.
"""

import torch
from torch import Tensor

MOST_LEVELS = 21  # distinct shares that are told apart: all those of up to seven annotators, or steps of .05


def yes_shares(yes_votes: Tensor, num_votes: Tensor, dtype: torch.dtype) -> Tensor:
    """Share of yes in each cell [batch, criteria]; NaN if num_votes is 0 or not finite."""
    yes, num = yes_votes.to(dtype), num_votes.to(dtype)
    judged = (num > 0) & (num < torch.inf)
    return torch.where(judged, yes / num, torch.nan)


def majority_levels(shares: Tensor) -> Tensor:
    """Membership in (no, yes) [batch, criteria, 2]; a tie belongs to neither."""
    return torch.stack((shares < 0.5, shares > 0.5), dim=-1).to(shares.dtype)


def unanimity_levels(shares: Tensor) -> Tensor:
    """Membership in (unanimous no, split, unanimous yes) [batch, criteria, 3]; a single vote is unanimous."""
    split = (shares > 0) & (shares < 1)
    return torch.stack((shares == 0, split, shares == 1), dim=-1).to(shares.dtype)


def rater_levels(shares: Tensor) -> Tensor:
    """Chance that one rater of the response says (no, yes) [batch, criteria, 2]; both zero if not judged."""
    return torch.stack((1 - shares, shares), dim=-1).nan_to_num(0.0)


def share_levels(shares: Tensor) -> tuple[Tensor, Tensor]:
    """Membership in each distinct share of yes [batch, criteria, levels], and the shares [levels], 0 and 1 among them.

    More than MOST_LEVELS distinct shares are rounded to so many from 0 to 1. On CUDA this waits for the device, as the
    number of levels must be known.
    """
    ends = shares.new_tensor([0.0, 1.0])
    values = torch.unique(torch.cat((shares[~shares.isnan()], ends)))
    if len(values) > MOST_LEVELS:
        steps = MOST_LEVELS - 1
        shares, values = (shares * steps).round() / steps, torch.arange(MOST_LEVELS).to(shares) / steps
    return (shares[..., None] == values).to(shares.dtype), values


def majority_patterns(shares: Tensor) -> tuple[Tensor, Tensor]:
    """Number of each response's majority pattern over all criteria [batch], and whether it was judged at all [batch].

    No, tie, yes and "not judged" are four different answers: two responses share a pattern if they agree in all of
    them. On CUDA this waits for the device, as the number of patterns must be known.
    """
    judged = ~shares.isnan()
    answers = torch.sign(shares - 0.5).where(judged, 2.0)  # [batch, criteria]: -1 no, 0 tie, 1 yes, 2 not judged
    patterns = torch.unique(answers, dim=0, return_inverse=True)[1]
    return patterns, judged.any(dim=1)
