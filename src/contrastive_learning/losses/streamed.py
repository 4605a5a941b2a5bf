"""Softmax denominators of all criteria in one pass over tiles of the similarity matrix.

    Z_c(i) = sum_{k != i} exp(s_ik) (everyone + sum_v weights[i,c,v] levels[k,c,v]),   s_ik = z_i . z_k / temperature

or, for losses in which an anchor has several denominators, weights[i,c,t,v] for each of them, Z_ct(i), and the mean
sum_t terms[i,c,t] log Z_ct(i) of their logarithms.
The pair weight is a product of something of the anchor and something of the key, so all criteria are columns of one
product E = exp(S) V, computed tile by tile; backward computes the tiles again, as in flash attention (Dao et al. 2022).
Time O(batch^2 dim), memory O(batch dim) and one tile. E and its gradient are plain sums over tiles, so they could also
be divided among processes and summed.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from contrastive_learning.losses.fused_trial import fused_sums
from contrastive_learning.losses.pullbacks import Pullback
from contrastive_learning.losses.tiles import BLOCK_SIZE, BLOCK_SIZE_ON_GPU, PairSums, TorchSums

# Unit vectors have |s| <= 1 / temperature. Up to this bound exp(s), its sum over millions of keys and 1 / Z all fit in
# the type, so no maximum has to be subtracted: the tiles need not be visited twice or in order.
LARGEST_PLAIN_EXPONENT = {torch.float32: 64.0, torch.float64: 600.0}


@dataclass(frozen=True)
class Denominator:
    """Which keys stand in the denominator of an anchor, and with which weight."""

    everyone: bool  # every other response once, whatever its votes
    levels: Tensor | None = None  # [batch, criteria, levels], membership of the response as a key
    weights: Tensor | None = (
        None  # [batch, criteria, levels], weight that the response as an anchor gives to each level
    )
    groups: Tensor | None = None  # [batch], responses of one group are not in each other's denominator
    terms: Tensor | None = (
        None  # [batch, criteria, terms], how much each of several denominators counts; weights have them in between
    )

    def total_weight(self, batch_size: int) -> Tensor | int:
        """Sum of an anchor's key weights [batch, criteria]: Z_c(i) if all embeddings were orthogonal; of several
        denominators the geometric mean, by `terms`.
        """
        others = batch_size - 1 if self.everyone else 0
        if self.levels is None or self.weights is None:
            return others
        own = self.levels
        if self.groups is not None:
            own = torch.zeros_like(own).index_add(0, self.groups, own).index_select(0, self.groups)
        keys = self.levels.sum(0) - own  # [batch, criteria, levels]
        if self.terms is None:
            return others + (keys * self.weights).sum(-1)
        totals = (keys[:, :, None] * self.weights).sum(-1)  # [batch, criteria, terms]
        mean = torch.xlogy(self.terms, totals.where(self.terms > 0, 1.0)).sum(-1).exp()
        return mean.where(self.terms.any(-1), 0.0)


def block_size_for(z: Tensor) -> int:
    """Rows of a tile that suit the device of z."""
    return BLOCK_SIZE_ON_GPU if z.is_cuda else BLOCK_SIZE


def log_denominators(
    z: Tensor, denominator: Denominator, temperature: float, block_size: int
) -> tuple[Tensor, Pullback]:
    """log Z_c(i) [batch, criteria], or [batch, 1] if the criteria share it; its pullback takes [batch, criteria].

    Finite but without meaning if no key has any weight. z: unit vectors [batch, dim], float32 or float64.
    """
    if 1 / temperature <= LARGEST_PLAIN_EXPONENT[z.dtype]:
        return _from_exp_sums(z, denominator, temperature, block_size)
    return _from_row_blocks(z, denominator, temperature, block_size)


def _from_exp_sums(z: Tensor, denominator: Denominator, temperature: float, block_size: int) -> tuple[Tensor, Pullback]:
    """E = exp(S) V over the pairs that count; log Z is read from its columns.

    With R = d / dE and W_ik = exp(s_ik) (R_i . V_k + R_k . V_i), the gradient of z_i is sum_k W_ik z_k / temperature.
    """
    everyone, weights = denominator.everyone, denominator.weights
    columns = _columns(denominator, z)
    pair_sums = _pair_sums(z, denominator.groups, temperature, block_size, columns.shape[1])
    sums = pair_sums.exp_sums(columns)
    total = sums[:, : int(everyone)]  # [batch, 1], or [batch, 0] if only levels count
    terms = denominator.terms
    if weights is not None:
        by_level = sums[:, int(everyone) :].view(len(z), weights.shape[1], *(() if terms is None else (1,)), -1)
        by_level = (by_level * weights).sum(-1)  # [batch, criteria], or [batch, criteria, terms]
        total = by_level + total if everyone else by_level
    total = total.clamp_min(torch.finfo(z.dtype).tiny)

    def pullback(grad: Tensor) -> Tensor:
        grad = grad / total / temperature if terms is None else grad[:, :, None] * terms / total / temperature
        parts = [grad.sum(1, keepdim=True)] if everyone else []
        if weights is not None:
            by_level = grad[..., None] * weights  # [batch, criteria, levels], or [batch, criteria, terms, levels]
            parts.append((by_level if terms is None else by_level.sum(2)).flatten(1))
        pulls = torch.cat(parts, dim=1)  # [batch, columns], R / temperature
        return pair_sums.gradient(pulls, columns)

    return total.log() if terms is None else (terms * total.log()).sum(-1), pullback


def _pair_sums(z: Tensor, groups: Tensor | None, temperature: float, block_size: int, num_columns: int) -> PairSums:
    fused = fused_sums(z, groups, temperature, num_columns=num_columns)
    return TorchSums(z, groups, temperature, block_size=block_size) if fused is None else fused


def _columns(denominator: Denominator, z: Tensor) -> Tensor:
    """V [batch, columns]: ones for everyone, then the key levels of each criterion."""
    ones = z.new_ones(len(z), int(denominator.everyone))
    return ones if denominator.levels is None else torch.cat((ones, denominator.levels.flatten(1)), dim=1)


def _from_row_blocks(
    z: Tensor, denominator: Denominator, temperature: float, block_size: int
) -> tuple[Tensor, Pullback]:
    """The same value by logsumexp, for temperatures at which exp(s) would leave the range of the type.

    Slower, as each criterion needs its own maximum; autograd sees one block of rows at a time.
    """
    rows_per_block = max(1, block_size * block_size // len(z))
    blocks = [slice(start, start + rows_per_block) for start in range(0, len(z), rows_per_block)]
    logs = torch.cat([_log_rows(z, rows, denominator, temperature) for rows in blocks])

    def pullback(grad: Tensor) -> Tensor:
        grad, leaf = grad.sum_to_size(logs.shape), z.detach().requires_grad_()
        grad_z = torch.zeros_like(z)
        for rows in blocks:
            with torch.enable_grad():
                part = _log_rows(leaf, rows, denominator, temperature)
            grad_z += torch.autograd.grad(part, leaf, grad[rows])[0]
        return grad_z

    return logs, pullback


def _log_rows(z: Tensor, rows: slice, denominator: Denominator, temperature: float) -> Tensor:
    scores = z[rows] @ z.T / temperature  # [rows, batch]
    groups = torch.arange(len(z), device=z.device) if denominator.groups is None else denominator.groups
    scores = scores.masked_fill(groups[rows, None] == groups[None, :], -torch.inf)
    if denominator.levels is None or denominator.weights is None:
        return _logsumexp(scores)[:, None]
    logs = []
    for weights, levels in zip(denominator.weights[rows].unbind(1), denominator.levels.unbind(1), strict=True):
        for of_term in weights[:, None].unbind(1) if denominator.terms is None else weights.unbind(1):
            key_weights = of_term @ levels.T + float(denominator.everyone)  # [rows, batch]
            logs.append(_logsumexp(scores + key_weights.log()))
    stacked = torch.stack(logs, dim=1)  # [rows, criteria], or [rows, criteria * terms]
    if denominator.terms is None:
        return stacked
    terms = denominator.terms[rows]
    return (stacked.view(terms.shape) * terms).sum(-1)


def _logsumexp(scores: Tensor) -> Tensor:
    """logsumexp of each row, but 0 with a zero gradient for a row of -inf, whose gradient torch makes NaN."""
    empty = (scores == -torch.inf).all(1, keepdim=True)
    return scores.masked_fill(empty, 0.0).logsumexp(1).masked_fill(empty[:, 0], 0.0)
