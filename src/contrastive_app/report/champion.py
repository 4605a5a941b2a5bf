"""Where the best judge of a sweep decides otherwise than the registered champion, whose place it may take."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from omegaconf import DictConfig, OmegaConf

from contrastive_app.judge.models import downloaded_judge, settings_of
from contrastive_app.judge.scores import Scorer
from contrastive_app.report.changed import SPLITS, Changed, compared
from contrastive_app.resume import read_run
from contrastive_learning.tracking.champion import ALIAS, champion_of
from mlflow_stores import absolute, check_store, redact

NAMES = "the best", "the champion"


class Champion(NamedTuple):
    """A registered judge, downloaded."""

    version: str
    run_id: str
    fingerprint: str  # of the data that it was trained on
    folder: Path  # with judge.json


class Challenge(NamedTuple):
    """What the report says of the best judge and the champion."""

    champion: str  # its address and version
    changed: Changed | None  # None if they are not compared; the remark says why
    remark: str


def against_champion(tracking: DictConfig, best: Path) -> Challenge | None:
    """The judge of the run in the folder `best` against the champion, which is asked what the run has recorded.

    tracking: the config group. None if no name is to be registered, or that has no champion yet.
    """
    name = OmegaConf.select(tracking, "register")
    if name is None:
        return None
    address = f"models:/{name}@{ALIAS}"
    with TemporaryDirectory() as scratch:
        try:
            champion = _champion(absolute(tracking.uri), name, Path(scratch))
        except ValueError as error:
            return Challenge(address, None, str(error))
        return None if champion is None else _challenge(f"{address} (version {champion.version})", champion, best)


def _champion(uri: str, name: str, scratch: Path) -> Champion | None:
    """None if there is none. Raises ValueError with one line if it cannot be read."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    check_store(uri, "Default", option="tracking.uri")
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    try:
        version = champion_of(client, name)
        if version is None:
            return None
        fingerprint = client.get_run(version.run_id).data.tags.get("data.fingerprint", "")
    except MlflowException as error:
        raise ValueError(redact(f"{uri} cannot be read: {' '.join(error.message.split())}")) from error
    folder = downloaded_judge(client, version.source, scratch)  # not by name: MLflow looks that up in its own registry
    return Champion(str(version.version), version.run_id, fingerprint, folder)


def _challenge(address: str, champion: Champion, best: Path) -> Challenge:
    run, own = read_run(best, "run_id", "data"), settings_of(best / "judge")["criteria"]
    if run["run_id"] == champion.run_id:
        return Challenge(address, None, "it is the best itself")
    criteria = settings_of(champion.folder)["criteria"]
    if not set(own) & set(criteria):
        return Challenge(address, None, f"it judges other criteria: {', '.join(criteria)}")
    split = next(split for split in SPLITS if (best / f"{split}.parquet").is_file())
    remarks = []
    if own != criteria:
        remarks.append("Only the criteria that both judge are compared.")
    if run["data"] != champion.fingerprint:
        remarks.append("The champion was trained on other data, and may have learnt some of these responses.")
    changed = compared(best, split, Scorer(champion.folder, 0).table, criteria, NAMES)
    return Challenge(address, changed, " ".join(remarks))
