"""The study's pruner, from its config group."""

import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from optuna_sweep.errors import SweepError, innermost
from optuna_sweep.study.promotion import PromotionPruner


def make_pruner(conf: Any) -> optuna.pruners.BasePruner:
    """conf: `hydra.sweeper.pruner`, a mapping with _target_; or a pruner that is made already; or None: no pruning.

    Raises SweepError if the pruner refuses its arguments.
    """
    if not isinstance(conf, Mapping):
        return conf or optuna.pruners.NopPruner()
    arguments = {key: value for key, value in conf.items() if value is not None or key == "wrapped_pruner"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # PatientPruner, since 2.8
        try:
            pruner = instantiate(arguments)
        except InstantiationException as error:
            raise SweepError(str(innermost(error))) from error
    assert isinstance(pruner, optuna.pruners.BasePruner)
    return pruner


def prunes(conf: Any) -> bool:
    return not isinstance(make_pruner(conf), optuna.pruners.NopPruner)


def promotion_of(conf: Any) -> PromotionPruner | None:
    """The pruner if it pauses trials; None for any other one."""
    pruner = make_pruner(conf)
    return pruner if isinstance(pruner, PromotionPruner) else None
