"""Contrastive losses on votes, and the joint loss that training minimises."""

from contrastive_learning.losses.contrastive import ContrastiveLoss, NotFiniteError
from contrastive_learning.losses.joint import JointLoss, Losses, joint_loss
from contrastive_learning.losses.strategies import AgreementLoss, ExactMatchLoss, SupConLoss, UnanimityLoss

__all__ = [
    "AgreementLoss",
    "ContrastiveLoss",
    "ExactMatchLoss",
    "JointLoss",
    "Losses",
    "NotFiniteError",
    "SupConLoss",
    "UnanimityLoss",
    "joint_loss",
]
