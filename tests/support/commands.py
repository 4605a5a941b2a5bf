"""Commands under test, and the runs that they record."""

import atexit
import contextlib
import functools
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

from contrastive_app.places import command
from local_slots.devices import THREAD_VARIABLES
from support.ports import free_port

ROOT = Path(__file__).parents[2]
SMALL = [
    "data.source.train_size=96",
    "data.source.valid_size=48",
    "data.source.test_size=48",
    "data.source.test_ood_size=48",
    "data.max_length=64",  # attention with dropout takes the square of it
    "model.encoder.hidden_size=32",
    "model.encoder.num_layers=1",
    "model.encoder.vocab_size=800",
    "trainer.epochs=2",
    "trainer.steadiness=never",
]
ONE_THREAD = "hydra.launcher.threads_per_trial=1"  # two that wait for each other take a trial twice the CPU time
IMPORTABLE = {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
ENVIRONMENT = IMPORTABLE | {"CUDA_VISIBLE_DEVICES": ""}
TRAIN = ("-m", "src.train")
NIGHTLY = "NIGHTLY" in os.environ  # what takes long besides, and more repetitions of races
nightly = pytest.mark.skipif(not NIGHTLY, reason="takes long: every night, with NIGHTLY=1")


@dataclass
class Finished:
    returncode: int
    stdout: str
    stderr: str


class Output:
    """What a command prints, in files, so that no pipe fills."""

    def __init__(self):
        self.files = [tempfile.TemporaryFile("a+b") for _ in range(2)]  # noqa: SIM115  closed with this object
        for file in self.files:
            weakref.finalize(self, file.close)

    def out(self):
        """What it has printed so far."""
        return _content(self.files[0])

    def errors(self):
        return _content(self.files[1])


class Command:
    """A running command, forked: what tests need of subprocess.Popen."""

    def __init__(self, message, imports):
        self._output = Output()
        self.out, self.errors = self._output.out, self._output.errors
        self._answer, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        weakref.finalize(self, self._answer.close)
        descriptors = [*(file.fileno() for file in self._output.files), its.fileno()]
        socket.send_fds(_fork_server(imports).requests, [json.dumps(message).encode()], descriptors)
        its.close()
        self.pid, self.returncode = int(self._answer.recv(64)), None

    def poll(self):
        return self._look(0)

    def wait(self, timeout=None):
        if self._look(timeout) is None:
            raise subprocess.TimeoutExpired(f"command {self.pid}", timeout, self.out(), self.errors())
        return self.returncode

    def communicate(self, timeout=None):
        self.wait(timeout)
        return self.out(), self.errors()

    def send_signal(self, signum):
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout):
        if self.returncode is None and select.select([self._answer], [], [], timeout)[0]:
            self.returncode = int(self._answer.recv(64))
        return self.returncode


class InterpreterCommand(subprocess.Popen):
    """A running command, started as a user starts it."""

    def __init__(self, message):
        self._output = Output()
        stdout, stderr = self._output.files
        command = [sys.executable, *message["argv"]]
        streams = {"stdin": subprocess.DEVNULL, "stdout": stdout, "stderr": stderr}
        super().__init__(command, cwd=message["cwd"], env=message["env"], start_new_session=True, **streams)
        self.out, self.errors = self._output.out, self._output.errors

    def communicate(self, timeout=None):
        self.wait(timeout)
        return self.out(), self.errors()


def start(*argv, cwd, new_interpreter=False, imports="all", **environment):
    """Start `python ARGV` in the folder `cwd`.

    It is forked from a process that has imported what it needs: `all` that the project imports, or the `few` modules of
    a sweep without a model. As a `new_interpreter`, as a user starts it, it takes seconds longer. Only Linux can fork
    it: macOS has no sockets that keep messages apart. A variable of the `environment` that is None is removed.
    """
    env = {name: value for name, value in (os.environ | ENVIRONMENT | environment).items() if value is not None}
    message = {"argv": list(map(str, argv)), "cwd": str(cwd), "env": env}
    return InterpreterCommand(message) if new_interpreter or sys.platform != "linux" else Command(message, imports)


def run(*argv, cwd, timeout=300, check=False, **how):
    """Run `python ARGV` to its end. `how`: what `start` takes."""
    command = start(*argv, cwd=cwd, **how)
    try:
        out, errors = command.communicate(timeout)
    finally:
        command.kill()
    if check:
        assert command.returncode == 0, out + errors
    return Finished(command.returncode, out, errors)


def start_together(count, *argv, cwd, **environment):
    """Start `python ARGV` in `count` processes: several get the variables that torchrun sets."""
    if count == 1:
        return [start(*argv, cwd=cwd, **environment)]
    shared = environment | {"WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    variables = [shared | {"RANK": rank, "LOCAL_RANK": rank} for rank in range(count)]
    return [start(*argv, cwd=cwd, **{name: str(value) for name, value in each.items()}) for each in variables]


def wait_while_running(command, condition):
    """Wait for `condition`, which `command` must bring about before it ends."""
    while not condition():
        assert command.poll() is None, command.errors()
        time.sleep(0.05)


def typed(name, folder):
    """How a command that works in `folder` tells a person to start "train", "judge", "sync" or "ui"."""
    with contextlib.chdir(folder):
        return command(name)


def train(folder, *overrides, check=True):
    """Run the training command to its end; if `check`, it must succeed."""
    if check:
        provide_store(folder)
    return run(*TRAIN, *overrides, cwd=folder, check=check)


def runs(folder):
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("contrastive-quality")
    return client, client.search_runs([experiment.experiment_id]) if experiment else []


def provide_store(folder, name="mlflow.db"):
    """An empty MLflow store, unless there is one: to create its tables takes MLflow seconds."""
    file = Path(folder, name)
    if not file.exists():
        shutil.copyfile(_empty_store(), file)


@functools.cache
def _empty_store():
    folder = Path(tempfile.mkdtemp(prefix="empty-store-"))
    MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db").search_experiments()
    return folder / "mlflow.db"


class ForkServer:
    """Ends when `requests` is closed: at the latest with this process."""

    def __init__(self, imports):
        self.requests, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        threads = dict.fromkeys(THREAD_VARIABLES, "1")  # a process with a thread pool must not fork
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("fork_server.py"), str(its.fileno()), imports],
            env=os.environ | IMPORTABLE | threads | {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"},
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the tests
        )
        its.close()
        atexit.register(self._end)

    def _end(self):
        self.requests.close()
        self._process.wait(10)


@functools.cache
def _fork_server(imports):
    return ForkServer(imports)


def _content(file):
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()
