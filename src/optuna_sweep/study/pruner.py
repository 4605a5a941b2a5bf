"""The study's pruner, from its config group."""

import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from hydra.utils import instantiate


def make_pruner(conf: Any) -> optuna.pruners.BasePruner:
    """conf: `hydra.sweeper.pruner`, a mapping with _target_; or a pruner that is made already; or None: no pruning."""
    if not isinstance(conf, Mapping):
        return conf or optuna.pruners.NopPruner()
    arguments = {key: value for key, value in conf.items() if value is not None or key == "wrapped_pruner"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # PatientPruner, since 2.8
        pruner = instantiate(arguments)
    assert isinstance(pruner, optuna.pruners.BasePruner)
    return pruner


def prunes(conf: Any) -> bool:
    return not isinstance(make_pruner(conf), optuna.pruners.NopPruner)
