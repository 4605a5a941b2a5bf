"""The record of a run, in MLflow or nowhere.

In: what a run is made of, its metrics per epoch, files, pictures, the folder of its judge. Out: a run in an MLflow
store, which `Tracker.open` opens and which its `with` block closes; what the store cannot take waits in `outbox.py`.
`MetricsTable` keeps every metric in a file; `headline.py` says which ones MLflow shows by themselves; `models.py`
records the judge, `champion.py` registers it.
Imports `choices`, `runtime`, `serving` (its file of code) and `mlflow_stores`; only the application imports it.
"""

from contrastive_learning.tracking.metrics_table import MetricsTable
from contrastive_learning.tracking.mlflow_tracking import MlflowTracking
from contrastive_learning.tracking.run import NoRun, NoTracking, Run, Tracker

__all__ = ["MetricsTable", "MlflowTracking", "NoRun", "NoTracking", "Run", "Tracker"]
