"""Who attracts and who repels whom in a batch, as sums over classes instead of a matrix over pairs.

If the weight of a pair depends only on the levels of its two votes, the positives of an anchor enter its loss through
the sum of the embeddings of each level: O(batch levels dim) for what looks like a sum over batch^2 pairs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from contrastive_learning.losses.pullbacks import Pullback
from contrastive_learning.losses.streamed import Denominator
from contrastive_learning.losses.weights import constant

SAME_SHARE = 1e-5  # differences of shares that rounding makes: those of votes differ more, or not at all
Table = Sequence[Sequence[float]]  # [anchor level][key level]


@dataclass(frozen=True)
class Pairs:
    """Which pairs of a batch attract and repel; w_ip is the weight of p as a positive of anchor i in criterion c.

    `attraction(z, a)` is sum_i a_ic sum_{p != i} w_ip z_i . z_p [criteria] for anchor weights a [batch, criteria].
    """

    attraction: Callable[[Tensor, Tensor], tuple[Tensor, Pullback]]
    positive_weight: Tensor  # [batch, criteria], sum_{p != i} w_ip
    own: Tensor  # [batch, criteria], w_ii: what another row with the same votes weighs; in no sum
    denominator: Denominator
    mixed: Tensor  # [criteria], whether the batch holds two different levels
    least: Tensor | None = None  # [batch, criteria], what L_c(i) cannot get below; None: that follows from the formula
    by_votes_only: bool = False  # True: two views are two responses with equal votes and domain, with no other tie


def level_pairs(membership: Tensor, attract: Table, repel: Table, *, everyone: bool) -> Pairs:
    """Pairs weighted by the levels of their votes: w_ik = m_i' A m_k in the numerator of anchor i, and m_i' R m_k
    (+ 1 if `everyone`) in its denominator; m = membership, A = attract, R = repel.

    membership: [batch, criteria, levels], sums to 1, or to 0 if a response has no part in a criterion.
    """
    wanted = _by_table(membership, attract)  # [batch, criteria, levels]
    own = (membership * wanted).sum(-1)  # [batch, criteria], weight of the pair of a response with itself
    return Pairs(
        attraction=partial(_level_attraction, membership=membership, wanted=wanted, own=own),
        positive_weight=(wanted * membership.sum(0)).sum(-1) - own,
        own=own,
        denominator=_level_denominator(membership, repel, everyone=everyone),
        mixed=membership.amax(0).sum(-1) > 1,  # rows sum to 1 or 0: true if any two differ
    )


def pairs_across(sides: Tensor, domains: Tensor, *, positives_repel: bool) -> Pairs:
    """Positives have the same side and another domain. The denominator holds the other side of all domains and, if
    `positives_repel`, the positives.

    sides: membership in (no, yes) [batch, criteria, 2]; domains: [batch]. The levels are the sides of each domain. On
    CUDA this waits for the device, as the number of domains in the batch must be known.
    """
    distinct, numbers = torch.unique(domains, return_inverse=True)
    own_domain = F.one_hot(numbers, len(distinct)).to(sides.dtype)[:, None, None]  # [batch, 1, 1, domains]
    cells = (sides[..., None] * own_domain).flatten(2)  # [batch, criteria, 2 * domains]
    positives = (sides[..., None] * (1 - own_domain)).flatten(2)
    others = sides.flip(-1).repeat_interleave(own_domain.shape[-1], dim=2)  # the other side, in each domain
    none = torch.zeros_like(sides[..., 0])
    return Pairs(
        attraction=partial(_level_attraction, membership=cells, wanted=positives, own=none),
        positive_weight=(positives * cells.sum(0)).sum(-1),
        own=none,
        denominator=Denominator(
            everyone=False, levels=cells, weights=others + positives if positives_repel else others
        ),
        mixed=sides.amax(0).sum(-1) > 1,
        by_votes_only=True,
    )


def graded_pairs(membership: Tensor, values: Tensor) -> Pairs:
    """Pairs ranked by how far apart their shares are: L_c(i) is the mean over keys j of log Z_cj(i) - s_ij, where
    Z_cj(i) sums over the keys k that are at least as far from i as j is. Keys of one level have one Z.

    membership: [batch, criteria, levels], the share of each response; values: [levels], the shares.
    """
    num_levels = len(values)
    everyone_judged = level_pairs(membership, [[1.0] * num_levels] * num_levels, [[0.0] * num_levels], everyone=False)
    distance = (values[:, None] - values).abs()  # [anchor level, key level]
    gaps = distance[:, None, :] - distance[:, :, None]  # [anchor level, level of j, level of k]
    as_far, equally_far = (each.to(membership.dtype) for each in (gaps > -SAME_SHARE, gaps.abs() < SAME_SHARE))
    keys = membership.sum(0) - membership  # [batch, criteria, levels]
    counts = keys * membership.sum(-1, keepdim=True)  # of anchors that were judged
    terms = counts / counts.sum(-1, keepdim=True).clamp_min(1)
    at_one_distance = torch.einsum("bca,avu,bcu->bcv", membership, equally_far, keys)
    return replace(
        everyone_judged,
        denominator=Denominator(
            everyone=False,
            levels=membership,
            weights=torch.einsum("bca,avu->bcvu", membership, as_far),
            terms=terms,
        ),
        least=torch.xlogy(terms, at_one_distance.clamp_min(1)).sum(-1),
        by_votes_only=True,
    )


def pattern_pairs(patterns: Tensor, judged: Tensor, dtype: torch.dtype, *, everyone: bool) -> Pairs:
    """One criterion: equal patterns are positives, different ones negatives. patterns, judged: [batch].

    There can be as many patterns as responses, so they are numbers to gather by instead of columns of a membership.
    """
    part = judged.to(dtype)[:, None]  # [batch, 1]
    counts = torch.zeros_like(part).index_add(0, patterns, part)
    negatives = Denominator(everyone=False, levels=part[:, None], weights=part[:, None], groups=patterns)
    return Pairs(
        attraction=partial(_pattern_attraction, patterns=patterns, part=part),
        positive_weight=(counts.index_select(0, patterns) - 1) * part,
        own=part,
        denominator=Denominator(everyone=True) if everyone else negatives,
        mixed=(counts > 0).sum(0) > 1,
    )


def _level_attraction(
    z: Tensor, anchor_weights: Tensor, *, membership: Tensor, wanted: Tensor, own: Tensor
) -> tuple[Tensor, Pullback]:
    """sum_v S_v . Q_v - sum_i own_i z_i . z_i: S_v sums the keys of level v, Q_v the anchors attracted by it; the `own`
    term removes the pairs of a response with itself.

    d/dz_i = sum_v anchor_iv S_v + key_iv Q_v - 2 own_i z_i
    """
    anchors = anchor_weights[:, :, None] * wanted  # [batch, criteria, levels]
    own = own * anchor_weights  # [batch, criteria]
    sums = torch.cat((membership, anchors), dim=2).flatten(1).T @ z  # [criteria * 2 * levels, dim]
    sums = sums.view(wanted.shape[1], 2, wanted.shape[2], z.shape[1])
    key_sums, anchor_sums = sums.unbind(1)
    value = (key_sums * anchor_sums).sum((1, 2)) - (own * z.square().sum(1, keepdim=True)).sum(0)

    def pullback(grad: Tensor) -> Tensor:
        pulls = (sums * grad[:, None, None, None]).view(-1, z.shape[1])  # [criteria * 2 * levels, dim]
        grad_z = torch.cat((anchors, membership), dim=2).flatten(1) @ pulls  # [batch, dim]
        return grad_z.addcmul_(z, (own * grad).sum(1, keepdim=True), value=-2)

    return value, pullback


def _pattern_attraction(
    z: Tensor, anchor_weights: Tensor, *, patterns: Tensor, part: Tensor
) -> tuple[Tensor, Pullback]:
    """The same sum for one criterion whose levels are the patterns: gathered by number, not by a membership."""
    anchors = z * (anchor_weights * part)  # [batch, dim]
    key_sums, anchor_sums = (
        torch.zeros_like(z).index_add(0, patterns, summands).index_select(0, patterns)
        for summands in (z * part, anchors)
    )

    def pullback(grad: Tensor) -> Tensor:
        return grad * (anchor_weights * key_sums + part * anchor_sums - 2 * anchors)

    return (anchors * (key_sums - z)).sum()[None], pullback


def _level_denominator(membership: Tensor, repel: Table, *, everyone: bool) -> Denominator:
    used = [level for level, weights in enumerate(zip(*repel, strict=True)) if any(weights)]
    if not used:
        return Denominator(everyone=everyone)
    levels = torch.stack([membership[:, :, level] for level in used], dim=2)  # a list as index would wait for CUDA
    weights = _by_table(membership, [[row[level] for level in used] for row in repel])
    return Denominator(everyone=everyone, levels=levels, weights=weights)


def _by_table(membership: Tensor, table: Table) -> Tensor:
    """membership . table, without a product if the table is the identity."""
    if all(weight == (row == column) for row, weights in enumerate(table) for column, weight in enumerate(weights)):
        return membership
    return membership @ constant(tuple(map(tuple, table)), membership.dtype, membership.device)
