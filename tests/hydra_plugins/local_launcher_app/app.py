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
    }


def sleep(seconds):
    print(f"sleeping {seconds} s")
    subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 600"])  # must not outlive the job
    time.sleep(seconds)
    return "slept"


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
    (folder / "facts.json").write_text(json.dumps(facts()))
    kinds = {
        "facts": facts,
        "sleep": lambda: sleep(config.seconds),
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
        "load": load,
        "resolve": lambda: OmegaConf.create({"x": "${double:21}"}).x,
    }
    return kinds[config.kind]()


if __name__ == "__main__":
    OmegaConf.register_new_resolver("double", lambda number: 2 * number)
    main()
