"""Samplers of OptunaHub, by name: hydra/sweeper/sampler=hub hydra.sweeper.sampler.name=samplers/hebo."""

import inspect
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import optuna

from optuna_sweep.errors import SweepError

OPTION = "hydra.sweeper.sampler"


def hub_sampler(
    name: str,
    *,
    class_name: str | None = None,
    registry: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> optuna.samplers.BaseSampler:
    """A sampler of a package of the hub, which is downloaded once (https://hub.optuna.org).

    class_name: by default the package's first sampler; registry: a folder with packages, instead of the hub;
    arguments: of the class. Raises SweepError in one line if there is no such package, class or argument.
    """
    found = hub_class(name, class_name, registry)
    seeded = {"seed": seed} if "seed" in inspect.signature(found).parameters else {}
    try:
        sampler = found(**seeded, **(arguments or {}))
    except (TypeError, ValueError, ImportError) as error:
        raise SweepError(f"{OPTION}: {name}: {error}") from error
    assert isinstance(sampler, optuna.samplers.BaseSampler)
    return sampler


def hub_class(name: str, class_name: str | None, registry: str | None) -> Any:
    if find_spec("optunahub") is None:
        raise SweepError("hydra/sweeper/sampler=hub needs the package optunahub: pip install optunahub")
    import optunahub

    try:
        if registry is None:
            module = optunahub.load_module(name)
        else:
            module = optunahub.load_local_module(name, registry_root=registry)
    except Exception as error:  # whatever git, the network or the package raises
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise SweepError(
            f"{OPTION}.name: {name} cannot be loaded from {registry or 'the hub'}: {reason[-1]}"
        ) from error
    members = {key: value for key, value in vars(module).items() if not key.startswith("_")}
    samplers = [
        key
        for key, value in members.items()
        if inspect.isclass(value) and issubclass(value, optuna.samplers.BaseSampler)
    ]
    offered = [key for key in getattr(module, "__all__", samplers) if key in samplers]
    wanted = class_name or next(iter(offered), None)
    if wanted not in samplers:
        raise SweepError(f"{OPTION}.class_name must be one of {', '.join(samplers) or 'none'} of {name}, got {wanted}")
    return members[wanted]
