"""What the library and the sweep engine must agree on about an MLflow store.

In: a tracking URI and the name of an experiment. Out: absolute addresses, the lock under which a store is first used,
the experiment with its artifact folder, names that MLflow takes, texts without credentials.
Checks, too, that a store takes a run, before anything is done.
Every other package may import it; it imports none of them.
"""

from mlflow_stores.addresses import absolute, folder_name, redact, sqlite_path
from mlflow_stores.checks import check_database, check_store
from mlflow_stores.databases import MLFLOW_TABLES, OPTUNA_TABLES, check_owner, tables_of
from mlflow_stores.experiments import creation_lock, experiment_id, metric_name, quiet_client_settings

__all__ = [
    "MLFLOW_TABLES",
    "OPTUNA_TABLES",
    "absolute",
    "check_database",
    "check_owner",
    "check_store",
    "creation_lock",
    "experiment_id",
    "folder_name",
    "metric_name",
    "quiet_client_settings",
    "redact",
    "sqlite_path",
    "tables_of",
]
