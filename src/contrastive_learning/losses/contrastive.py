"""What all contrastive losses on votes share: multi-label, any number of annotators per response and criterion.

With z the unit embeddings, s_ik = z_i . z_k / temperature and w_ip >= 0 the weight of a positive pair in criterion c,

    P_c(i) = sum_{p != i} w_ip
    L_c(i) = log Z_c(i) - sum_{p != i} w_ip s_ip / P_c(i)          L_out of SupCon (Khosla et al. 2020)
    L      = mean over criteria c of the mean over anchors i of L_c(i)

With one projection per criterion, z and s are those of the criterion: its slice of the embedding.
The denominator Z_c(i) is either sum_{k != i} exp(s_ik) over "all" other responses of the batch, whatever their votes
in c, or only over the "negatives" of the anchor (decoupled, Yeh et al. 2022; the value can then be negative).
With two views of each response p and k run over the rows of both, and the other view of i is a positive of weight 1.
An anchor without a positive (or, for "negatives", without a negative) is in neither sum nor mean. A criterion in which
the batch holds only one level is left out: its optimum would be the collapse of all embeddings.

Khosla et al. 2020: https://arxiv.org/abs/2004.11362, Yeh et al. 2022: https://arxiv.org/abs/2110.06848
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from contrastive_learning.choices import check_choice
from contrastive_learning.losses.checks import (
    check_embeddings,
    check_norms_and_shares,
    check_temperature,
    check_votes,
)
from contrastive_learning.losses.pairs import Pairs
from contrastive_learning.losses.pullbacks import Pullback, differentiable, normalise
from contrastive_learning.losses.streamed import block_size_for, log_denominators
from contrastive_learning.losses.views import with_own_views
from contrastive_learning.losses.votes import yes_shares
from contrastive_learning.losses.weights import check_weights, mean_weights
from contrastive_learning.projections import PROJECTIONS, own_slices
from contrastive_learning.runtime.precision import autocast_off, full_precision

DENOMINATORS = ("all", "negatives")


@dataclass(frozen=True)
class _Batch:
    embeddings: Tensor  # [batch, dim], float32 or float64
    norms: Tensor  # [batch, 1]
    temperature: float
    pairs: Pairs
    size: int  # rows that can be anchors; those behind them are only compared with
    anchors: Tensor  # [batch, criteria], whether i is an anchor of c
    counted: Tensor  # [criteria]


class ContrastiveLoss(nn.Module, ABC):
    """Called as loss(embeddings [batch, dim], yes_votes, num_votes [batch, criteria]) -> scalar in nats.

    num_votes 0 or not finite = not judged. Computes in float32 (float64 if the embeddings are) and normalises the
    embeddings itself. A batch in which no criterion counts gives exactly 0 with a zero gradient.
    `projection`: "shared" = every criterion sees the whole embedding; "per_criterion" = the embedding is cut into one
    slice per criterion, each normalised on its own, so that criteria do not share their geometry (criteria x the time).
    `temperature` is the default that a call may replace, as a schedule does. `block_size` (rows of a tile, None = what
    suits the device) changes memory and time, not the value.
    """

    def __init__(
        self,
        *,
        temperature: float,
        projection: str,
        criterion_weights: Sequence[float] | None,
        denominator: str | None = None,  # None: the loss has one of its own
    ) -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)
        if denominator is not None:
            check_choice("loss.contrastive.denominator", denominator, DENOMINATORS)
        self.denominator = denominator
        self.projection = check_choice("loss.contrastive.projection", projection, PROJECTIONS)
        self.criterion_weights = check_weights("loss.contrastive.criterion_weights", criterion_weights)
        self.block_size: int | None = None

    @abstractmethod
    def pairs(self, shares: Tensor, domains: Tensor | None) -> Pairs:
        """Attracting and repelling pairs for shares of yes [batch, criteria], NaN = not judged.

        domains: [batch], equal numbers for equal domains, None if the caller does not tell; most losses ignore them.
        """

    def keys(self, embeddings: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """What anchors are compared with: embeddings [keys, dim] and shares of yes [keys, criteria]. Those of the batch
        come first; what a loss adds behind them is nobody's anchor.
        """
        return embeddings, shares

    @property
    def learns_without_votes(self) -> bool:
        """Whether a response that nobody judged is an anchor, of its own other view."""
        unjudged = torch.full((4, 1), torch.nan)
        one_domain = torch.zeros(4, dtype=torch.long)
        return bool(self._anchors(self._pairs(unjudged, one_domain, views=2), 4)[0].any())

    def entry_names(self, criteria: Sequence[str]) -> tuple[str, ...]:
        """What the entries of the statistics and of the anchors [criteria] are called in the metrics."""
        return tuple(criteria)

    def forward(
        self,
        embeddings: Tensor,
        yes_votes: Tensor,
        num_votes: Tensor,
        *,
        temperature: float | None = None,
        views: int = 1,
        domains: Tensor | None = None,
    ) -> Tensor:
        """`temperature` None = the one that the loss was built with. `views` 2: all rows of the first view of each
        response, then all of the second, with their votes in both. `domains` [batch]: equal numbers for equal domains.

        Raises ValueError for embeddings that are not finite, which waits for the device once."""
        with autocast_off(embeddings.device):
            parts = self._parts(embeddings, yes_votes, num_votes, domains, temperature=temperature, views=views)
            counted = torch.cat([part.counted for part in parts])
            weights = mean_weights(counted, self.criterion_weights, parts[0].embeddings.dtype)
            shares = torch.split(weights, [len(part.counted) for part in parts])
            terms = [
                differentiable(partial(self._weighted_sum, batch=part, weights=share), part.embeddings)
                for part, share in zip(parts, shares, strict=True)
            ]
            return terms[0] if len(terms) == 1 else torch.stack(terms).sum()

    @torch.no_grad()
    def valid_anchors(
        self, yes_votes: Tensor, num_votes: Tensor, *, views: int = 1, domains: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Who is an anchor [batch, criteria] and which criteria count [criteria]; both depend only on votes."""
        shares = yes_shares(yes_votes, num_votes, torch.float32)
        _, shares = self.keys(shares.new_zeros(len(shares), 2 * shares.shape[1]), shares)  # no geometry is needed
        anchors, counted = self._anchors(self._pairs(shares, domains, views), len(yes_votes))
        return anchors[: len(yes_votes)], counted

    @torch.no_grad()
    def statistics(
        self,
        embeddings: Tensor,
        yes_votes: Tensor,
        num_votes: Tensor,
        *,
        temperature: float | None = None,
        views: int = 1,
        domains: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Per criterion [criteria], NaN in the first three if the criterion is not counted in this batch:

        value               the loss of the criterion
        excess              value - mean log P_c(i), the part above the entropy of the positives. For "all" it is
                            >= 0, and unlike the value it does not grow with the batch. A loss with a denominator of
                            its own says itself what the value cannot get below
        collapse_ratio      1 if positives are no nearer than others, as when all embeddings are equal, or orthogonal;
                            above 1 if they are farther; 0 if positives have cosine 1 and all others -1, which no
                            embedding beats. Weights strictly between 0 and 1 can beat it slightly
        valid_anchor_share  share of the batch that is an anchor, 0 if the criterion is not counted
        counted             whether the criterion is in the mean (bool)
        """
        with autocast_off(embeddings.device):
            parts = self._parts(embeddings, yes_votes, num_votes, domains, temperature=temperature, views=views)
            found = [self._statistics(part) for part in parts]
        return {name: torch.cat([part[name] for part in found]) for name in found[0]}

    def _statistics(self, batch: _Batch) -> dict[str, Tensor]:
        value, _ = self._per_criterion(batch.embeddings, batch)
        anchors, positive, least = batch.anchors, batch.pairs.positive_weight, batch.pairs.least
        total = torch.as_tensor(batch.pairs.denominator.total_weight(len(anchors))).to(positive).expand_as(positive)
        if least is None:
            attracted = positive if self.denominator == "all" else torch.zeros_like(positive)
            # log Z at positive cosines of 1 and others of -1, less the 1 / temperature of the numerator
            best = torch.logaddexp(attracted.log(), (total - attracted).log() - 2 / batch.temperature)
            least = positive.log()
        else:
            best = least

        def mean(per_anchor: Tensor) -> Tensor:
            return per_anchor.where(anchors, 0.0).sum(0) / anchors.sum(0)

        ideal, collapsed = mean(best), mean(total.log())
        return {
            "value": value.where(batch.counted, torch.nan),
            "excess": (value - mean(least)).where(batch.counted, torch.nan),
            "collapse_ratio": ((value - ideal) / (collapsed - ideal)).where(batch.counted, torch.nan),
            "valid_anchor_share": (anchors & batch.counted)[: batch.size].to(value.dtype).mean(0),
            "counted": batch.counted,
        }

    def _parts(
        self,
        embeddings: Tensor,
        yes_votes: Tensor,
        num_votes: Tensor,
        domains: Tensor | None,
        *,
        temperature: float | None,
        views: int,
    ) -> list[_Batch]:
        """The criteria that share a geometry: all of them, or one at a time."""
        temperature = self.temperature if temperature is None else check_temperature(temperature)
        check_votes(embeddings, yes_votes, num_votes)
        check_embeddings(embeddings, views)
        embeddings = full_precision(embeddings)
        shares = yes_shares(yes_votes, num_votes, embeddings.dtype)
        norms = torch.linalg.vector_norm(embeddings.detach(), dim=1, keepdim=True)  # [batch, 1]
        check_norms_and_shares(norms, shares)
        batch = partial(self._batch, domains=domains, temperature=temperature, views=views)
        if self.projection == "shared":
            return [batch(embeddings, norms, shares)]
        num_criteria = shares.shape[1]
        slices = [embeddings[:, part] for part in own_slices(embeddings.shape[1], num_criteria)]
        slice_norms = [torch.linalg.vector_norm(part.detach(), dim=1, keepdim=True) for part in slices]
        columns = torch.split(shares, 1, dim=1)
        return [batch(*part) for part in zip(slices, slice_norms, columns, strict=True)]

    def _pairs(self, shares: Tensor, domains: Tensor | None, views: int) -> Pairs:
        pairs = self.pairs(shares, domains)
        return with_own_views(pairs) if views == 2 else pairs

    def _batch(
        self,
        embeddings: Tensor,
        norms: Tensor,
        shares: Tensor,
        *,
        domains: Tensor | None,
        temperature: float,
        views: int,
    ) -> _Batch:
        size = len(embeddings)
        keys, shares = self.keys(embeddings, shares)
        if len(keys) > size:
            norms = torch.linalg.vector_norm(keys.detach(), dim=1, keepdim=True)
        pairs = self._pairs(shares, domains, views)
        return _Batch(keys, norms, temperature, pairs, size, *self._anchors(pairs, size))

    def _anchors(self, pairs: Pairs, size: int) -> tuple[Tensor, Tensor]:
        """Which of the first `size` rows are anchors [keys, criteria], and which criteria count [criteria]."""
        anchors = pairs.positive_weight > 0
        if self.denominator != "all":  # "all" others are never none
            anchors = anchors & (pairs.denominator.total_weight(len(anchors)) > 0)
        anchors[size:] = False
        return anchors, pairs.mixed & anchors.any(0)

    def _weighted_sum(self, embeddings: Tensor, batch: _Batch, weights: Tensor) -> tuple[Tensor, Pullback]:
        values, pullback = self._per_criterion(embeddings, batch)
        return (weights * values).sum(), lambda grad: pullback(weights * grad)

    def _per_criterion(self, embeddings: Tensor, batch: _Batch) -> tuple[Tensor, Pullback]:
        """Mean of L_c(i) over the anchors [criteria], 0 if there are none, and its pullback."""
        mean = batch.anchors.to(embeddings.dtype)  # [batch, criteria]
        mean /= mean.sum(0).clamp_min(1)
        scale = mean / (batch.pairs.positive_weight.where(batch.anchors, 1.0) * batch.temperature)  # [batch, criteria]
        z, normalise_pullback = normalise(embeddings, batch.norms)
        attraction, attraction_pullback = batch.pairs.attraction(z, scale)
        block_size = self.block_size or block_size_for(z)
        logs, logs_pullback = log_denominators(z, batch.pairs.denominator, batch.temperature, block_size)

        def pullback(grad: Tensor) -> Tensor:
            return normalise_pullback(logs_pullback(mean * grad) - attraction_pullback(grad))

        return (mean * logs).sum(0) - attraction, pullback
