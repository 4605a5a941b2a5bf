"""The training objective: BCE, and up to three terms that are weighted and warmed up.

    total = BCE + lambda_scale (lambda_contrastive contrastive + instance_weight instance + consistency consistency)

With two views of each response, BCE is the mean over both; the last two terms need them.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrastive_learning.choices import check_choice
from contrastive_learning.losses.contrastive import ContrastiveLoss
from contrastive_learning.losses.instance import InstanceLoss
from contrastive_learning.losses.votes import yes_shares
from contrastive_learning.losses.weights import check_weights, criterion_tensor, mean_weights
from contrastive_learning.runtime.precision import autocast_off, full_precision

TARGETS = ("soft", "majority")


class Losses(NamedTuple):
    """Scalars in nats, those after `bce` before they are weighted; 0 if their term is off."""

    total: Tensor
    bce: Tensor
    contrastive: Tensor
    instance: Tensor
    consistency: Tensor


class JointLoss(nn.Module):
    """BCE on logits + lambda_contrastive x a contrastive loss on embeddings, and with two views, if they are on,
    + instance_weight x InstanceLoss on embeddings + consistency x R-Drop on logits (Liang et al. 2021).

    `targets`: "soft" = the share of yes votes, "majority" = 0, 1 or, for a tie, 0.5. `pos_weight` weighs the yes side
    as torch's BCEWithLogitsLoss does (a number, or one per criterion). `criterion_weights` are those of the BCE; the
    contrastive loss has its own.

    Example:
        >>> import torch
        >>> from contrastive_learning.losses import JointLoss, SupConLoss
        >>> supcon = SupConLoss(temperature=0.5, denominator="all", projection="shared", criterion_weights=None)
        >>> loss = JointLoss(
        ...     contrastive=supcon, lambda_contrastive=0.1, targets="soft", criterion_weights=None, pos_weight=None
        ... )
        >>> logits, embeddings = torch.zeros(4, 1), torch.eye(4)[[0, 0, 1, 1]]
        >>> losses = loss(logits, embeddings, torch.tensor([[3], [2], [0], [1]]), torch.full((4, 1), 3))
        >>> {name: round(value.item(), 4) for name, value in losses._asdict().items() if value > 0}
        {'total': 0.7171, 'bce': 0.6931, 'contrastive': 0.2395}

    Liang et al. 2021: https://arxiv.org/abs/2106.14448
    """

    def __init__(
        self,
        *,
        contrastive: ContrastiveLoss | None,
        lambda_contrastive: float,
        targets: str,
        criterion_weights: Sequence[float] | None,
        pos_weight: Sequence[float] | float | None,
        instance: InstanceLoss | None = None,
        instance_weight: float = 0.0,
        consistency: float = 0.0,
    ) -> None:
        super().__init__()
        weights = {
            "lambda_contrastive": lambda_contrastive,
            "instance_weight": instance_weight,
            "consistency": consistency,
        }
        for name, weight in weights.items():
            if not 0 <= weight < math.inf:
                raise ValueError(f"loss.{name} must be >= 0, got {weight}")
        if contrastive is None and lambda_contrastive > 0:
            raise ValueError(f"loss.lambda_contrastive must be 0 without a contrastive loss, got {lambda_contrastive}")
        if instance is None and instance_weight > 0:
            raise ValueError(f"loss.instance_weight must be 0 without an instance loss, got {instance_weight}")
        self.contrastive_loss = contrastive
        self.instance_loss = instance
        self.lambda_contrastive = float(lambda_contrastive)
        self.instance_weight, self.consistency_weight = float(instance_weight), float(consistency)
        self.targets = check_choice("loss.targets", targets, TARGETS)
        self.criterion_weights = check_weights("loss.criterion_weights", criterion_weights)
        self.pos_weight = _check_pos_weight(pos_weight)

    @property
    def temperature(self) -> float | None:
        """Temperature of the contrastive loss, else of the instance loss; None if there is neither."""
        terms = [term for term in (self.contrastive_loss, self.instance_loss) if term is not None]
        return terms[0].temperature if terms else None

    @property
    def terms(self) -> tuple[str, ...]:
        """The fields of Losses that a run reports: the first three, and those of the terms that are on."""
        on = {"instance": self.instance_weight > 0, "consistency": self.consistency_weight > 0}
        return ("total", "bce", "contrastive", *(name for name, is_on in on.items() if is_on))

    @property
    def projection(self) -> str:
        """How the criteria share the embedding, one of PROJECTIONS; "shared" without a contrastive loss."""
        return "shared" if self.contrastive_loss is None else self.contrastive_loss.projection

    @property
    def weights(self) -> dict[str, Sequence[float]]:
        """The per-criterion weights that were set, keyed by their config option."""
        options = {
            "loss.criterion_weights": self.criterion_weights,
            "loss.pos_weight": self.pos_weight,
            "loss.contrastive.criterion_weights": getattr(self.contrastive_loss, "criterion_weights", None),
        }
        return {option: weights for option, weights in options.items() if isinstance(weights, tuple)}

    def check_criteria(self, num_criteria: int) -> None:
        """Raises ValueError if an option has more or fewer weights than there are criteria."""
        for option, weights in self.weights.items():
            criterion_tensor(option, weights, torch.zeros(num_criteria))

    def check_views(self, views: int) -> None:
        """Raises ValueError if a term that is on needs two views and there is only one."""
        weights = {"instance_weight": self.instance_weight, "consistency": self.consistency_weight}
        for name, weight in weights.items():
            if weight > 0 and views < 2:
                raise ValueError(f"loss.{name}={weight:g} compares two views of each response: set trainer.views=2")

    def check_domains(self, num_domains: int) -> None:
        """Raises ValueError if the positives are of other domains, and the training responses of one only."""
        if getattr(self.contrastive_loss, "domains", "any") == "across" and num_domains < 2:
            raise ValueError(
                "loss.contrastive.domains=across needs training responses of at least two domains, got one: use any"
            )

    def learns_without_votes(self, views: int) -> bool:
        """Whether a response that nobody judged adds to the loss: by its two views, in a term that needs no votes."""
        contrastive, instance = self.contrastive_loss, self.instance_loss
        attracts = self.lambda_contrastive > 0 and contrastive is not None and contrastive.learns_without_votes
        tells_apart = self.instance_weight > 0 and instance is not None and instance.among == "all"
        return views == 2 and (tells_apart or attracts or self.consistency_weight > 0)

    def forward(
        self,
        logits: Tensor,
        embeddings: Tensor,
        yes_votes: Tensor,
        num_votes: Tensor,
        *,
        lambda_scale: float = 1.0,
        temperature: float | None = None,
        views: int = 1,
        domains: Tensor | None = None,
    ) -> Losses:
        """logits, yes_votes, num_votes [batch, criteria]; embeddings [batch, dim].

        `lambda_scale` in 0..1 is for a warm-up of the weights; `temperature` replaces that of the losses. `views` 2:
        all rows of the first view of each response, then all of the second, with their votes in both. `domains` [batch]
        are needed by a contrastive loss that looks at them.
        """
        self.check_views(views)
        bce = self.bce(logits, yes_votes, num_votes)
        contrastive = self.contrastive(
            embeddings, yes_votes, num_votes, temperature=temperature, views=views, domains=domains
        )
        total = bce + self.lambda_contrastive * lambda_scale * contrastive
        instance, consistency = torch.zeros_like(bce), torch.zeros_like(bce)
        if self.instance_loss is not None and self.instance_weight > 0:
            instance = self.instance_loss(embeddings, yes_votes, num_votes, temperature=temperature)
            total = total + self.instance_weight * lambda_scale * instance
        if self.consistency_weight > 0:
            consistency = self.consistency(logits)
            total = total + self.consistency_weight * lambda_scale * consistency
        return Losses(total, bce, contrastive, instance, consistency)

    def contrastive(
        self,
        embeddings: Tensor,
        yes_votes: Tensor,
        num_votes: Tensor,
        *,
        temperature: float | None = None,
        views: int = 1,
        domains: Tensor | None = None,
    ) -> Tensor:
        """Scalar in nats. Without a contrastive loss it is 0, still attached to the graph."""
        if self.contrastive_loss is None:
            return full_precision(embeddings[:0]).sum()
        loss: Tensor = self.contrastive_loss(
            embeddings, yes_votes, num_votes, temperature=temperature, views=views, domains=domains
        )
        return loss

    @staticmethod
    def consistency(logits: Tensor) -> Tensor:
        """R-Drop: half of KL(p || q) + KL(q || p) = (p - q) (logit p - logit q) between the predictions p and q of both
        views, in nats; the mean over all responses and criteria, judged or not. logits: [2 * responses, criteria].
        """
        with autocast_off(logits.device):
            first, second = full_precision(logits).chunk(2)
            return ((first.sigmoid() - second.sigmoid()) * (first - second)).mean() / 2

    def bce(self, logits: Tensor, yes_votes: Tensor, num_votes: Tensor) -> Tensor:
        """Mean over the judged cells in nats, weighted per criterion; exactly 0 with a zero gradient without them."""
        if not logits.shape == yes_votes.shape == num_votes.shape:
            raise ValueError(
                "logits, yes_votes and num_votes must have one shape [batch, criteria], "
                f"got {list(logits.shape)}, {list(yes_votes.shape)} and {list(num_votes.shape)}"
            )
        with autocast_off(logits.device):
            logits = full_precision(logits)
            shares = yes_shares(yes_votes, num_votes, logits.dtype)
            judged = ~shares.isnan()
            targets = shares if self.targets == "soft" else (torch.sign(shares - 0.5) + 1) / 2
            cells = F.binary_cross_entropy_with_logits(
                logits, targets.where(judged, 0.0), pos_weight=self._pos_weight(logits), reduction="none"
            )
            return (cells * mean_weights(judged, self.criterion_weights, cells.dtype)).sum()

    def _pos_weight(self, logits: Tensor) -> Tensor | None:
        if self.pos_weight is None:
            return None
        if isinstance(self.pos_weight, float):
            return logits.new_full(logits.shape[-1:], self.pos_weight)
        return criterion_tensor("pos_weight", self.pos_weight, logits)


def joint_loss(
    *,
    contrastive: Callable[..., ContrastiveLoss] | None,
    temperature: float,
    lambda_contrastive: float,
    targets: str,
    criterion_weights: Sequence[float] | None,
    pos_weight: Sequence[float] | float | None,
    instance_weight: float = 0.0,
    instance_among: str = "all",
    consistency: float = 0.0,
) -> JointLoss:
    """A JointLoss whose contrastive parts are built at `temperature`: the swept numbers side by side in a config."""
    loss = None if contrastive is None else contrastive(temperature=temperature)
    projection = "shared" if loss is None else loss.projection
    instance = InstanceLoss(temperature=temperature, among=instance_among, projection=projection)
    return JointLoss(
        contrastive=loss,
        lambda_contrastive=lambda_contrastive,
        targets=targets,
        criterion_weights=criterion_weights,
        pos_weight=pos_weight,
        instance=instance if instance_weight > 0 else None,
        instance_weight=instance_weight,
        consistency=consistency,
    )


def _check_pos_weight(pos_weight: Sequence[float] | float | None) -> tuple[float, ...] | float | None:
    if pos_weight is None:
        return None
    try:
        checked = float(pos_weight) if isinstance(pos_weight, int | float) else tuple(map(float, pos_weight))
    except (TypeError, ValueError):
        raise ValueError(
            f"loss.pos_weight must be a number or a list with one number per criterion, got {pos_weight}"
        ) from None
    if not all(0 < weight < math.inf for weight in (checked if isinstance(checked, tuple) else (checked,))):
        raise ValueError(f"loss.pos_weight must be positive, got {pos_weight}")
    return checked
