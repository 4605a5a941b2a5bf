from contrastive_learning.training.settings import TrainerSettings
from contrastive_learning.training.trainer import ContrastiveTrainer, Hooks, RunContext

__all__ = ["ContrastiveTrainer", "Hooks", "RunContext", "TrainerSettings"]
