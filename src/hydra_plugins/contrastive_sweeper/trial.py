"""What a task may import: the trial that it runs as.

trial = current_trial()
for epoch in range(epochs):
    trial.report(metric, epoch)
    if trial.should_prune():
        break
"""

# Hydra executes the public modules of a plugin a second time: defined here, each class would exist twice
from optuna_sweep.trial import ConfigurationError, CurrentTrial, TrialPruned, current_trial

__all__ = ["ConfigurationError", "CurrentTrial", "TrialPruned", "current_trial"]
