"""The sampler, from its config group; `auto` is resolved here."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import optuna
from hydra.utils import instantiate

from optuna_sweep.errors import SweepError
from optuna_sweep.plan.hub import hub_sampler
from optuna_sweep.plan.space import Space

GP_DIMENSIONS = 6  # with more of them, TPE is the better bet
GRID = ("grid", "optuna.samplers.GridSampler")


def is_grid(conf: Mapping[str, Any]) -> bool:
    return conf["_target_"] in GRID


def sampler_name(conf: Mapping[str, Any], space: Space, num_objectives: int, *, custom: bool) -> str:
    """The path of the sampler's class. `auto` is the Gaussian process for continuous spaces of few dimensions with one
    objective, else TPE.
    """
    target = str(conf["_target_"])
    if target != "auto":
        return target
    continuous = space.axes and not any(
        isinstance(axis.distribution, optuna.distributions.CategoricalDistribution) for axis in space.axes.values()
    )
    few = len(space.axes) <= GP_DIMENSIONS
    use_gp = continuous and few and num_objectives == 1 and not custom
    return "optuna.samplers.GPSampler" if use_gp else "optuna.samplers.TPESampler"


def check_sampler(conf: Mapping[str, Any], target: str, space: Space) -> None:
    """Raises SweepError if the sampler needs a package that is not installed, or a space that this one is not."""
    if target.endswith(".hub_sampler"):
        hub_sampler(**_arguments(conf))
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
    """num_trials: how many the study has, which moves the seed: a resumed study must not repeat its first points."""
    seed = conf.get("seed") or 0
    if not target.endswith("QMCSampler"):  # its place in the sequence is in the study; the seed scrambles all of it
        seed += num_trials
    sampler = instantiate({"_target_": target, "seed": seed, **_arguments(conf)})
    assert isinstance(sampler, optuna.samplers.BaseSampler)
    return sampler


def _arguments(conf: Mapping[str, Any]) -> dict[str, Any]:
    hidden = ("_target_", "_partial_", "seed")
    return {key: value for key, value in conf.items() if value is not None and key not in hidden}
