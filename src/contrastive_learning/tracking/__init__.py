"""The record of a run, in MLflow or nowhere.

In: what a run is made of, its metrics per epoch, files, pictures, the folder of its judge. Out: a run in an MLflow
store, which `Tracker.open` opens and which its `with` block closes; what the store cannot take waits in `outbox.py`.
Imports `runtime`, `serving` (its file of code) and `mlflow_stores`; only the application imports it.
"""

from contrastive_learning.tracking.mlflow_tracking import MlflowTracking
from contrastive_learning.tracking.run import NoRun, NoTracking, Run, Tracker

__all__ = ["MlflowTracking", "NoRun", "NoTracking", "Run", "Tracker"]
