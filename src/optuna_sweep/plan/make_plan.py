"""Makes the plan from the settings and the command line, and refuses what cannot work.

Nothing is stored here. Only `fresh=true` looks into the storage, for the next free name of a study.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from hydra.types import HydraContext
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from optuna_sweep.errors import SweepError
from optuna_sweep.plan.known_conflicts import check_conflicts
from optuna_sweep.plan.objective import Objective, objective_of
from optuna_sweep.plan.plan import Plan
from optuna_sweep.plan.points import check_points, points_to_check
from optuna_sweep.plan.samplers import check_sampler, is_grid, sampler_name
from optuna_sweep.plan.space import Point, Space, parse_space
from optuna_sweep.plan.task_config import base_of, compose
from optuna_sweep.plan.warm_start import first_points, learn, narrowed
from optuna_sweep.settings import ConfirmConf, OptunaSweeperConf
from optuna_sweep.study.ledger import free_name
from optuna_sweep.study.pruner import promotion_of, prunes
from optuna_sweep.study.storage import check_apart, resolve

DEFAULT_TRIALS = 20


def make_plan(settings: OptunaSweeperConf, context: HydraContext, config: DictConfig, arguments: Sequence[str]) -> Plan:
    """arguments: the overrides of the command line. Raises SweepError with what a person must change."""
    space = parse_space(settings.params or {}, settings.search_space or {}, arguments, context.config_loader)
    objective = objective_of(settings.direction, settings.metric)
    _check_settings(settings, objective)
    custom = settings.custom_search_space is not None
    sampler = sampler_name(settings.sampler, space, len(objective.directions), custom=custom)
    check_sampler(settings.sampler, sampler, space)
    points, num_trials = points_of(settings, space, custom=custom)
    settings = replace(settings, enqueue=[space.without_fixed(point) for point in settings.enqueue])
    for point in settings.enqueue:
        space.check_point(point)
    storage = resolve(settings.storage)
    if settings.warm_start:
        past = learn(settings.warm_start, space, objective, storage)
        space = narrowed(space, past, settings.enqueue)
        settings = replace(settings, enqueue=[*first_points(space, past), *settings.enqueue])
    base = base_of(context, config, space, settings.ignored_keys)
    check = find_function("check", settings.check)
    check_points(context, config, space, points_to_check(space, points, settings.enqueue), check)
    check_conflicts(str(config.hydra.launcher._target_), base, space)
    check_apart(storage, settings.mlflow_uri)
    extend = find_function("custom_search_space", settings.custom_search_space)
    find_function("report", settings.report)  # a misspelt one costs no trial
    name = _study_name(settings, config, storage, [base, space.describe(), objective.metrics, objective.directions])
    with read_write(config), open_dict(config):
        config.hydra.sweeper.study_name = name  # for ${hydra.sweeper.study_name} in the sweep's folder
    return Plan(
        settings=settings,
        space=space,
        points=points,
        num_trials=num_trials,
        seeds=settings.seeds or [None],
        objective=objective,
        study_name=name,
        storage=storage,
        base=base,
        sampler=sampler,
        extend=extend,
        config=config,
        sweep_dir=Path(str(config.hydra.sweep.dir)).absolute(),
        overrides=space.overrides,
        promotion=promotion_of(settings.pruner),
        discard=_discarding(settings, context, config, space),
    )


def points_of(settings: OptunaSweeperConf, space: Space, *, custom: bool) -> tuple[list[Point] | None, int]:
    """All points that will run, or None if a sampler is to propose them; and the number of trials.

    A space with no more points than n_trials is run as a grid. custom: a function suggests further parameters.
    """
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


def digest(content: Any) -> str:
    """A short name for content that JSON can hold, the same for the same content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def find_function(key: str, path: str | None) -> Callable[..., Any] | None:
    """The function that hydra.sweeper.<key> names; SweepError if there is none."""
    if path is None:
        return None
    try:
        return get_method(path.lstrip("."))
    except (HydraException, ValueError, ImportError) as error:
        raise SweepError(f"{key}: {error}") from error


def _discarding(
    settings: OptunaSweeperConf, context: HydraContext, config: DictConfig, space: Space
) -> Callable[[Path], None]:
    """What hydra.sweeper.discard names, with the configuration that all trials have in common."""
    discard = find_function("discard", settings.discard)
    common = cache(lambda: OmegaConf.create(compose(context, config, space.fixed)))
    return lambda folder: None if discard is None else discard(common(), folder)


def _check_settings(settings: OptunaSweeperConf, objective: Objective) -> None:
    _check_one_objective(settings, objective)
    _check_confirm(settings.confirm)
    _check_choose(settings, objective)
    if settings.race and (len(settings.seeds) < 2 or len(objective.directions) > 1):
        raise SweepError("hydra.sweeper.race needs several hydra.sweeper.seeds, and one objective")
    if promotion_of(settings.pruner) is not None and not settings.continue_interrupted:
        raise SweepError("hydra/sweeper/pruner=promotion needs a task that continues, and continue_interrupted=true")
    if settings.soup not in (None, "greedy"):
        raise SweepError(f"hydra.sweeper.soup must be greedy or null, got {settings.soup}")


def _check_confirm(confirm: ConfirmConf) -> None:
    if confirm.stop_early and confirm.is_wanted and (confirm.top_k != 1 or not confirm.baseline):
        raise SweepError("confirm.stop_early compares one configuration with a baseline: top_k=1, and a baseline")


def _check_choose(settings: OptunaSweeperConf, objective: Objective) -> None:
    if settings.choose not in ("value", "estimate"):
        raise SweepError(f"hydra.sweeper.choose must be value or estimate, got {settings.choose}")
    if settings.choose == "estimate" and len(objective.directions) > 1:
        raise SweepError("hydra.sweeper.choose=estimate needs one objective")


def _check_one_objective(settings: OptunaSweeperConf, objective: Objective) -> None:
    if len(objective.directions) == 1:
        return
    if prunes(settings.pruner):
        raise SweepError("Optuna cannot prune for several objectives: hydra/sweeper/pruner=none, or one direction")
    if settings.target is not None or settings.patience is not None or settings.confirm.is_wanted:
        raise SweepError("target, patience and confirm need one objective")


def _study_name(settings: OptunaSweeperConf, config: DictConfig, storage: Any, content: Any) -> str:
    """content: what tells this study from others, for the default name."""
    config_name = Path(config.hydra.job.config_name or config.hydra.job.name).name  # it may be in a folder
    name = settings.study_name or f"{config_name}-{digest(content)[:8]}"
    if Path(name).name != name:
        raise SweepError(f"hydra.sweeper.study_name must be a name, as folders are called, not a path: got {name}")
    return free_name(storage, name) if settings.fresh and not settings.dry_run else name
