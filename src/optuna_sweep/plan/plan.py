"""What a sweep will do, and the jobs that it is made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from omegaconf import DictConfig, OmegaConf
from optuna.trial import FrozenTrial

from optuna_sweep.plan.job import Job
from optuna_sweep.plan.objective import Objective
from optuna_sweep.plan.space import Point, Space, quote, text
from optuna_sweep.readable import compact
from optuna_sweep.settings import OptunaSweeperConf
from optuna_sweep.study.promotion import PromotionPruner

DEFAULT_SUBDIR = "${hydra.job.num}"

Extender = Callable[[DictConfig, optuna.Trial], None]


@dataclass(frozen=True)
class Plan:
    """A sweep as `make_plan` decides it, before the first trial.

    `points` lists what will run, if the space is a grid; with None the sampler proposes trials until `num_trials` are
    done. Each trial is run once per seed, and `job` says how: the overrides of the task, then the hidden ones by
    which the job finds its study. The confirm stage is a plan of its own, with other points, jobs and folders.
    """

    settings: OptunaSweeperConf
    space: Space
    points: list[Point] | None  # all that will run; None = the sampler decides
    num_trials: int
    seeds: Sequence[int | None]
    objective: Objective
    study_name: str
    storage: Any  # resolved
    base: dict[str, Any]  # the configuration without what is swept, flat
    sampler: str  # path of its class
    extend: Extender | None  # the custom search space
    config: DictConfig
    sweep_dir: Path
    overrides: Callable[[Mapping[str, Any]], list[str]]  # of the task, for a trial's parameters
    reports: bool = True  # whether jobs report to the study and can be pruned
    promotion: PromotionPruner | None = None  # the pruner, if it pauses trials
    discard: Callable[[Path], None] = lambda folder: None  # deletes the checkpoints of a trial in its folder
    folder_prefix: str = ""
    named: Callable[[int, Mapping[str, Any]], str] | None = None  # a trial's name, if it is not made of its parameters
    answered: Callable[[Sequence[FrozenTrial]], str | None] = lambda trials: None  # why no further trial is needed

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.objective.metrics

    @property
    def step_name(self) -> str:
        """What a step of a trial is, in words: an epoch or, if trials report within epochs, too, a report."""
        key = self.settings.report_key
        return "epoch" if key is None or self.base.get(key) is None else "report"

    def identity(self, fingerprint: str | None) -> dict[str, Any]:
        """What all trials of the study must share; a study with another identity is refused.

        fingerprint: of the data, as the application's preflight returns it.
        """
        identity: dict[str, Any] = {
            "space": self.space.describe(),
            "metric": ", ".join(self.metrics),
            "direction": ", ".join(self.objective.directions),
            "config": self.base,
            "data": fingerprint,
            "seeds": ", ".join(map(str, self.seeds)),
        }
        if self.settings.custom_search_space is not None:
            identity["custom_search_space"] = self.settings.custom_search_space
        return identity

    def label(self, number: int, params: Mapping[str, Any]) -> str:
        """007 τ=0.083 λ=0.21"""
        if self.named is not None:
            return self.named(number, params)
        return " ".join([f"{number:03d}", *(f"{self.short(name)}={compact(value)}" for name, value in params.items())])

    def short(self, name: str) -> str:
        """The parameter's name in tables: as hydra.sweeper.labels says, else the last part of its key."""
        return self.settings.labels.get(name, name.lstrip("+").rsplit(".", 1)[-1])

    def folder(self, number: int, seed_index: int) -> str:
        """Of a job, inside the sweep's folder: 007, or 007/seed_1 if there are several seeds."""
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
        """The trial's job for one seed.

        parent: the MLflow parent run; alarm: whether the job must enforce trial_timeout itself; continues: whether it
        resumes an interrupted one in its folder.
        """
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
        if self.storage != self.settings.storage:  # its paths are relative, or it is the default
            hidden["hydra.sweeper.storage"] = text(self.storage)
        if OmegaConf.to_container(self.config.hydra.sweep, resolve=False)["subdir"] != DEFAULT_SUBDIR:  # type: ignore[index,call-overload]
            del hidden["hydra.sweep.subdir"]
        overrides = [*self.overrides(params), *([] if seed is None else [f"{self.settings.seed_key}={seed}"])]
        index = number * len(self.seeds) + seed_index
        hidden_overrides = [f"{key}={value}" for key, value in hidden.items()]
        return Job(number, index, seed, (*overrides, *hidden_overrides), self.sweep_dir / folder)
