"""Instance discrimination: which of the other rows of the batch is the other view of this response?

With z the unit embeddings of both views of each response, i' the other view of i and s_ik = z_i . z_k / temperature,

    L = mean over all rows i of  log sum_{k != i} exp(s_ik) - s_ii'      NT-Xent of SimCLR (Chen et al. 2020)

needs no votes: a response that nobody judged teaches as much as any other. Among the responses "of the same side" it is

    L_c = mean over rows i of  log sum_{k != i, same side of c as i} exp(s_ik) - s_ii'       L = mean over criteria c

the class-conditional InfoNCE of Chen et al. 2022: it keeps the members of a side apart, which a supervised contrastive
loss would let collapse into a point, and repels nobody across sides. Rows that have no side in c, or whose side has no
other response in the batch, are in neither sum nor mean of c.

Chen et al. 2020: https://arxiv.org/abs/2002.05709; two dropout masks as views: https://arxiv.org/abs/2104.08821
Chen et al. 2022: https://arxiv.org/abs/2204.07596
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from contrastive_learning.choices import check_choice
from contrastive_learning.losses.checks import (
    check_embeddings,
    check_norms,
    check_norms_and_shares,
    check_temperature,
    check_votes,
)
from contrastive_learning.losses.pullbacks import Pullback, differentiable, normalise
from contrastive_learning.losses.streamed import Denominator, block_size_for, log_denominators
from contrastive_learning.losses.views import other_views
from contrastive_learning.losses.votes import majority_levels, yes_shares
from contrastive_learning.projections import PROJECTIONS, own_slices
from contrastive_learning.runtime.precision import autocast_off, full_precision

AMONG = ("all", "same_side")


class InstanceLoss(nn.Module):
    """Called as loss(embeddings [2 * responses, dim], yes_votes, num_votes [2 * responses, criteria]) -> scalar, nats.

    The first half of the rows is the first view. Among "all" other rows, the votes are not looked at: leave them out.

    Computes in float32 (float64 if the embeddings are) and normalises the embeddings itself. Two views of only one
    response give exactly 0 with a zero gradient. `temperature` is the default that a call may replace. `projection` is
    that of the contrastive loss; among "all" the whole embedding is compared whatever it is.

    Example:
        >>> import torch
        >>> from contrastive_learning.losses import InstanceLoss
        >>> z, yes, num = torch.eye(3)[[0, 1, 2, 0, 1, 2]], torch.tensor([[3], [3], [0]] * 2), torch.full((6, 1), 3)
        >>> round(InstanceLoss(temperature=0.5)(z).item(), 4)  # log(e^2 + 4) - 2
        0.4327
        >>> loss = InstanceLoss(temperature=0.5, among="same_side")
        >>> round(loss(z, yes, num).item(), 4)  # log(e^2 + 2) - 2, of the two on the side of yes
        0.2395
    """

    def __init__(self, *, temperature: float, among: str = "all", projection: str = "shared") -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)
        self.among = check_choice("loss.instance_among", among, AMONG)
        self.projection = check_choice("loss.contrastive.projection", projection, PROJECTIONS)
        self.block_size: int | None = None

    def forward(
        self,
        embeddings: Tensor,
        yes_votes: Tensor | None = None,
        num_votes: Tensor | None = None,
        *,
        temperature: float | None = None,
    ) -> Tensor:
        """Raises NotFiniteError for embeddings that are not finite, which waits for the device once."""
        temperature = self.temperature if temperature is None else check_temperature(temperature)
        check_embeddings(embeddings, views=2)
        with autocast_off(embeddings.device):
            embeddings = full_precision(embeddings)
            norms = torch.linalg.vector_norm(embeddings.detach(), dim=1, keepdim=True)  # [batch, 1]
            block_size = self.block_size or block_size_for(embeddings)
            term = partial(_term, temperature=temperature, block_size=block_size)
            if self.among == "same_side":
                if yes_votes is None or num_votes is None:
                    raise ValueError("loss.instance_among=same_side needs the votes of the responses")
                return self._among_sides(embeddings, norms, yes_votes, num_votes, term)
            check_norms(norms)
            if len(embeddings) == 2:  # no other response: log exp(s) - s is 0 but for rounding
                return embeddings[:0].sum()
            weights = embeddings.new_full((len(embeddings), 1), 1 / len(embeddings))
            value = partial(term, norms=norms, denominator=Denominator(everyone=True), weights=weights)
            return differentiable(value, embeddings)

    def _among_sides(
        self,
        embeddings: Tensor,
        norms: Tensor,
        yes_votes: Tensor,
        num_votes: Tensor,
        term: Callable[..., tuple[Tensor, Pullback]],
    ) -> Tensor:
        check_votes(embeddings, yes_votes, num_votes)
        shares = yes_shares(yes_votes, num_votes, embeddings.dtype)
        check_norms_and_shares(norms, shares)
        sides = majority_levels(shares)  # [batch, criteria, 2]
        anchors = (sides * (sides.sum(0) > 2)).sum(-1)  # [batch, criteria]; 2: the two views of one response
        weights = anchors / anchors.sum(0).clamp_min(1) / anchors.any(0).sum().clamp_min(1)
        if self.projection == "shared":
            same_side = Denominator(everyone=False, levels=sides, weights=sides)
            return differentiable(partial(term, norms=norms, denominator=same_side, weights=weights), embeddings)
        terms = []
        for criterion, own in enumerate(own_slices(embeddings.shape[1], shares.shape[1])):
            rows, only = embeddings[:, own], slice(criterion, criterion + 1)
            same_side = Denominator(everyone=False, levels=sides[:, only], weights=sides[:, only])
            own_norms = torch.linalg.vector_norm(rows.detach(), dim=1, keepdim=True)
            value = partial(term, norms=own_norms, denominator=same_side, weights=weights[:, only])
            terms.append(differentiable(value, rows))
        return torch.stack(terms).sum()


def _term(
    embeddings: Tensor,
    *,
    norms: Tensor,
    denominator: Denominator,
    weights: Tensor,
    temperature: float,
    block_size: int,
) -> tuple[Tensor, Pullback]:
    """sum_ic weights_ic (log Z_c(i) - s_ii'), weights [batch, columns of log Z]."""
    z, normalise_pullback = normalise(embeddings, norms)
    others, own = other_views(z), weights.sum(1)
    logs, logs_pullback = log_denominators(z, denominator, temperature, block_size)  # [batch, columns]
    scores = (z * others).sum(1) / temperature

    def pullback(grad: Tensor) -> Tensor:
        both = (own + other_views(own)) * (grad / temperature)  # a score s_ii' is that of i and that of i'
        return normalise_pullback(logs_pullback(weights * grad).sub_(others * both[:, None]))

    return (weights * logs).sum() - (own * scores).sum(), pullback
