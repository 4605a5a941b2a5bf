"""Instance discrimination: which of all other rows of the batch is the other view of this response?

With z the unit embeddings of both views of each response, i' the other view of i and s_ik = z_i . z_k / temperature,

    L = mean over all rows i of  log sum_{k != i} exp(s_ik) - s_ii'      NT-Xent of SimCLR (Chen et al. 2020)

It needs no votes: a response that nobody judged teaches as much as any other.

Chen et al. 2020: https://arxiv.org/abs/2002.05709; two dropout masks as views: https://arxiv.org/abs/2104.08821
"""

from functools import partial

import torch
from torch import Tensor, nn

from contrastive_learning.losses.checks import check_embeddings, check_norms, check_temperature
from contrastive_learning.losses.pullbacks import Pullback, differentiable, normalise
from contrastive_learning.losses.streamed import Denominator, block_size_for, log_denominators
from contrastive_learning.losses.views import other_views
from contrastive_learning.runtime.precision import autocast_off, full_precision


class InstanceLoss(nn.Module):
    """Called as loss(embeddings [2 * responses, dim]) -> scalar in nats; the first half of the rows is the first view.

    Computes in float32 (float64 if the embeddings are) and normalises the embeddings itself. Two views of only one
    response give exactly 0 with a zero gradient. `temperature` is the default that a call may replace.

    Example:
        >>> import torch
        >>> from contrastive_learning.losses import InstanceLoss
        >>> loss = InstanceLoss(temperature=0.5)
        >>> round(loss(torch.eye(2)[[0, 1, 0, 1]]).item(), 4)  # log(e^2 + 2) - 2
        0.2395
    """

    def __init__(self, *, temperature: float) -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)
        self.block_size: int | None = None

    def forward(self, embeddings: Tensor, *, temperature: float | None = None) -> Tensor:
        """Raises NotFiniteError for embeddings that are not finite, which waits for the device once."""
        temperature = self.temperature if temperature is None else check_temperature(temperature)
        check_embeddings(embeddings, views=2)
        with autocast_off(embeddings.device):
            embeddings = full_precision(embeddings)
            norms = torch.linalg.vector_norm(embeddings.detach(), dim=1, keepdim=True)  # [batch, 1]
            check_norms(norms)
            if len(embeddings) == 2:  # no other response: log exp(s) - s is 0 but for rounding
                return embeddings[:0].sum()
            block_size = self.block_size or block_size_for(embeddings)
            value = partial(_nt_xent, norms=norms, temperature=temperature, block_size=block_size)
            return differentiable(value, embeddings)


def _nt_xent(embeddings: Tensor, *, norms: Tensor, temperature: float, block_size: int) -> tuple[Tensor, Pullback]:
    z, normalise_pullback = normalise(embeddings, norms)
    others = other_views(z)
    logs, logs_pullback = log_denominators(z, Denominator(everyone=True), temperature, block_size)  # [batch, 1]
    scores = (z * others).sum(1) / temperature

    def pullback(grad: Tensor) -> Tensor:
        share = grad / len(z)
        # each score s_ii' occurs twice in the sum, once from either side
        grad_z = logs_pullback(share.expand(len(z), 1)).sub_(others * (2 * share / temperature))
        return normalise_pullback(grad_z)

    return (logs[:, 0] - scores).mean(), pullback
