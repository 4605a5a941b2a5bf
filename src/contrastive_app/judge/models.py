"""Finds a judge: in a folder, in the registry, of a run, or of the latest sweep."""

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrastive_app.places import command
from mlflow_stores import absolute, check_store, quiet_client_settings, redact

if TYPE_CHECKING:
    from mlflow import MlflowClient

SETTINGS = "judge.json"
PLACES = (".", "judge", "artifacts/judge")  # an exported judge, the output folder of a run, a model of MLflow
FORMS = "a folder, a run id, or models:/name@alias"
RUN_ID = "[0-9a-f]{32}"
TEST = "embeddings/test.parquet"  # an artifact of a run; in its output folder without the folder
DEFAULT_STORE = "mlflow.db"


def find_judge(model: str | None, store: str | None, scratch: Path) -> tuple[Path, str]:
    """The folder with judge.json, and words for the user that say which judge it is.

    model: see FORMS; None: the best run of the latest sweep, else the latest run with a judge. store: address of the
    MLflow store, or its SQLite file; None: $MLFLOW_TRACKING_URI, else mlflow.db. What must be downloaded goes to
    `scratch`. Raises ValueError with one line.
    """
    if model is not None and Path(model).expanduser().is_dir():
        return _in_folder(Path(model).expanduser()), model
    if model is not None and not re.fullmatch(rf"models:/.+|{RUN_ID}", model):
        raise ValueError(f"--model must be {FORMS}; there is no folder {model}")
    uri = store_address(store)
    check_store(uri, "Default", option="--store")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    if model is None:
        run, which = _latest(client, uri)
        return _judge_at(client, _model_of(run), scratch), which
    if model.startswith("models:/"):
        return _judge_at(client, model, scratch), model
    return _judge_at(client, _model_of(_run(client, model, uri)), scratch), f"run {model}"


def downloaded_judge(client: "MlflowClient", address: str, scratch: Path) -> Path:
    """The folder with judge.json of the model at `address`, in `scratch`. Raises ValueError if there is none."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    from contrastive_learning.tracking.models import as_tracking_uri

    uri = client.tracking_uri
    try:
        with as_tracking_uri(uri):
            model = download_artifacts(artifact_uri=address, dst_path=str(scratch), registry_uri=uri)
    except (MlflowException, OSError) as error:
        raise ValueError(redact(f"{address} is not in {uri}: {' '.join(str(error).split())}")) from error
    found = _place_in(Path(model))
    if found is None:
        raise ValueError(f"{address} has no {SETTINGS}: it is no judge of this package")
    return found


def recorded_test_of(model: str, store: str | None, scratch: Path) -> Path:
    """The file of the test responses that a run has recorded. model: its id, or its output folder."""
    folder = Path(model).expanduser()
    if not folder.is_dir() and re.fullmatch(RUN_ID, model):
        from mlflow import MlflowClient

        client = MlflowClient(store_address(store))
        if TEST in [item.path for item in client.list_artifacts(model, str(Path(TEST).parent))]:
            return Path(client.download_artifacts(model, TEST, str(scratch)))
    elif (folder / Path(TEST).name).is_file():
        return folder / Path(TEST).name
    raise ValueError(f"--compare: {model} is no run that has recorded test responses: give a FILE")


def settings_of(folder: Path) -> dict[str, Any]:
    """What judge.json in the folder of a judge says: criteria, thresholds and so on."""
    settings: dict[str, Any] = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    return settings


def _in_folder(folder: Path) -> Path:
    found = _place_in(folder)
    if found is None:
        raise ValueError(f"--model must be a folder with {SETTINGS}, or of a run that has a judge; got {folder}")
    return found


def _place_in(folder: Path) -> Path | None:
    return next((folder / place for place in PLACES if (folder / place / SETTINGS).is_file()), None)


def store_address(store: str | None) -> str:
    given = store or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_STORE
    uri = absolute(given if "://" in given else f"sqlite:///{given}")
    file = uri.removeprefix("sqlite:///")
    if file != uri and not Path(file).exists():
        raise ValueError(f"--store must be an MLflow store with runs, there is no {file}; or give --model a folder")
    quiet_client_settings()
    return uri


def _latest(client: "MlflowClient", uri: str) -> tuple[Any, str]:
    """The run whose judge is used if nobody names one, and words that say so."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    newest = {"order_by": ["attributes.start_time DESC"], "max_results": 1000}
    for sweep in client.search_runs(experiments, "tags.`sweep.kind` = 'parent'", **newest):
        best = sweep.data.tags.get("best.run_id")
        if best is not None and _models(run := client.get_run(best)):
            return run, f"run {best}, the best of the sweep {sweep.info.run_name}"
    for run in client.search_runs(experiments, **newest):
        if _models(run):
            return run, f"run {run.info.run_id}, the latest"
    raise ValueError(f"no run in {uri} has a judge: train one with {command('train')}, or say which with --model")


def _run(client: "MlflowClient", run_id: str, uri: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        raise ValueError(f"--model: there is no run {run_id} in {uri}") from error


def _models(run: Any) -> list[str]:
    return [output.model_id for output in run.outputs.model_outputs] if run.outputs else []


def _model_of(run: Any) -> str:
    if not _models(run):
        raise ValueError(f"--model: the run {run.info.run_id} has recorded no judge (tracking.log_model=false?)")
    return f"models:/{_models(run)[-1]}"


def _judge_at(client: "MlflowClient", address: str, scratch: Path) -> Path:
    try:
        return downloaded_judge(client, address, scratch)
    except ValueError as error:
        raise ValueError(f"--model: {error}") from error
