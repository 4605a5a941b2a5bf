"""What a report may import: what a sweep found, and how two of its configurations compare over seeds."""

# Hydra executes the public modules of a plugin a second time: defined here, each class would exist twice
from optuna_sweep.comparison import CONFIDENCE, ENOUGH_SEEDS, Comparison, compare, noise_width, seed_noise, settled
from optuna_sweep.outcome import (
    ArmMean,
    Confirmation,
    Findings,
    Outcome,
    SeedRun,
    TrialResult,
    doubts_of,
    undoubted,
)

Tried = TrialResult  # its former name

__all__ = [
    "CONFIDENCE",
    "ENOUGH_SEEDS",
    "ArmMean",
    "Comparison",
    "Confirmation",
    "Findings",
    "Outcome",
    "SeedRun",
    "TrialResult",
    "Tried",
    "compare",
    "doubts_of",
    "noise_width",
    "seed_noise",
    "settled",
    "undoubted",
]
