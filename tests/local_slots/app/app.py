"""A job of each kind, told by `kind`."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class UnpicklableError(Exception):
    def __init__(self, message):
        super().__init__(message)
        self.lock = threading.Lock()


class UnloadableError(Exception):
    def __init__(self, message, code):
        super().__init__(message)


def facts():
    return {
        "pid": os.getpid(),
        "group": os.getpgid(0),
        "server": os.getppid(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "cpu_seconds": time.process_time(),
        "at": time.time(),
        "json_tool": "json.tool" in sys.modules,
        "torchrun": {name: os.environ.get(name) for name in TORCHRUN},
    }


def meet(folder):
    """The end of the first process is the end of the job."""
    while len(list(folder.glob("facts*.json"))) < int(os.environ.get("WORLD_SIZE", 1)):
        time.sleep(0.01)
    return facts()


def sleep(seconds):
    print(f"sleeping {seconds} s")
    subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 600"])  # must not outlive the job
    time.sleep(seconds)
    return "slept"


def outlast(last):
    while not last.exists():
        time.sleep(0.01)


def stubborn():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def tidy():
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        time.sleep(0.2)
        Path("tidied").touch()
        raise


def raises(error):
    raise error


def late():
    time.sleep(0.5)
    raise TimeoutError("later")


def load():
    import torch

    rows = list(range(8))
    batches = torch.utils.data.DataLoader(rows, batch_size=2, num_workers=2, collate_fn=lambda rows: rows)
    return [row for batch in batches for row in batch]


def kill_server():
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)


def segfault():
    print("about to fault")
    ctypes.string_at(0)


@hydra.main(version_base="1.3", config_path=".", config_name="app")
def main(config):
    folder = Path(HydraConfig.get().runtime.output_dir)
    rank = int(os.environ.get("RANK", 0))
    partial = folder / f"{rank}.partial"
    partial.write_text(json.dumps(facts()))
    partial.replace(folder / ("facts.json" if rank == 0 else f"facts_{rank}.json"))
    kinds = {
        "facts": lambda: meet(folder),
        "sleep": lambda: sleep(config.seconds),
        "outlast": lambda: outlast(folder.parent / "3/facts.json"),
        "stubborn": stubborn,
        "tidy": tidy,
        "raise": lambda: raises(ValueError("bad thing")),
        "interrupt": lambda: raises(KeyboardInterrupt()),
        "unpicklable": lambda: raises(UnpicklableError("no lock travels")),
        "unloadable": lambda: raises(UnloadableError("half a message", 3)),
        "lock": threading.Lock,
        "exit": lambda: sys.exit(3),
        "exit_message": lambda: sys.exit("error: no data"),
        "os_exit": lambda: os._exit(0),
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "segfault": segfault,
        "kill_server": kill_server,
        "late": late,
        "load": load,
        "resolve": lambda: OmegaConf.create({"x": "${double:21}"}).x,
    }
    return kinds[config.kind if rank in (config.ranks or [rank]) else config.others]()


if __name__ == "__main__":
    OmegaConf.register_new_resolver("double", lambda number: 2 * number)
    main()
