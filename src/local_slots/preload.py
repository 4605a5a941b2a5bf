"""Prepares the fork server: multiprocessing imports this module in it before the first fork.

What is imported here is there in every job, so that a job starts in milliseconds instead of seconds.
"""

import gc
import importlib
import json
import multiprocessing
import multiprocessing.spawn
import os
import sys
import traceback

from local_slots.job import warm_up_hydra
from local_slots.server import PRELOAD_VARIABLE, die_with_parent


def preload(modules: list[str], launcher_pid: int, main: dict[str, str | list[str]]) -> None:
    os.setsid()  # a signal to the command's process group must not reach the server
    die_with_parent(launcher_pid)
    warm_up_hydra()  # every job inherits what it loads
    for entry in modules:
        name, _, function = entry.partition(":")
        try:
            module = importlib.import_module(name)
            if function:
                getattr(module, function)()
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                _warn(entry)
        except Exception:  # noqa: BLE001  a library may raise anything; a job that needs the module will raise it again
            _warn(entry)
    # multiprocessing then refuses to start jobs in this process, if the app calls its main function without the check
    # for __name__ == "__main__"
    process = multiprocessing.current_process()
    process._inheriting = True  # type: ignore[attr-defined]
    multiprocessing.spawn.prepare(main)
    del process._inheriting  # type: ignore[attr-defined]
    sys.stdout.flush()
    gc.collect()
    gc.freeze()  # else the first collection of each job would touch, and so copy, all objects of the imports
    gc.disable()  # until the task starts: Hydra's share of a job's start is short and makes few cycles


def _warn(entry: str) -> None:
    reason = traceback.format_exc(limit=0).strip().splitlines()[-1]
    print(f"hydra.launcher.preload: {entry} cannot be imported here: {reason}", file=sys.stderr)


preload(**json.loads(os.environ[PRELOAD_VARIABLE]))
