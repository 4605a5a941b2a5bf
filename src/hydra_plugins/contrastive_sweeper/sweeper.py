"""`hydra/sweeper: optuna`. Hydra imports this at each start: the engine, optuna_sweep, is imported after the scan."""

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from optuna_sweep.settings import PRUNERS, SAMPLERS, ConfirmConf, OptunaSweeperConf


class OptunaSweeper(Sweeper):
    """Runs one Optuna study through any launcher."""

    def __init__(self, **settings: Any) -> None:
        settings["confirm"] = ConfirmConf(**settings["confirm"])
        self.settings = OptunaSweeperConf(**settings)

    hydra_context: HydraContext
    config: DictConfig

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> None:
        from optuna_sweep.run.sweep import sweep  # here: Hydra's scan for plugins imports this file at every start

        sweep(self.settings, self.hydra_context, self.task_function, self.config, arguments)


_store = ConfigStore.instance()
_store.store(group="hydra/sweeper", name="optuna", node=OptunaSweeperConf, provider="contrastive_sweeper")
for _name, _node in SAMPLERS.items():
    _store.store(group="hydra/sweeper/sampler", name=_name, node=_node, provider="contrastive_sweeper")
for _name, _node in PRUNERS.items():
    _store.store(group="hydra/sweeper/pruner", name=_name, node=_node, provider="contrastive_sweeper")
