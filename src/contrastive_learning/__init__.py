"""Contrastive fine-tuning of response-quality judges on votes."""

from contrastive_learning.models import ContrastiveQualityModel
from contrastive_learning.trainer import ContrastiveTrainer

__all__ = ["ContrastiveQualityModel", "ContrastiveTrainer"]
