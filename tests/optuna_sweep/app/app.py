"""A task without a model: x^2 + y^2, and every way to fail."""

import os
import random
import signal
import sqlite3
import sys
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from optuna.storages import JournalStorage

from hydra_plugins.contrastive_sweeper.trial import ConfigurationError, current_trial


class UnpicklableError(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} {two}")
        self.handle = lambda: None


def fail(kind):
    match kind:
        case "exception":
            raise RuntimeError("boom")
        case "not_a_number":
            return float("nan")
        case "none":
            return None
        case "text":
            return "good"
        case "missing":
            return {"other": 1.0}
        case "misspelt":
            raise ConfigurationError("there is no metric los (did you mean loss?)")
        case "exit":
            sys.exit(3)
        case "unpicklable":
            raise UnpicklableError("cannot", "travel")
        case "sigkill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(60)
        case "hang_in_the_store":
            let_mlflow_wait_a_second()
            connection = sqlite3.connect("mlflow.db")
            connection.execute("BEGIN IMMEDIATE")
            Path("held").touch()
            time.sleep(60)
    return None


def let_mlflow_wait_a_second():
    """Not twenty, for a locked SQLite file."""
    from sqlalchemy import Engine, event

    @event.listens_for(Engine, "before_cursor_execute", retval=True)
    def shorten(connection, cursor, statement, parameters, context, executemany):
        return statement.replace("busy_timeout = 20000", "busy_timeout = 1000"), parameters


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(config):
    with Path("started.log").open("a") as log:
        log.write(f"{time.time()} {os.getpid()} {current_trial().number} {config.x!r} {config.y!r} {config.seed}\n")
    value = config.x**2 + config.y**2 + random.Random(f"{config.seed} {config.x}").gauss(0, config.noise)
    if config.seed == 0 and config.x == config.lucky_x:
        value -= config.lucky
    if config.x == config.long_x:
        time.sleep(config.long_seconds)
    with run(config) as client:
        trial = current_trial()
        checkpoint = Path(HydraConfig.get().runtime.output_dir, "checkpoint")  # the number of epochs that are done
        done = int(checkpoint.read_text()) if trial.continues and checkpoint.exists() else 0
        for epoch in range(done + 1, config.epochs + 1):
            time.sleep(config.epoch_seconds)
            trial.report(value + config.slope * (config.epochs - epoch), epoch)
            client.log(epoch, value)
            checkpoint.write_text(str(epoch))
            with Path("epochs.log").open("a") as log:
                log.write(f"{trial.number} {epoch}\n")
            if epoch < config.epochs and trial.should_prune():
                return value
        client.log_final(value)
        if config.x == config.killed_x:
            fail("sigkill")
        if config.failure is not None and config.failing_x in (None, config.x):
            return fail(config.failure)
    if config.limit is not None:
        trial.set_constraint("limit", config.x - config.limit)
    return {"single": value, "pair": (value, -config.x), "dict": {"loss": value, "other": 1.0}}[config.kind]


class run:  # noqa: N801  reads as in `with run(config)`
    """An MLflow run like the one of a real task, where `tracking` is set."""

    def __init__(self, config):
        self.config, self.uri = config, config.tracking

    def __enter__(self):
        if self.uri is not None:
            from mlflow import MlflowClient

            self.client = MlflowClient(tracking_uri=self.uri)
            experiment = self.client.get_experiment_by_name("app").experiment_id
            trial, file = current_trial(), Path(HydraConfig.get().runtime.output_dir, "run_id")
            if trial.continues and file.exists():
                self.run_id = file.read_text()
                self.client.update_run(self.run_id, status="RUNNING")
                for name, value in trial.tags().items():
                    self.client.set_tag(self.run_id, name, value)
                return self
            self.run_id = self.client.create_run(experiment, run_name=trial.run_name, tags=trial.tags()).info.run_id
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.run_id)
            for name in ("x", "y", "name"):
                self.client.log_param(self.run_id, name, self.config[name])
        return self

    def log(self, epoch, value):
        if self.uri is not None:
            self.client.log_metric(self.run_id, "value", value + epoch / 10, step=epoch)

    def log_final(self, value):
        if self.uri is not None:
            self.client.log_metric(self.run_id, "final/value", value)

    def __exit__(self, kind, error, trace):
        if self.uri is not None:
            status = "FINISHED" if kind is None else "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
            self.client.set_terminated(self.run_id, status)


class KilledStorage(JournalStorage):
    """kill -9 of this process just before it writes for the time that `KILLED_BEFORE` says, if it does."""

    writes = 0

    def _write_log(self, *arguments):
        KilledStorage.writes += 1
        if str(self.writes) == os.environ.get("KILLED_BEFORE"):
            os.kill(os.getpid(), signal.SIGKILL)
        super()._write_log(*arguments)


class InterruptedStorage(JournalStorage):
    """Ctrl-C, once, just after the study has heard of the second trial what `INTERRUPTED_AFTER` says."""

    def create_new_trial(self, study_id, template_trial=None):
        trial_id = super().create_new_trial(study_id, template_trial)
        self._interrupt_after(trial_id, self.get_trial(trial_id).state.name)
        return trial_id

    def set_trial_state_values(self, trial_id, state, values=None):
        was_set = super().set_trial_state_values(trial_id, state, values)
        self._interrupt_after(trial_id, state.name)
        return was_set

    def _interrupt_after(self, trial_id, event):
        marker = Path("interrupted")
        if event == os.environ["INTERRUPTED_AFTER"] and self.get_trial(trial_id).number == 1 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGINT)


def configure(config, trial):
    """The custom search space of the official plugin's example."""
    x = trial.params["x"]
    trial.suggest_float("y", x - 1, x + 1)
    trial.suggest_float("+w", 0.0, 1.0)


def discard(config, folder):
    assert config.name == "a"
    (folder / "checkpoint").unlink(missing_ok=True)


def report(config, outcome, folder):
    if config.name == "unreportable":
        raise RuntimeError("nothing to say")
    if config.name == "slow":
        Path("reporting").touch()
        time.sleep(60)
    (folder / "report.txt").write_text(" ".join(f"{trial.number:03d}" for trial in outcome.trials))
    yield folder / "report.txt"


def preflight(config):
    if config.name == "missing":
        raise ValueError("there is no data called missing")
    return config.name


if __name__ == "__main__":
    main()
