"""Relative paths among the options mean the folder in which the command was started, also if a run works elsewhere."""

import re
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mlflow_stores import sqlite_path

PATHS = re.compile(r"data\.(path|unjudged)|data\.cache_dir|data\.source\.(\w+_)?path|trainer\.resume_from")
ENCODER = re.compile(r"model\.(encoder\.)?name")  # a hub id, or a folder if there is one
STORES = ("tracking.uri", "data.source.store")


def from_start(config: DictConfig, start: Path) -> DictConfig:
    """The configuration of a run, whose relative paths mean the folder `start` in which its command was started.

    With `hydra.job.chdir=true` each run works in its output folder: there, the paths are absolute. Without, nothing is
    changed.
    """
    if Path.cwd() == start:
        return config
    anchored = config.copy()
    for group in ("data", "data.source", "trainer", "model", "model.encoder", "tracking"):
        node = OmegaConf.select(anchored, group)
        for name in node if OmegaConf.is_dict(node) else ():
            if not OmegaConf.is_missing(node, name) and isinstance(node[name], str):
                node[name] = absolute(f"{group}.{name}", node[name], start)
    return anchored


def absolute(option: str, value: Any, start: Path) -> Any:
    """The value of `option` with `start` before a relative path; what is no path stays as it is.

    >>> absolute("data.path", "judged.jsonl", Path("/home/you"))
    '/home/you/judged.jsonl'
    >>> absolute("data.path", "mlflow:support", Path("/home/you"))
    'mlflow:support'
    >>> absolute("tracking.uri", "sqlite:///mlflow.db", Path("/home/you"))
    'sqlite:////home/you/mlflow.db'
    >>> absolute("model.name", "klue/roberta-base", Path("/home/you"))
    'klue/roberta-base'
    """
    if not isinstance(value, str):
        return value
    if option in STORES:
        file = sqlite_path(value)
        return value if file is None else f"sqlite:///{start / file.expanduser()}"
    is_folder = ENCODER.fullmatch(option) is not None and (start / Path(value).expanduser()).is_dir()
    is_path = PATHS.fullmatch(option) is not None and not value.startswith("mlflow:")
    return str(start / Path(value).expanduser()) if is_folder or is_path else value
