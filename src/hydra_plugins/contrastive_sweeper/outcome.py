"""For a report: what a sweep found, and how two of its configurations compare over seeds."""

# Hydra executes the public modules of a plugin a second time: defined here, each class would exist twice
from optuna_sweep.outcome import (
    ENOUGH_SEEDS,
    FEW_SEEDS,
    Comparison,
    Confirmation,
    Outcome,
    SeedRun,
    Tried,
    compare,
)

__all__ = ["ENOUGH_SEEDS", "FEW_SEEDS", "Comparison", "Confirmation", "Outcome", "SeedRun", "Tried", "compare"]
