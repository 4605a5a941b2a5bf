"""The losses: each defines which votes attract and which repel, as small tables over vote levels.

contrastive.py has the formula that they share.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from contrastive_learning.choices import check_choice
from contrastive_learning.losses.contrastive import ContrastiveLoss
from contrastive_learning.losses.pairs import Pairs, Table, graded_pairs, level_pairs, pairs_across, pattern_pairs
from contrastive_learning.losses.pullbacks import Pullback, differentiable, normalise
from contrastive_learning.losses.streamed import Denominator
from contrastive_learning.losses.votes import (
    majority_levels,
    majority_patterns,
    rater_levels,
    share_levels,
    unanimity_levels,
)

POSITIVES = ("yes", "yes_and_no")
DOMAINS = ("any", "across")

SAME_LEVEL: Table = ((1, 0), (0, 1))
OTHER_LEVEL: Table = ((0, 1), (1, 0))
NO_LEVEL: Table = ((0, 0), (0, 0))


class SupConLoss(ContrastiveLoss):
    """Strategy 1: positives share the majority answer of a criterion; a tie is on neither side (Khosla et al. 2020).

    `domains="across"`: only responses of other domains are positives; those of the same side and the same domain, one's
    own other view among them, neither attract nor repel, and the denominator holds positives and the other side. As the
    similarities are summed per side and domain, memory grows with the number of domains in a batch.

    Example:
        >>> import torch
        >>> from contrastive_learning.losses import SupConLoss
        >>> embeddings = torch.eye(4)[[0, 0, 1, 1]]  # [batch, dim]
        >>> yes_votes, num_votes = torch.tensor([[3], [2], [0], [1]]), torch.full((4, 1), 3)  # [batch, criteria]
        >>> loss = SupConLoss(
        ...     temperature=0.5, denominator="all", projection="shared", criterion_weights=None
        ... )
        >>> round(loss(embeddings, yes_votes, num_votes).item(), 4)
        0.2395
    """

    def __init__(
        self,
        *,
        temperature: float,
        denominator: str,
        projection: str,
        criterion_weights: Sequence[float] | None,
        domains: str = "any",
    ) -> None:
        super().__init__(
            temperature=temperature,
            denominator=denominator,
            projection=projection,
            criterion_weights=criterion_weights,
        )
        self.domains = check_choice("loss.contrastive.domains", domains, DOMAINS)

    def pairs(self, shares: Tensor, domains: Tensor | None) -> Pairs:
        everyone = self.denominator == "all"
        if self.domains == "across":
            if domains is None:
                raise ValueError("loss.contrastive.domains=across needs the domain of each response, got none")
            return pairs_across(majority_levels(shares), domains, positives_repel=everyone)
        repel = NO_LEVEL if everyone else OTHER_LEVEL
        return level_pairs(majority_levels(shares), SAME_LEVEL, repel, everyone=everyone)


class UnanimityLoss(ContrastiveLoss):
    """Strategy 2: unanimous yes are positives of each other, unanimous no easy negatives, split votes hard negatives.

    A split response weighs `hard_negative_weight` in the denominators of its criterion (1 = like any other): its
    cosine counts as if it were temperature * log(hard_negative_weight) higher. `positives="yes_and_no"` makes unanimous
    no anchors and positives of each other too. A response with one vote is unanimous.

    Example:
        >>> import torch
        >>> from contrastive_learning.losses import UnanimityLoss
        >>> embeddings = torch.eye(4)[[0, 0, 1, 1]]  # [batch, dim]
        >>> yes_votes, num_votes = torch.tensor([[3], [3], [0], [1]]), torch.full((4, 1), 3)  # [batch, criteria]
        >>> loss = UnanimityLoss(
        ...     temperature=0.5, denominator="all", projection="shared", criterion_weights=None,
        ...     hard_negative_weight=2.0, positives="yes"
        ... )
        >>> round(loss(embeddings, yes_votes, num_votes).item(), 4)
        0.3408
    """

    def __init__(
        self,
        *,
        temperature: float,
        denominator: str,
        projection: str,
        criterion_weights: Sequence[float] | None,
        hard_negative_weight: float,
        positives: str,
    ) -> None:
        super().__init__(
            temperature=temperature,
            denominator=denominator,
            projection=projection,
            criterion_weights=criterion_weights,
        )
        if not 1 <= hard_negative_weight < float("inf"):
            raise ValueError(f"loss.contrastive.hard_negative_weight must be >= 1, got {hard_negative_weight}")
        self.hard_negative_weight = hard_negative_weight
        self.positives = check_choice("loss.contrastive.positives", positives, POSITIVES)

    def pairs(self, shares: Tensor, domains: Tensor | None) -> Pairs:
        attract = ((float(self.positives == "yes_and_no"), 0, 0), (0, 0, 0), (0, 0, 1))
        hard = self.hard_negative_weight
        if self.denominator == "all":  # each other sample has weight 1 already
            repel = ((0, hard - 1, 0), (0, 0, 0), (0, hard - 1, 0))
        else:
            repel = ((0, hard, 1), (0, 0, 0), (1, hard, 0))
        return level_pairs(unanimity_levels(shares), attract, repel, everyone=self.denominator == "all")


class AgreementLoss(ContrastiveLoss):
    """Positives weighted by the chance that two raters, one per response, agree.

    With shares of yes a and b: w = ab + (1-a)(1-b); for "negatives" the key weighs 1 - w, the chance that they
    disagree. It is the expected numerator of SupCon on the vote of one random rater per response.

    Example:
        >>> import torch
        >>> from contrastive_learning.losses import AgreementLoss
        >>> embeddings = torch.eye(4)[[0, 0, 1, 1]]  # [batch, dim]
        >>> yes_votes, num_votes = torch.tensor([[3], [2], [0], [1]]), torch.full((4, 1), 3)  # [batch, criteria]
        >>> loss = AgreementLoss(
        ...     temperature=0.5, denominator="all", projection="shared", criterion_weights=None
        ... )
        >>> round(loss(embeddings, yes_votes, num_votes).item(), 4)
        1.1113
    """

    def pairs(self, shares: Tensor, domains: Tensor | None) -> Pairs:
        everyone = self.denominator == "all"
        repel = NO_LEVEL if everyone else OTHER_LEVEL
        return level_pairs(rater_levels(shares), SAME_LEVEL, repel, everyone=everyone)


class GradedLoss(ContrastiveLoss):
    """Graded by vote shares (Rank-N-Contrast, Zha et al. 2023): the nearer two shares, the nearer the embeddings.

    Each judged response j, of share y_j, is once the positive of anchor i, against those that differ from i as much:

        L_c(i) = mean over j != i of  log sum_{k != i, |y_k - y_i| >= |y_j - y_i|} exp(s_ik) - s_ij

    A tie is a share like any other; a response that was not judged takes no part. More than 21 distinct shares in a
    batch are rounded to twentieths.

    Example:
        >>> import torch
        >>> from contrastive_learning.losses import GradedLoss
        >>> embeddings = torch.eye(4)[[0, 0, 1, 1]]  # [batch, dim]
        >>> yes_votes, num_votes = torch.tensor([[3], [2], [0], [1]]), torch.full((4, 1), 3)  # [batch, criteria]
        >>> loss = GradedLoss(temperature=0.5, projection="shared", criterion_weights=None)
        >>> round(loss(embeddings, yes_votes, num_votes).item(), 4)
        0.0

    Zha et al. 2023: https://arxiv.org/abs/2210.01189
    """

    def pairs(self, shares: Tensor, domains: Tensor | None) -> Pairs:
        return graded_pairs(*share_levels(shares))


class BalancedLoss(ContrastiveLoss):
    """SupCon whose denominator counts both sides alike, however rare one is (balanced contrastive, Zhu et al. 2022).

    Z_c(i) = mean over no of exp(s_ik) + mean over yes of exp(s_ik), so that a side of 95 % does not fill it. The mean
    embedding of each side in the batch is one more key and positive of its side, so that no side is a single response.
    Zhu et al. learn these means as weights; here they are those of the batch, which needs no state. A response without
    a side takes no part.

    Example:
        >>> import torch
        >>> from contrastive_learning.losses import BalancedLoss
        >>> embeddings = torch.eye(4)[[0, 0, 1, 1]]  # [batch, dim]
        >>> yes_votes, num_votes = torch.tensor([[3], [2], [0], [1]]), torch.full((4, 1), 3)  # [batch, criteria]
        >>> loss = BalancedLoss(temperature=0.5, projection="shared", criterion_weights=None)
        >>> round(loss(embeddings, yes_votes, num_votes).item(), 4)  # log(e^2 + 1) - 2
        0.1269

    Zhu et al. 2022: https://arxiv.org/abs/2207.09052
    """

    def keys(self, embeddings: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of the no and of the yes side of each criterion stand behind the batch, with its share 0 or 1."""
        sides = majority_levels(shares).flatten(1)  # [batch, criteria * 2]
        means = differentiable(partial(_sums_of_sides, sides=sides), embeddings)  # means but for their length
        num_criteria = shares.shape[1]
        own = torch.eye(num_criteria, dtype=torch.bool, device=shares.device).repeat_interleave(2, dim=0)
        answers = shares.new_tensor([0.0, 1.0]).repeat(num_criteria)
        of_means = answers.where(sides.any(0), torch.nan)[:, None].where(own, torch.nan)  # [criteria * 2, criteria]
        return torch.cat((embeddings, means)), torch.cat((shares, of_means))

    def pairs(self, shares: Tensor, domains: Tensor | None) -> Pairs:
        sides = majority_levels(shares)  # [keys, criteria, 2]
        others = sides.sum(0) - sides
        means = torch.where(others > 0, 1 / others.clamp_min(1), 0.0)
        return replace(
            level_pairs(sides, SAME_LEVEL, NO_LEVEL, everyone=False),
            denominator=Denominator(everyone=False, levels=sides, weights=means),
            least=torch.zeros_like(shares),
            by_votes_only=True,
        )


def _sums_of_sides(embeddings: Tensor, *, sides: Tensor) -> tuple[Tensor, Pullback]:
    """Sums of the unit embeddings of each side: sides [batch, sides], sums [sides, dim]."""
    z, normalise_pullback = normalise(embeddings, torch.linalg.vector_norm(embeddings, dim=1, keepdim=True))
    return sides.T @ z, lambda grad: normalise_pullback(sides @ grad)


class ExactMatchLoss(ContrastiveLoss):
    """One loss for all criteria together: positives share the majority answer of every criterion.

    A tie and a missing vote are answers of their own, so that "shares all" stays transitive: two responses match when
    the same criteria were judged in both and each came out the same. A response judged in no criterion matches
    nothing and is no negative either. The statistics have one entry.

    Example:
        >>> import torch
        >>> from contrastive_learning.losses import ExactMatchLoss
        >>> embeddings = torch.eye(4)[[0, 0, 1, 1]]  # [batch, dim]
        >>> yes_votes, num_votes = torch.tensor([[3], [2], [0], [1]]), torch.full((4, 1), 3)  # [batch, criteria]
        >>> loss = ExactMatchLoss(temperature=0.5, denominator="all")
        >>> round(loss(embeddings, yes_votes, num_votes).item(), 4)
        0.2395
    """

    def __init__(self, *, temperature: float, denominator: str) -> None:
        super().__init__(temperature=temperature, denominator=denominator, projection="shared", criterion_weights=None)

    def entry_names(self, criteria: Sequence[str]) -> tuple[str, ...]:
        return ("all_criteria",)

    def pairs(self, shares: Tensor, domains: Tensor | None) -> Pairs:
        patterns, judged = majority_patterns(shares)
        return pattern_pairs(patterns, judged, shares.dtype, everyone=self.denominator == "all")
