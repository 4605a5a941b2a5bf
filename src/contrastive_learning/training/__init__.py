from contrastive_learning.training.settings import TrainerSettings
from contrastive_learning.training.trainer import ContrastiveTrainer

__all__ = ["ContrastiveTrainer", "TrainerSettings"]
