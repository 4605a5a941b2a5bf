"""The task's configuration under given overrides, without Hydra's own part."""

from collections.abc import Sequence
from typing import Any

from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from optuna_sweep.plan.space import Space


def compose(context: HydraContext, config: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """The task's configuration under these overrides, interpolations as they are written."""
    composed = context.config_loader.load_sweep_config(config, list(overrides))
    with read_write(composed), open_dict(composed):
        del composed["hydra"]
    plain = OmegaConf.to_container(composed, resolve=False)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def base_of(context: HydraContext, config: DictConfig, space: Space, ignored: Sequence[str]) -> dict[str, Any]:
    """What all trials of a study share: the flat configuration without the swept and the ignored keys."""
    swept = tuple(name.partition("@")[0].replace("/", ".") for name in space.axes)
    hidden = (*swept, *ignored)
    flat = flatten(compose(context, config, space.fixed))
    return {key: value for key, value in flat.items() if not any(f"{key}.".startswith(f"{name}.") for name in hidden)}


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """{"loss": {"temperature": 1}} -> {"loss.temperature": 1}"""
    if not isinstance(config, dict) or not config:
        return {prefix: config}
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
