"""The plugin `hydra/launcher: local`.

Hydra imports this file at each start, so it imports the engine, local_slots, only when jobs are to be launched.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from local_slots.settings import LocalLauncherConf

if TYPE_CHECKING:
    from local_slots.pool import Pool


class LocalLauncher(Launcher):
    """Runs jobs in slots on this machine, each in a fresh process that is forked after the heavy imports.

        python -m src.train -m hydra/launcher=local hydra.launcher.num_slots=2 loss.temperature=0.07,0.1,0.2,0.5

    runs four jobs, two at a time. A job that raises, is killed or runs too long is a failed job; the others continue.
    With `processes_per_trial` a job is several processes, with the variables that torchrun sets: rank 0 gives the
    result, and when it ends or any other fails, all are ended. `LocalLauncherConf` has all settings.

    `launch` is Hydra's interface. `start`, `wait` and `stop` let a sweeper fill a slot as soon as it is free:

        launcher.start(["loss.temperature=0.1"], job_idx=0, timeout_seconds=3600)
        [(job_idx, answer)] = launcher.wait(None)
        launcher.stop()
    """

    def __init__(self, **settings: Any) -> None:
        self._conf = LocalLauncherConf(**settings)
        self._pool: Pool | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from local_slots.pool import Pool  # after Hydra's scan, which is part of every start

        self._pool = Pool(hydra_context, task_function, config, self._conf)

    @property
    def num_slots(self) -> int:
        """With slots_per_gpu=auto, there are more once the first job has ended."""
        return self._ready().num_slots

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        return self._ready().run_all(job_overrides, initial_job_idx)

    def start(self, overrides: Sequence[str], job_idx: int, *, timeout_seconds: float | None) -> None:
        """Start a job in a free slot. Raises RuntimeError if no slot is free."""
        self._ready().start(overrides, job_idx, timeout_seconds)

    def wait(self, timeout_seconds: float | None) -> list[tuple[int, JobReturn]]:
        """The jobs that have ended, as soon as there is one. Empty if none ends in time, or none runs."""
        return self._ready().wait(timeout_seconds)

    def stop(self) -> None:
        """End every job and the server: SIGTERM, then SIGKILL after `grace_seconds`."""
        if self._pool is not None:
            self._pool.stop()

    def _ready(self) -> "Pool":
        assert self._pool is not None, "setup comes first"
        return self._pool


class LocalLauncherConfigs(SearchPathPlugin):
    """`hydra/launcher: local` is a file, because Hydra warns of a file that has the name of a stored config."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("local_launcher", "pkg://hydra_plugins.local_launcher.conf")


ConfigStore.instance().store(
    group="hydra/launcher", name="local_defaults", node=LocalLauncherConf, provider="local_launcher"
)
