"""A sweep whose trials are two gloo processes each: one Optuna trial, one MLflow run, the numbers of one process."""

import signal
from contextlib import suppress

import psutil
import pytest
from mlflow import MlflowClient

from support.commands import SMALL, TRAIN, provide_store
from support.commands import start as start_command
from support.sweeps import Sweeps, assert_mirrored, is_alive, wait_for

SWEEP = ["-m", *SMALL, "sampler.batch_size=14", "model.dropout=0", "model.encoder.dropout=0", "trainer.epochs=3"]
SWEEP += ["data.max_length=128"]  # responses that are cut are alike, and rounding may swap their ranks
SWEEP += ["hydra.sweeper.study_name=s", "hydra.sweeper.report=null", "hydra.sweeper.max_retries=0"]
SWEEP += ["hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_startup_trials=1"]
SWEEP += ["hydra.sweeper.pruner.n_warmup_steps=0", "optimizer.head_lr=${optimizer.lr}"]
SWEEP += ["tracking.log_model=false", "tracking.system_metrics=false", "hydra.launcher.num_slots=1"]
SWEEP += ["trainer.precision=fp32", "tracking.metrics=all"]


def start(folder, processes, *overrides):
    launcher = [f"hydra.launcher.processes_per_trial={processes}", f"hydra.launcher.threads_per_trial={processes}"]
    provide_store(folder)
    return start_command(*TRAIN, *SWEEP, *launcher, *overrides, cwd=folder)


def followers(trial, processes):
    """Those of a running trial that write its output, but not its log."""
    found = []
    for process in processes:
        with suppress(psutil.Error):  # it ends while it is looked at
            files = {file.path for file in process.open_files()}
            if str(trial / "job.log") in files and str(trial / "train.log") not in files:
                found.append(process)
    return found


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    process = start(folder, 1, "optimizer.lr=5e-4,1e-9")
    _, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    return Sweeps(folder)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Of the second trial one process is killed."""
    folder = tmp_path_factory.mktemp("two")
    process = start(folder, 2, "optimizer.lr=5e-4,1e-3,1e-9")
    killed = folder / "multirun/s/001"
    wait_for((killed / "checkpoints/checkpoints.json").exists, seconds=200)
    children = psutil.Process(process.pid).children(recursive=True)
    (follower,) = followers(killed, children)
    follower.send_signal(signal.SIGKILL)
    wait_for((folder / "multirun/s/002/job.log").exists, seconds=200)
    children += psutil.Process(process.pid).children(recursive=True)
    _, errors = process.communicate(timeout=400)
    assert process.returncode == 1, errors
    assert "error: 1 of 3 trials failed: 001 its process of rank 1 was killed by SIGKILL" in errors
    wait_for(lambda: not any(map(is_alive, children)), seconds=5)
    return Sweeps(folder)


def points_of(sweeps):
    """Of each trial: (metric, step) -> value."""
    _, children = assert_mirrored(sweeps)
    client = MlflowClient(tracking_uri=f"sqlite:///{sweeps.folder}/mlflow.db")
    return {
        int(run.data.tags["sweep.trial"]): {
            (name, point.step): point.value
            for name in run.data.metrics
            if not name.endswith(("second", "seconds"))
            for point in client.get_metric_history(run.info.run_id, name)
        }
        for run in children
    }


@pytest.mark.slow
def test_two_processes_are_one_trial_and_end_together_where_it_is_pruned(one, two):
    trials, same = one.study().trials, two.study().trials[::2]
    assert [trial.state.name for trial in trials] == [trial.state.name for trial in same] == ["COMPLETE", "PRUNED"]
    for expected, found in zip(trials, same, strict=True):
        assert found.value == pytest.approx(expected.value, abs=1e-4)
        assert found.intermediate_values == pytest.approx(expected.intermediate_values, abs=1e-4)
    expected, found = points_of(one), points_of(two)
    assert found[0] == pytest.approx(expected[0], rel=1e-4, abs=1e-4)
    assert found[2] == pytest.approx(expected[1], rel=1e-4, abs=1e-4)
    log = (two.folder / "multirun/s/002/job.log").read_text()
    assert log.count("pruned after epoch 1") == 1
    assert not list(one.folder.glob("multirun/s/*/checkpoints"))
    assert "Traceback" not in log


@pytest.mark.slow
def test_a_killed_process_fails_its_trial_alone(two):
    assert two.states() == ["COMPLETE", "FAIL", "PRUNED"]
    failed = two.study().trials[1]
    assert failed.user_attrs["reason"].startswith("its process of rank 1 was killed by SIGKILL")
    assert not (two.folder / "multirun/s/001/result.json").exists()  # the other one waits to be ended
    _, children = assert_mirrored(two)
    (run,) = (run for run in children if run.data.tags["sweep.trial"] == "1")
    assert run.info.status in ("FAILED", "KILLED")
    assert run.data.tags["sweep.reason"] == failed.user_attrs["reason"]
