"""Records the judge that a run trained as a model in MLflow."""

import importlib.metadata
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from mlflow import MlflowClient

SERVING_PACKAGES = ("mlflow", "torch", "transformers", "tokenizers", "safetensors", "numpy", "pandas")
EXAMPLE = [{"context": ["어디로 갈까?", "바다 어때요?"], "response": "바람이 불어 시원해요."}]
FINAL = "final/"  # of the objectives' names, at the kept epoch
CALL_TAG = "recorded_at"  # a model's tag: tells a repeated call from a second model of the run


def record_model(
    client: "MlflowClient", experiment_id: str, run_id: str, judge: Path, criteria: Sequence[str], *, call: str
) -> str:
    """Record the folder `judge` as a model of the run. Returns the model's id.

    A repeated call with the same `call` returns the same id. In a local store the weights of `judge` become a hard link
    to those of the model: replace that file, never write into it.
    """
    found = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
    for model in (model for model in found if model.tags.get(CALL_TAG) == call):
        if model.status == "READY":
            return str(model.model_id)
        client.delete_logged_model(model.model_id)  # left by an attempt that broke off
    run = client.get_run(run_id)
    logged = client.create_logged_model(
        experiment_id,
        name=re.sub(r"[/:.%\"']", "_", f"judge {run.info.run_name}"),  # MLflow takes none of these
        source_run_id=run_id,
        tags={CALL_TAG: call},
        params=run.data.params,
    )
    status = "FAILED"
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "judge"
            write_model(folder, judge, criteria, run_id=run_id, model_id=logged.model_id)
            client.log_model_artifacts(logged.model_id, str(folder))
        _share_weights(judge, logged.artifact_location)
        _log_objectives(client, run, logged.model_id)
        status = "READY"
    finally:
        client.finalize_logged_model(logged.model_id, status)
    return str(logged.model_id)


def _log_objectives(client: "MlflowClient", run: Any, model_id: str) -> None:
    """Give the model the objectives of its run, so that the page of all models can sort by them."""
    from mlflow.entities import Metric

    for name in run.data.metrics:
        if name.startswith(FINAL):
            point = client.get_metric_history(run.info.run_id, name)[-1]
            same = Metric(name, point.value, point.timestamp, point.step, model_id=model_id)
            client.log_batch(run.info.run_id, metrics=[same])


def _share_weights(judge: Path, location: str) -> None:
    """Make the weights in `judge` the same file as the model's in a local store, so that they take up room once."""
    from mlflow.utils.file_utils import local_file_uri_to_path

    from contrastive_learning.serving import WEIGHTS

    if urlsplit(location).scheme not in ("", "file"):
        return
    stored = Path(local_file_uri_to_path(location), "artifacts", judge.name, WEIGHTS)
    link = judge / f".link-{WEIGHTS}"
    link.unlink(missing_ok=True)
    try:
        link.hardlink_to(stored)
    except OSError:  # another file system, or one without hard links: there are two copies
        return
    link.replace(judge / WEIGHTS)


@contextmanager
def as_tracking_uri(uri: str) -> Iterator[None]:
    """MLflow's registry in a database looks a model up in the store of the whole process (3.17), not in its client's.

    Without this it would create mlflow.db in the working directory, and not find the model there.
    """
    import mlflow

    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


def check_model_name(name: str, log_model: bool) -> None:
    """Raises ValueError if no model could be registered under `name`."""
    if not log_model:
        raise ValueError(f"tracking.register={name} needs tracking.log_model=true")
    if re.fullmatch(r"[\w.-][\w. -]*", name) is None or name in (".", ".."):
        raise ValueError(
            f"tracking.register must be letters, digits, dots, dashes, underscores and spaces, got {name!r}"
        )


def write_model(folder: Path, judge: Path, criteria: Sequence[str], **origin: str) -> None:
    """Write the folder `judge` as a model of MLflow to `folder`. origin: run_id and model_id, if it is recorded."""
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model

    from contrastive_learning.serving import JUDGE_CODE, extra_packages

    mlflow.pyfunc.save_model(
        folder,
        python_model=str(JUDGE_CODE),  # a file of code, never a pickle
        artifacts={"judge": str(judge)},
        signature=_signature(criteria),
        input_example=pd.DataFrame(EXAMPLE),
        pip_requirements=[f"{name}=={_public_version(name)}" for name in (*SERVING_PACKAGES, *extra_packages(judge))],
        mlflow_model=Model(**origin),
    )


def _signature(criteria: Sequence[str]) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, Array, ColSpec, DataType, ParamSchema, ParamSpec, Schema

    kinds = {"probability": "double", "decision": "boolean", "vote_share": "double"}
    context = ColSpec(AnyType(), "context", required=False)  # a list of turns, or one text
    outputs = [ColSpec(type, f"{kind}/{criterion}") for criterion in criteria for kind, type in kinds.items()]
    asked = [
        ColSpec(Array(DataType.double), "embedding", required=False),
        *(ColSpec(AnyType(), f"neighbours/{criterion}", required=False) for criterion in criteria),
    ]
    return ModelSignature(
        # that there is a response the judge checks itself: MLflow's error would hold all data of the request
        Schema([context, ColSpec("string", "response", required=False)]),
        Schema([*outputs, *asked]),
        ParamSchema([ParamSpec("embeddings", "boolean", default=False), ParamSpec("neighbours", "long", default=0)]),
    )


def _public_version(package: str) -> str:
    """The version without a suffix such as +cpu, which package indexes do not know."""
    return importlib.metadata.version(package).partition("+")[0]
