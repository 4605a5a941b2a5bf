"""The real command in a subprocess, and the real stores that it leaves."""

import os
import subprocess
import sys
import time
from pathlib import Path

import optuna
import psutil
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.pool import NullPool

ROOT = Path(__file__).parents[2]
APP = ROOT / "tests/optuna_sweep/app"
NAME = "hydra.sweeper.study_name=s"
TRACKING = "tracking=sqlite:///mlflow.db"
MODULES = (
    "optuna,mlflow.store.tracking.sqlalchemy_store,alembic.command"  # else each trial takes seconds to import them
)
LOCAL = ("hydra/launcher=local", f"hydra.launcher.preload=[{MODULES}]", "hydra.launcher.grace_seconds=2")
PRUNING = (
    "hydra/sweeper/pruner=median",
    "hydra.sweeper.pruner.n_startup_trials=2",
    "hydra.sweeper.pruner.n_warmup_steps=0",
    "epochs=4",
)
LAUNCHERS = {"basic": ("hydra/launcher=basic",), "local": LOCAL}


class Sweeps:
    """Commands in one folder."""

    def __init__(self, folder):
        self.folder = folder
        self._started = []

    def start(self, *overrides, app=None):
        paths = [str(path) for path in (ROOT / "src", ROOT, APP)]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]),
            "CUDA_VISIBLE_DEVICES": "",
        }
        command = [sys.executable, str(APP / "app.py"), "-m"] if app is None else [sys.executable, "-m", app]
        process = subprocess.Popen(
            [*command, *overrides],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def end(self):
        """Kill what a failed test has left."""
        for process in self._started:
            process.kill()
            process.communicate()

    def run(self, *overrides, app=None, code=0):
        process = self.start(*overrides, app=app)
        out, errors = process.communicate(timeout=300)
        assert process.returncode == code, out + errors
        return out + errors

    def study(self, name="s", storage=None):
        """`storage`: a database URL; else the journal file."""
        if storage is None:
            opened = JournalStorage(JournalFileBackend(str(self.folder / "optuna.journal")))
        else:
            opened = RDBStorage(storage, engine_kwargs={"poolclass": NullPool})
        return optuna.load_study(study_name=name, storage=opened)

    def states(self, name="s"):
        return [trial.state.name for trial in self.study(name).trials]

    def params(self, name="s", states=("COMPLETE", "PRUNED")):
        return [trial.params for trial in self.study(name).trials if trial.state.name in states]

    def started(self):
        """When, which process, and with which trial, x, y and seed each job began."""
        file = self.folder / "started.log"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line.split() for line in lines]

    def children(self, name="s"):
        """The sweep's parent run and its children, from MLflow."""
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=f"sqlite:///{self.folder}/mlflow.db")
        experiments = [item.experiment_id for item in client.search_experiments()]
        runs = client.search_runs(experiments)
        parents = [run for run in runs if run.data.tags.get("sweep.kind") == "parent"]
        children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
        return parents, children


def assert_mirrored(sweeps, storage=None):
    """Every trial that ran has one child run with its state; none is RUNNING."""
    parents, children = sweeps.children()
    trials = sweeps.study(storage=storage).trials
    states = {str(trial.number): trial.state.name for trial in trials if trial.state.name != "WAITING"}
    assert {run.data.tags["sweep.trial"]: run.data.tags["sweep.state"] for run in children} == states
    assert len(children) == len(states)
    assert all(run.info.status not in ("RUNNING", "SCHEDULED") for run in (*parents, *children))
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {run.info.run_id for run in parents}
    return parents, children


def is_alive(process):
    """A zombie, which waits for a parent or for init to look, is not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition, seconds=60):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)
