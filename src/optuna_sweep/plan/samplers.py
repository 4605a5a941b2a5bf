"""Samplers and pruners from their config groups."""

import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import optuna
from hydra.utils import instantiate

from optuna_sweep.errors import SweepError
from optuna_sweep.plan.space import Space

GP_DIMENSIONS = 6  # beyond, TPE is the better bet
GRID = ("grid", "optuna.samplers.GridSampler")


def is_grid(conf: Mapping[str, Any]) -> bool:
    return conf["_target_"] in GRID


def sampler_name(conf: Mapping[str, Any], space: Space, num_objectives: int, *, custom: bool) -> str:
    """The class to use, `auto` resolved."""
    target = str(conf["_target_"])
    if target != "auto":
        return target
    continuous = space.axes and not any(
        isinstance(axis.distribution, optuna.distributions.CategoricalDistribution) for axis in space.axes.values()
    )
    few = len(space.axes) <= GP_DIMENSIONS
    use_gp = continuous and few and num_objectives == 1 and not custom
    return "optuna.samplers.GPSampler" if use_gp else "optuna.samplers.TPESampler"


def check_sampler(target: str, space: Space) -> None:
    if not target.endswith(".CmaEsSampler"):
        return
    if find_spec("cmaes") is None:
        raise SweepError("hydra/sweeper/sampler=cmaes needs the package cmaes: pip install cmaes")
    numbers = [
        name
        for name, axis in space.axes.items()
        if not isinstance(axis.distribution, optuna.distributions.CategoricalDistribution)
    ]
    if len(numbers) < 2:
        raise SweepError(f"sampler=cmaes needs two or more numbers to search, got {', '.join(numbers) or 'none'}")


def make_sampler(conf: Mapping[str, Any], target: str, num_trials: int) -> optuna.samplers.BaseSampler:
    """`num_trials`: how many the study has; a resumed study must not repeat its first random points."""
    arguments = {key: value for key, value in conf.items() if value is not None and key not in ("_target_", "seed")}
    arguments.pop("_partial_", None)
    seed = conf.get("seed") or 0
    if not target.endswith("QMCSampler"):  # its place in the sequence is in the study; the seed scrambles all of it
        seed += num_trials
    sampler = instantiate({"_target_": target, "seed": seed, **arguments})
    assert isinstance(sampler, optuna.samplers.BaseSampler)
    return sampler


def make_pruner(conf: Any) -> optuna.pruners.BasePruner:
    if not isinstance(conf, Mapping):  # a pruner that is made already, or none
        return conf or optuna.pruners.NopPruner()
    arguments = {key: value for key, value in conf.items() if value is not None or key == "wrapped_pruner"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # PatientPruner, since 2.8
        pruner = instantiate(arguments)
    assert isinstance(pruner, optuna.pruners.BasePruner)
    return pruner


def prunes(conf: Any) -> bool:
    return not isinstance(make_pruner(conf), optuna.pruners.NopPruner)
