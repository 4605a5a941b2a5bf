"""Starts and stops the fork server, the process from which those of the jobs are forked."""

import ctypes
import json
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.spawn
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from local_slots.devices import THREAD_VARIABLES

PRELOAD_VARIABLE = "LOCAL_LAUNCHER_PRELOAD"
PR_SET_PDEATHSIG = 1


def ensure_server(preload: Sequence[str]) -> None:
    """Start multiprocessing's fork server unless it runs; it imports `preload` and the app's main module."""
    main = multiprocessing.spawn.get_preparation_data("server")
    main = {key: main[key] for key in ("init_main_from_name", "init_main_from_path", "sys_argv") if key in main}
    order = {"modules": list(preload), "launcher_pid": os.getpid(), "main": main}
    environment = {
        PRELOAD_VARIABLE: json.dumps(order),
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # torch.cuda.is_available() would otherwise start CUDA
        **dict.fromkeys(THREAD_VARIABLES, "1"),  # a process with a thread pool must not fork
    }
    multiprocessing.set_forkserver_preload(["local_slots.preload"])
    with _environment(environment), _signals_blocked():
        multiprocessing.forkserver.ensure_running()


def stop_server() -> None:
    """Kill the fork server, if it runs. Jobs that were forked from it are not ended."""
    server = multiprocessing.forkserver._forkserver
    pid: int | None = server._forkserver_pid  # type: ignore[attr-defined]
    if pid is not None:
        os.kill(pid, signal.SIGKILL)  # it may be in the middle of an import
        server._stop()  # type: ignore[attr-defined]


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends, however that ends (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:
            sys.exit(1)


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """The server inherits the mask: Ctrl-C at the terminal is for the launcher, which stops the server itself."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
