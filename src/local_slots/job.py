"""What a job's own process does, from its fork to its exit."""

import atexit
import faulthandler
import functools
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from hydra import compose as hydra_compose
from hydra import initialize
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, filter_overrides, run_job, setup_globals
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.basecontainer import BaseContainer

from local_slots.failures import JobFailed
from local_slots.sharing import measured
from local_slots.transport import Job, unpack


@dataclass(frozen=True)
class Request:
    """What the launcher sends to an idle worker: the job, and how this process of it is to run."""

    job: bytes
    overrides: list[str]
    job_idx: int
    environment: dict[str, str]
    num_threads: int
    start_method: str | None
    job_log: str | None
    is_follower: bool = False  # rank > 0; rank 0 gives the result and writes the files


def run_trial(grace_seconds: float, requests: Connection, results: Connection) -> None:
    """Wait for a request; send the job's output folder, then its pickled JobReturn. An interrupted job sends none."""
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_end_with_launcher, args=(grace_seconds,), daemon=True).start()
    try:
        warm_up_hydra()  # copies the server's memory pages that the start of a job writes to, before there is a job
        request: Request = requests.recv()
    except (EOFError, KeyboardInterrupt):
        return
    requests.close()
    multiprocessing.set_start_method(request.start_method, force=True)
    os.environ.clear()
    os.environ.update(request.environment)
    _allow_threads(request.num_threads)
    try:
        answer = _encode(_run(request, results))
        if (memory := measured()) is not None:
            results.send(memory)
        results.send(answer)
        results.close()
        _flush()
    except KeyboardInterrupt:
        _flush()
        if not _launcher().is_alive():
            os.killpg(0, signal.SIGKILL)  # the launcher would have killed what ignores SIGTERM
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)


def compose(loader: ConfigLoader, master: DictConfig, overrides: list[str], job_idx: int) -> DictConfig:
    config = loader.load_sweep_config(master, overrides)
    with open_dict(config):
        config.hydra.job.id = job_idx
        config.hydra.job.num = job_idx
    return config


def _run(request: Request, results: Connection) -> JobReturn:
    try:
        job = unpack(request.job)
        _restore_hydra(job)
        config = compose(job.context.config_loader, job.config, request.overrides, request.job_idx)
        if request.is_follower:
            _leave_files(config)
        results.send(_open_folder(config, request.job_log))
        answer = run_job(
            hydra_context=job.context,
            task_function=_contained(job.task_function(), request.is_follower),
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
    except Exception as error:  # noqa: BLE001  the sweeper decides what follows from it
        answer = JobReturn(overrides=filter_overrides(request.overrides), status=JobStatus.FAILED)
        answer.return_value = error
    if answer.status == JobStatus.FAILED:
        answer.return_value = _failure(answer._return_value)
    elif request.is_follower:
        answer.return_value = None
    return answer


def warm_up_hydra() -> None:
    """Scan for plugins, and fill the parsers' tables, which grow as they parse."""
    with initialize(version_base=None, config_path=None):
        hydra_compose(overrides=["+a.b=1e-3", "+c=x", "hydra.job.num=0"], return_hydra_config=True)
    setup_globals()
    OmegaConf.resolve(OmegaConf.create({"name": "${now:%Y-%m-%d}/${a.b}_${c}", "a": {"b": 1}, "c": ""}))


def _restore_hydra(job: Job) -> None:
    resolvers = BaseContainer._resolvers | job.resolvers
    instances = job.singletons | {Plugins: Plugins.instance()}  # saves Hydra a second scan
    Singleton.set_state({"instances": instances, "omegaconf_resolvers": resolvers})
    setup_globals()


def _leave_files(config: DictConfig) -> None:
    """Have Hydra write neither its files nor a log in this process."""
    with open_dict(config):
        config.hydra.output_subdir = None
        config.hydra.job_logging = {"root": None}


def _open_folder(config: DictConfig, job_log: str | None) -> Path:
    """Make the job's output folder, and send stdout and stderr of this process to the log in it."""
    HydraConfig.instance().set_config(config)  # for ${hydra:...} in the folder's name
    folder = Path(str(config.hydra.sweep.dir), str(config.hydra.sweep.subdir)).absolute()
    if job_log is not None:
        folder.mkdir(parents=True, exist_ok=True)
        log = os.open(folder / job_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)  # the descriptors, so that native code and sub-processes are included
        os.dup2(log, 2)
        os.close(log)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    faulthandler.enable()
    return folder


def _contained(task_function: TaskFunction, is_follower: bool) -> TaskFunction:
    """Make sys.exit and KeyboardInterrupt in the task a failure: Hydra then runs its callbacks and writes its files."""

    @functools.wraps(task_function)
    def task(config: DictConfig) -> Any:
        gc.enable()
        try:
            return task_function(config)
        except SystemExit as error:
            raise JobFailed(f"the job called sys.exit({error.code!r})", traceback.format_exc()) from None
        except KeyboardInterrupt:
            if is_follower or signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:  # the launcher ends this job
                raise
            raise JobFailed("the job raised KeyboardInterrupt", traceback.format_exc()) from None

    return task


def _failure(error: Exception) -> JobFailed:
    """What the launcher gets of an exception, which is also printed to the job's log."""
    trace = "".join(traceback.format_exception(error))
    print(trace, file=sys.stderr)
    if isinstance(error, JobFailed):
        return error
    reason = traceback.format_exception_only(error)[-1].strip().removeprefix("__mp_main__.")  # the app's main module
    return JobFailed(reason, trace, error if _can_be_pickled(error) else None)


def _can_be_pickled(error: Exception) -> bool:
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:  # noqa: BLE001  whatever its __reduce__ or __init__ raises
        return False


def _encode(answer: JobReturn) -> bytes:
    try:
        return pickle.dumps(answer)
    except Exception as error:  # noqa: BLE001  whatever a __reduce__ raises
        answer.status = JobStatus.FAILED
        answer.return_value = JobFailed(f"what the job returned cannot be pickled: {error}", traceback.format_exc())
        return pickle.dumps(answer)


def _allow_threads(num_threads: int) -> None:
    """Give the libraries that the server imported with one thread `num_threads` of them."""
    if num_threads == 1:
        return
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(num_threads)
    if (threadpoolctl := sys.modules.get("threadpoolctl")) is not None:
        threadpoolctl.threadpool_limits(num_threads)


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would break off the clean-up
    raise KeyboardInterrupt("SIGTERM")


def _end_with_launcher(grace_seconds: float) -> None:
    """Wait for the launcher's end, however it ends; then SIGTERM to this process group, and SIGKILL after the grace."""
    _launcher().join()
    os.killpg(0, signal.SIGTERM)
    time.sleep(grace_seconds)
    os.killpg(0, signal.SIGKILL)


def _launcher() -> BaseProcess:
    launcher = multiprocessing.parent_process()
    assert launcher is not None
    return launcher


def _flush() -> None:
    atexit._run_exitfuncs()  # multiprocessing ends its processes without them
