from contrastive_learning.tracking.mlflow_run import MlflowTracking, NoTracking, Run, Tracker

__all__ = ["MlflowTracking", "NoTracking", "Run", "Tracker"]
