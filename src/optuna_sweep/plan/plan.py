"""What a sweep will do, decided and checked before any store is touched."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from hydra.errors import HydraException
from hydra.types import HydraContext
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from optuna_sweep.errors import SweepError
from optuna_sweep.outcome import Outcome
from optuna_sweep.plan.launchers import check_launcher
from optuna_sweep.plan.samplers import check_sampler, is_grid, prunes, sampler_name
from optuna_sweep.plan.space import Point, Space, parse_space, quote, text
from optuna_sweep.run.slots import Job
from optuna_sweep.settings import OptunaSweeperConf
from optuna_sweep.study.ledger import Direction, free_name
from optuna_sweep.study.storage import check_apart, resolve

DEFAULT_TRIALS = 20
DEFAULT_SUBDIR = "${hydra.job.num}"

Extender = Callable[[DictConfig, optuna.Trial], None]
Report = Callable[[DictConfig, Outcome, Path], Iterable[Path]]


@dataclass(frozen=True)
class Plan:
    settings: OptunaSweeperConf
    space: Space
    points: list[Point] | None  # all that will run; None = the sampler decides
    num_trials: int
    seeds: Sequence[int | None]
    study_name: str
    storage: Any
    directions: tuple[Direction, ...]
    metrics: tuple[str, ...]  # names for tables, and keys where a task returns a dict
    base: dict[str, Any]  # the configuration without what is swept, flat
    sampler: str
    extend: Extender | None  # the custom search space
    report: Report | None
    config: DictConfig
    sweep_dir: Path
    overrides: Callable[[Mapping[str, Any]], list[str]]
    reports: bool = True
    folder_prefix: str = ""

    def identity(self, fingerprint: str | None) -> dict[str, Any]:
        identity: dict[str, Any] = {
            "space": self.space.describe(),
            "metric": ", ".join(self.metrics),
            "direction": ", ".join(self.directions),
            "config": self.base,
            "data": fingerprint,
            "seeds": ", ".join(map(str, self.seeds)),
        }
        if self.settings.custom_search_space is not None:
            identity["custom_search_space"] = self.settings.custom_search_space
        return identity

    def label(self, number: int, params: Mapping[str, Any]) -> str:
        """007 τ=0.083 λ=0.21"""
        return " ".join([f"{number:03d}", *(f"{self.short(name)}={compact(value)}" for name, value in params.items())])

    def short(self, name: str) -> str:
        return self.settings.labels.get(name, name.lstrip("+").rsplit(".", 1)[-1])

    def folder(self, number: int, seed_index: int) -> str:
        seed = self.seeds[seed_index]
        return f"{self.folder_prefix}{number:03d}" + (f"/seed_{seed}" if len(self.seeds) > 1 else "")

    def job(
        self,
        number: int,
        params: Mapping[str, Any],
        seed_index: int,
        *,
        parent: str | None,
        alarm: bool,
        continues: bool = False,
    ) -> Job:
        seed = self.seeds[seed_index]
        folder = self.folder(number, seed_index)
        name = self.label(number, params) + (f" seed={seed}" if len(self.seeds) > 1 else "")
        hidden = {
            "hydra.sweep.dir": quote(str(self.sweep_dir)),
            "hydra.sweep.subdir": quote(folder),
            "hydra.sweeper.study_name": quote(self.study_name),
            "hydra.sweeper.trial_number": str(number),
            "hydra.sweeper.trial_name": quote(name),
            "hydra.sweeper.trial_dir": quote(folder),
            "hydra.sweeper.trial_reports": text(self.reports and seed_index == 0),
            "hydra.sweeper.trial_continues": text(continues),
            "hydra.sweeper.trial_alarm": text(self.settings.trial_timeout if alarm else None),
            "hydra.sweeper.parent_run_id": text(parent),
        }
        if isinstance(self.storage, str):
            hidden["hydra.sweeper.storage"] = quote(self.storage)
        if OmegaConf.to_container(self.config.hydra.sweep, resolve=False)["subdir"] != DEFAULT_SUBDIR:  # type: ignore[index,call-overload]
            del hidden["hydra.sweep.subdir"]
        overrides = [*self.overrides(params), *([] if seed is None else [f"{self.settings.seed_key}={seed}"])]
        index = number * len(self.seeds) + seed_index
        hidden_overrides = [f"{key}={value}" for key, value in hidden.items()]
        return Job(number, index, seed, (*overrides, *hidden_overrides), self.sweep_dir / folder)

    def values(self, returned: Any) -> list[float]:
        """The objective values in what a task returned; ValueError says what is wrong with it."""
        if isinstance(returned, Mapping):
            missing = [name for name in self.metrics if name not in returned]
            if missing:
                raise ValueError(f"the task returned no {missing[0]}; it has {', '.join(map(str, returned))}")
            returned = [returned[name] for name in self.metrics]
        values = returned if isinstance(returned, list) else [returned]
        if len(values) != len(self.directions):
            raise ValueError(f"the task returned {len(values)} values for {len(self.directions)} objectives")
        for value in values:
            try:
                finite = math.isfinite(float(value))
            except (TypeError, ValueError):
                raise ValueError(f"the task must return a number, got {value!r}") from None
            if not finite:
                raise ValueError(f"the objective is {value}")
        return [float(value) for value in values]


def make_plan(settings: OptunaSweeperConf, context: HydraContext, config: DictConfig, arguments: Sequence[str]) -> Plan:
    space = parse_space(settings.params or {}, settings.search_space or {}, arguments, context.config_loader)
    directions = _directions(settings.direction)
    metrics = _metrics(settings.metric, len(directions))
    if len(directions) > 1 and prunes(settings.pruner):
        raise SweepError("Optuna cannot prune for several objectives: hydra/sweeper/pruner=none, or one direction")
    if len(directions) > 1 and (settings.target is not None or settings.patience is not None or settings.confirm.top_k):
        raise SweepError("target, patience and confirm need one objective")
    custom = settings.custom_search_space is not None
    sampler = sampler_name(settings.sampler, space, len(directions), custom=custom)
    check_sampler(sampler, space)
    points, num_trials = _points(settings, space, custom=custom)
    settings = replace(settings, enqueue=[space.without_fixed(point) for point in settings.enqueue])
    for point in settings.enqueue:
        space.check_point(point)
    base = _base(context, config, space, settings.ignored_keys)
    _check_composes(context, config, space)
    check_launcher(str(config.hydra.launcher._target_), base, space)
    storage = resolve(settings.storage)
    check_apart(storage, settings.mlflow_uri)
    name = settings.study_name or _default_name(config, base, space, metrics, directions)
    if Path(name).name != name:
        raise SweepError(f"hydra.sweeper.study_name must be a name, as folders are called, not a path: got {name}")
    if settings.fresh and not settings.dry_run:
        name = free_name(storage, name)
    with read_write(config), open_dict(config):
        config.hydra.sweeper.study_name = name  # for ${hydra.sweeper.study_name} in the sweep's folder
    return Plan(
        settings=settings,
        space=space,
        points=points,
        num_trials=num_trials,
        seeds=settings.seeds or [None],
        study_name=name,
        storage=storage,
        directions=directions,
        metrics=metrics,
        base=base,
        sampler=sampler,
        extend=_function("custom_search_space", settings.custom_search_space),
        report=_function("report", settings.report),
        config=config,
        sweep_dir=Path(str(config.hydra.sweep.dir)).absolute(),
        overrides=space.overrides,
    )


def digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def compact(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(config, dict) or not config:
        return {prefix: config}
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def compose(context: HydraContext, config: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """The task's configuration under these overrides, interpolations as they are written."""
    composed = context.config_loader.load_sweep_config(config, list(overrides))
    with read_write(composed), open_dict(composed):
        del composed["hydra"]
    plain = OmegaConf.to_container(composed, resolve=False)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _points(settings: OptunaSweeperConf, space: Space, *, custom: bool) -> tuple[list[Point] | None, int]:
    is_choice = space.is_discrete and not custom
    if is_grid(settings.sampler) and not is_choice:
        raise SweepError("sampler=grid needs choices or ranges, not intervals or a custom search space")
    wanted = settings.n_trials
    if wanted is None:
        wanted = int(space.size) if is_choice else DEFAULT_TRIALS
    if wanted < 1:
        raise SweepError(f"hydra.sweeper.n_trials must be at least 1, got {wanted}")
    if is_grid(settings.sampler) or (wanted >= space.size and space.is_listed and not custom):
        points = list(space.points())[:wanted]
        return points, len(points)
    return None, wanted


def _base(context: HydraContext, config: DictConfig, space: Space, ignored: Sequence[str]) -> dict[str, Any]:
    swept = tuple(name.partition("@")[0].replace("/", ".") for name in space.axes)
    hidden = (*swept, *ignored)
    flat = flatten(compose(context, config, space.fixed))
    return {key: value for key, value in flat.items() if not any(f"{key}.".startswith(f"{name}.") for name in hidden)}


def _check_composes(context: HydraContext, config: DictConfig, space: Space) -> None:
    """A misspelt key or a value of the wrong type shows before the first trial: each value of each axis once."""
    others = ((name, value) for name, axis in space.axes.items() for value in list(axis.choices or [])[1:])
    points = [space.first, *(space.first | {name: value} for name, value in others)]
    for point in points[:50]:
        compose(context, config, space.overrides(point))


def _directions(direction: Any) -> tuple[Direction, ...]:
    names = tuple(direction) if isinstance(direction, list) else (direction,)
    for name in names:
        if name not in ("minimize", "maximize"):
            raise SweepError(f"hydra.sweeper.direction must be minimize or maximize, got {name}")
    return names


def _metrics(metric: Any, count: int) -> tuple[str, ...]:
    if metric is None:
        return ("value",) if count == 1 else tuple(f"value_{index}" for index in range(count))
    names = tuple(map(str, metric)) if isinstance(metric, list) else (str(metric),)
    if len(names) != count:
        raise SweepError(f"{len(names)} metrics ({', '.join(names)}) need as many directions, got {count}")
    return names


def _function(key: str, path: str | None) -> Callable[..., Any] | None:
    if path is None:
        return None
    try:
        return get_method(path.lstrip("."))
    except (HydraException, ValueError, ImportError) as error:
        raise SweepError(f"{key}: {error}") from error


def _default_name(
    config: DictConfig, base: dict[str, Any], space: Space, metrics: tuple[str, ...], directions: tuple[Direction, ...]
) -> str:
    what = [base, space.describe(), metrics, directions]
    config_name = Path(config.hydra.job.config_name or config.hydra.job.name).name  # it may be in a folder
    return f"{config_name}-{digest(what)[:8]}"
