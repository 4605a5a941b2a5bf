"""A sweep that is interrupted in mid-trial: the same command goes on with the same trial and the same MLflow run."""

import signal

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from support.commands import NIGHTLY, SMALL, TRAIN, provide_store, runs, wait_while_running
from support.commands import start as start_command

SWEEP = ["-m", *SMALL, "loss.temperature=interval(0.1,0.2)", "hydra.sweeper.study_name=s", "hydra.sweeper.n_trials=1"]
SWEEP += ["hydra/sweeper/sampler=random", "hydra.launcher.num_slots=1", "trainer.epochs=4", "tracking.log_model=false"]
ENDS = [(signal.SIGKILL, 1), (signal.SIGTERM, 2), *([(signal.SIGTERM, 1)] if NIGHTLY else [])]


def start(folder, processes):
    provide_store(folder)
    return start_command(*TRAIN, *SWEEP, f"hydra.launcher.processes_per_trial={processes}", cwd=folder)


@pytest.mark.slow
@pytest.mark.parametrize(("signum", "processes"), ENDS)
def test_an_interrupted_trial_goes_on_as_itself(tmp_path, signum, processes):
    process = start(tmp_path, processes)
    index = tmp_path / "multirun/s/000/checkpoints/checkpoints.json"
    wait_while_running(process, index.exists)
    process.send_signal(signum)
    process.communicate(timeout=60)
    assert process.returncode == (143 if signum == signal.SIGTERM else -signal.SIGKILL)
    again = start(tmp_path, processes)
    _, errors = again.communicate(timeout=400)
    assert again.returncode == 0, errors
    study = optuna.load_study(
        study_name="s", storage=JournalStorage(JournalFileBackend(str(tmp_path / "optuna.journal")))
    )
    (trial,) = study.trials
    client, found = runs(tmp_path)
    (child,) = (run for run in found if "mlflow.parentRunId" in run.data.tags)
    assert (trial.state.name, child.info.status, child.data.tags["sweep.state"]) == ("COMPLETE", "FINISHED", "COMPLETE")
    assert "error" not in child.data.tags
    points = client.get_metric_history(child.info.run_id, "train/total_loss")
    assert {point.step for point in points} == set(range(1, 5))
    assert trial.value == child.data.metrics["final/val/macro_f1"]
    assert trial.user_attrs["retries"] == (0 if signum == signal.SIGTERM else 1)
