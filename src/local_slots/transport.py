"""Packs what a job needs from the launcher's process, and unpacks it in the job's own."""

import importlib
import pickle
from dataclasses import dataclass
from typing import Any

from hydra.core.singleton import Singleton
from hydra.errors import CompactHydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from omegaconf.basecontainer import BaseContainer

HYDRA_RESOLVERS = {"now", "hydra", "python_version"}


@dataclass(frozen=True)
class NamedTask:
    """The name of a task function, which hydra.main's decorator hides: its object lies `depth` wrappers deep."""

    module: str
    qualname: str
    depth: int

    def find(self) -> TaskFunction:
        found: Any = importlib.import_module(self.module)
        for name in self.qualname.split("."):
            found = getattr(found, name)
        for _ in range(self.depth):
            found = found.__wrapped__
        return found  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Job:
    """What all jobs of a sweep have in common: everything except their overrides."""

    task: NamedTask | TaskFunction
    context: HydraContext
    config: DictConfig
    singletons: dict[type, Any]
    resolvers: dict[str, Any]  # of OmegaConf: those that neither it nor Hydra registers

    def task_function(self) -> TaskFunction:
        return self.task.find() if isinstance(self.task, NamedTask) else self.task


def pack(task_function: TaskFunction, context: HydraContext, config: DictConfig) -> bytes:
    resolvers = {
        name: resolver
        for name, resolver in BaseContainer._resolvers.items()
        if name not in HYDRA_RESOLVERS and not name.startswith("oc.")
    }
    singletons = Singleton.get_state()["instances"]
    return _dumps(Job(_name(task_function) or task_function, context, config, singletons, resolvers))


def unpack(job: bytes) -> Job:
    return pickle.loads(job)  # type: ignore[no-any-return]


def _name(task_function: TaskFunction) -> NamedTask | None:
    """The name under which another process can import the task; None if it has none, such as a lambda."""
    module = getattr(task_function, "__module__", None)
    qualname = getattr(task_function, "__qualname__", None)
    if module is None or qualname is None:
        return None
    for depth in range(10):
        named = NamedTask(module, qualname, depth)
        try:
            if named.find() is task_function:
                return named
        except (ImportError, AttributeError):
            return None
    return None


def _dumps(job: Job) -> bytes:
    try:
        return pickle.dumps(job)
    except Exception as error:  # noqa: BLE001  a __reduce__ may raise anything
        try:
            import cloudpickle  # type: ignore[import-untyped]
        except ImportError:
            raise CompactHydraException(
                f"the local launcher cannot send the job to another process: {error}; "
                "define the task function at the top of a module, or install cloudpickle"
            ) from error
        return cloudpickle.dumps(job)  # type: ignore[no-any-return]
