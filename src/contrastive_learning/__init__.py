"""Contrastive fine-tuning of response-quality judges on votes."""

from importlib import import_module
from types import ModuleType

from contrastive_learning.model import ContrastiveQualityModel
from contrastive_learning.training import ContrastiveTrainer

__all__ = ["ContrastiveQualityModel", "ContrastiveTrainer"]

# `_target_`s in the configurations of runs that were recorded before the rooms: module -> where its classes are now
RENAMED = {
    "encoders": "model",
    "models": "model",
    "optimizers": "training.optimizers",
    "settings": "training",
}


def __getattr__(name: str) -> ModuleType:
    if name not in RENAMED:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return import_module(f"{__name__}.{RENAMED[name]}")
