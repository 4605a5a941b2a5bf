"""Sweeps of a small app or of the real model, and the real stores that they leave."""

import os
import time

import optuna
import psutil
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.pool import NullPool

from support.commands import ROOT, provide_store, start

APP = ROOT / "tests/optuna_sweep/app"
PATHS = os.pathsep.join(map(str, (ROOT / "src", ROOT, APP)))
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
PROMOTION = (
    "hydra/sweeper/pruner=promotion",
    "hydra.sweeper.continue_interrupted=true",
    "hydra.sweeper.discard=app.discard",
    "epochs=9",
)
LAUNCHERS = {"basic": ("hydra/launcher=basic",), "local": LOCAL}


class Sweeps:
    """Commands in one folder."""

    def __init__(self, folder):
        self.folder = folder
        self._started = []

    def start(self, *overrides, app=None, store=True, new_interpreter=False):
        """Start the small app's sweep, or the module `app`. `store`: what is recorded finds a store."""
        if store and TRACKING in overrides:
            provide_store(self.folder)
        argv = (APP / "app.py", "-m") if app is None else ("-m", app)
        command = start(*argv, *overrides, cwd=self.folder, new_interpreter=new_interpreter, PYTHONPATH=PATHS)
        self._started.append(command)
        return command

    def end(self):
        """Kill what a failed test has left."""
        for command in self._started:
            command.kill()
            command.wait()

    def run(self, *overrides, app=None, code=0):
        command = self.start(*overrides, app=app)
        out, errors = command.communicate(timeout=300)
        assert command.returncode == code, out + errors
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

    def epochs(self):
        """(trial, epoch) of each epoch that was trained, in their order."""
        file = self.folder / "epochs.log"
        return [tuple(map(int, line.split())) for line in file.read_text().splitlines()] if file.exists() else []

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
