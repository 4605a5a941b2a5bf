"""A sweep that is interrupted in mid-trial: the same command goes on with the same trial and the same MLflow run."""

import os
import signal
import subprocess
import time

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from test_train import ROOT, SMALL, command, runs

SWEEP = ["-m", *SMALL, "trainer.epochs=8", "loss.temperature=0.1,0.2", "hydra.sweeper.study_name=s"]


def start(folder):
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "CUDA_VISIBLE_DEVICES": ""}
    arguments = command(*SWEEP, "hydra.launcher.num_slots=1")
    return subprocess.Popen(arguments, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_trial_goes_on_as_itself(tmp_path, signum):
    process = start(tmp_path)
    index = tmp_path / "multirun/s/000/checkpoints/checkpoints.json"
    while not index.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signum)
    assert process.wait(timeout=60) == (143 if signum == signal.SIGTERM else -signal.SIGKILL)
    again = start(tmp_path)
    _, errors = again.communicate(timeout=400)
    assert again.returncode == 0, errors
    study = optuna.load_study(
        study_name="s", storage=JournalStorage(JournalFileBackend(str(tmp_path / "optuna.journal")))
    )
    assert [(trial.number, trial.state.name) for trial in study.trials] == [(0, "COMPLETE"), (1, "COMPLETE")]
    client, found = runs(tmp_path)
    children = sorted(
        (run for run in found if "mlflow.parentRunId" in run.data.tags), key=lambda run: run.info.run_name
    )
    assert [run.info.run_name for run in children] == ["000 τ=0.1", "001 τ=0.2"]
    assert [(run.info.status, run.data.tags["sweep.state"]) for run in children] == [("FINISHED", "COMPLETE")] * 2
    assert "error" not in children[0].data.tags
    for run in children:
        points = client.get_metric_history(run.info.run_id, "train/total_loss")
        assert {point.step for point in points} == set(range(1, 9))
    assert study.trials[0].value == children[0].data.metrics["final/val/macro_f1"]
