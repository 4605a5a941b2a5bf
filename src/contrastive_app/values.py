"""Checks the type of every value in the configuration before anything is built, so that the error names the option."""

import inspect
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

SCALARS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "null"}
OWN: dict[str, tuple[type, ...]] = {  # read by the application; all others go to a constructor
    "seed": (int,),
    "data.max_length": (int,),
    "data.prefix": (str,),
    "data.cache_dir": (str,),
    "data.train_examples": (int, NoneType),
    "objective.direction": (str, list),
}
NO_DEFAULT = {"data.path": "FILE_OR_FOLDER", "model.name": "a hub id such as klue/roberta-base, or a folder"}


def check_values(config: DictConfig) -> None:
    """Compare every scalar with the annotation of the constructor that gets it; what has no default must be given.

    Raises ValueError: "trainer.epochs must be a whole number, got 1.5".
    """
    for key, example in NO_DEFAULT.items():
        section, name = key.split(".")
        if OmegaConf.is_missing(config[section], name):
            raise ValueError(f"{key} must be given: {key}={example}")
    options: Any = OmegaConf.to_container(config, resolve=True)
    for key, types in OWN.items():
        value: Any = options
        for name in key.split("."):
            value = value[name]
        _check(key, value, types)
    _check("data.view_cutoff", options["data"].get("view_cutoff", 0.0), (float,))  # not in older configurations
    if config.seed < 0:
        raise ValueError(f"seed must be at least 0, got {config.seed}")
    for name in ("monitor", "direction"):  # by default those of the objective
        if isinstance(value := options["trainer"].get(name), list):
            raise ValueError(f"with several objectives trainer.{name} must be set to a single one, got {value}")
    if options["trainer"].get("report_every") is not None:
        _check_reported(options["objective"]["metric"])
    for group in config:
        node = config[group]
        if OmegaConf.is_dict(node):
            _check_node(str(group), OmegaConf.to_container(node, resolve=True))


def _check_reported(metric: Any) -> None:
    if not isinstance(metric, str) or not metric.startswith("val/"):
        given = metric if isinstance(metric, str) else f"[{','.join(metric)}]"
        raise ValueError(f"trainer.report_every needs one objective.metric on val/, got {given}")


def _check_node(path: str, node: Any) -> None:
    if not isinstance(node, Mapping):
        return
    hints = _annotations(node["_target_"]) if "_target_" in node else {}
    for key, value in node.items():
        if isinstance(value, Mapping) and key in hints and hints[key] in SCALARS:
            _check(f"{path}.{key}", value, (hints[key],))
        elif isinstance(value, Mapping):
            _check_node(f"{path}.{key}", value)
        elif key in hints and not isinstance(value, list):
            _check(f"{path}.{key}", value, _scalar_types(hints[key]))


def _annotations(target: str) -> dict[str, Any]:
    found = get_object(target)
    return get_type_hints(found.__init__ if inspect.isclass(found) else found)


def _scalar_types(annotation: Any) -> tuple[type, ...]:
    """The types that a scalar may have: (int, NoneType) for `int | None`. Empty if the annotation allows no scalar."""
    is_union = get_origin(annotation) in (Union, UnionType)
    types = get_args(annotation) if is_union else (annotation,)
    return types if any(each in SCALARS for each in types if each is not NoneType) else ()


def _check(key: str, value: Any, types: tuple[type, ...]) -> None:
    if not types or type(value) in types or (float in types and type(value) is int):
        return
    wanted = " or ".join(SCALARS[each] for each in types if each in SCALARS)
    given = "null" if value is None else str(value).lower() if isinstance(value, bool) else value
    raise ValueError(f"{key} must be {wanted}, got {given}")
