"""Contrastive losses on votes, and the joint loss that training minimises.

In: embeddings [batch, dim], logits [batch, criteria], yes_votes and num_votes [batch, criteria]. Out: scalars in nats.
Four layers, each importing only those below: joint, strategies (which votes attract and repel), contrastive (the shared
formula) and instance (two views of a response attract), pairs, views and streamed (their sums in O(batch) memory, by
tiles or the kernels of fused). It imports only runtime, `choices` and `projections`; training imports it.
"""

from contrastive_learning.losses.checks import NotFiniteError
from contrastive_learning.losses.contrastive import ContrastiveLoss
from contrastive_learning.losses.instance import InstanceLoss
from contrastive_learning.losses.joint import JointLoss, Losses, joint_loss
from contrastive_learning.losses.strategies import (
    AgreementLoss,
    BalancedLoss,
    ExactMatchLoss,
    GradedLoss,
    SupConLoss,
    UnanimityLoss,
)

__all__ = [
    "AgreementLoss",
    "BalancedLoss",
    "ContrastiveLoss",
    "ExactMatchLoss",
    "GradedLoss",
    "InstanceLoss",
    "JointLoss",
    "Losses",
    "NotFiniteError",
    "SupConLoss",
    "UnanimityLoss",
    "joint_loss",
]
