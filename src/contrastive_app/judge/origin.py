"""The run that a judge comes from, as far as it is recorded: in its output folder, or in the MLflow store."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from contrastive_app.judge.models import store_address
from contrastive_app.resume import RUN_FILE

SPLITS = ("valid", "test", "test_ood")  # of which the responses are recorded
EMBEDDINGS = "embeddings"  # the artifacts of a run with its responses


@dataclass(frozen=True)
class Origin:
    run_id: str
    options: Mapping[str, Any]  # such as model.name
    fingerprint: str  # of the data
    num_training: int | None  # responses; None: not recorded, as in the folders of older runs
    splits: Mapping[str, Path]  # the recorded responses, with what the judge said of them


def origin_of(judge: Path, model: str | None, store: str | None, scratch: Path) -> Origin | None:
    """None if it is not known. judge: what `find_judge` found for `model` in `store`."""
    output = judge.resolve().parent
    if (output / RUN_FILE).is_file():
        return _in_folder(output)
    mlmodel = output.parent / "MLmodel"
    if not mlmodel.is_file() or (model is not None and Path(model).expanduser().is_dir()):
        return None
    found = re.search("^run_id: ([0-9a-f]{32})$", mlmodel.read_text(encoding="utf-8"), re.MULTILINE)
    return None if found is None else _in_store(found[1], store_address(store), scratch)


def _in_folder(output: Path) -> Origin:
    run = json.loads((output / RUN_FILE).read_text(encoding="utf-8"))
    splits = {name: output / f"{name}.parquet" for name in SPLITS}
    return Origin(run["run_id"], run["config"], run["data"], run.get("num_training"), _existing(splits))


def _in_store(run_id: str, uri: str, scratch: Path) -> Origin:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    run = client.get_run(run_id)
    profiles = {
        tag.value: json.loads(item.dataset.profile)["num_rows"]
        for item in run.inputs.dataset_inputs
        for tag in item.tags
        if tag.key == "mlflow.data.context"
    }
    recorded = {item.path for item in client.list_artifacts(run_id, EMBEDDINGS)}
    splits = {
        name: Path(client.download_artifacts(run_id, path, str(scratch)))
        for name in SPLITS
        if (path := f"{EMBEDDINGS}/{name}.parquet") in recorded
    }
    fingerprint = run.data.tags["data.fingerprint"]
    return Origin(run_id, run.data.params, fingerprint, profiles.get("training"), splits)


def _existing(files: Mapping[str, Path]) -> dict[str, Path]:
    return {name: file for name, file in files.items() if file.is_file()}


def num_responses(file: Path) -> int:
    """Of a recorded split."""
    return int(pq.read_metadata(file).num_rows)
