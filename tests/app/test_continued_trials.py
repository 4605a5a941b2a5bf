"""A trial that was interrupted, or paused at a rung, continues as the same trial, in the same MLflow run."""

import shutil
import signal

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from support.commands import NIGHTLY, ONE_THREAD, SMALL, TRAIN, provide_store, runs, wait_while_running
from support.commands import start as start_command
from support.sweeps import wait_for

SWEEP = ["-m", *SMALL, "loss.temperature=interval(0.1,0.2)", "hydra.sweeper.study_name=s", "hydra.sweeper.n_trials=1"]
SWEEP += ["hydra/sweeper/sampler=random", "hydra.launcher.num_slots=1", "trainer.epochs=4", "tracking.log_model=false"]
SWEEP += ["tracking.system_metrics=false", "hydra.sweeper.report=null", ONE_THREAD]
ENDS = [(signal.SIGKILL, 1), (signal.SIGTERM, 2), *([(signal.SIGTERM, 1)] if NIGHTLY else [])]


def start(folder, processes, *overrides):
    provide_store(folder)
    return start_command(*TRAIN, *SWEEP, f"hydra.launcher.processes_per_trial={processes}", *overrides, cwd=folder)


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


@pytest.mark.slow
def test_a_trial_that_was_killed_before_it_noted_its_run_goes_on_in_that_run(tmp_path):
    noted = tmp_path / "multirun/s/000/run.json"
    process = start(tmp_path, 1)
    wait_while_running(process, noted.exists)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    wait_for(lambda: not noted.with_name("outbox.lock").exists())  # its process has ended with the sweep
    noted.unlink()
    shutil.rmtree(noted.parent / "checkpoints", ignore_errors=True)
    again = start(tmp_path, 1)
    _, errors = again.communicate(timeout=400)
    assert again.returncode == 0, errors
    (child,) = (run for run in runs(tmp_path)[1] if "mlflow.parentRunId" in run.data.tags)
    assert (child.info.status, child.data.tags["sweep.state"]) == ("FINISHED", "COMPLETE")
    assert child.data.params["trainer.epochs"] == "4"


CURVES = ("train/total_loss", "val/auroc", "report/val/macro_f1")
IN_STEPS = ("sampler.batch_size=32", "trainer.report_every=1")  # three reports per epoch


def swept(folder, *overrides):
    """The trials, and by trial the run of it, of a sweep in `folder`; what it printed, and (epoch, value) of curves."""
    folder.mkdir()
    process = start(folder, 1, *overrides)
    _, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    study = optuna.load_study(
        study_name="s", storage=JournalStorage(JournalFileBackend(str(folder / "optuna.journal")))
    )
    client, found = runs(folder)
    children = {int(run.data.tags["sweep.trial"]): run for run in found if "mlflow.parentRunId" in run.data.tags}
    run_id = children[study.best_trial.number].info.run_id
    curves = [client.get_metric_history(run_id, name) for name in CURVES]
    return study, children, errors, [[(point.step, point.value) for point in curve] for curve in curves]


@pytest.mark.slow
def test_a_paused_trial_ends_with_the_same_bits_as_one_that_never_paused(tmp_path):
    """Of two trials none is among the best third of its rung, so the better one pauses at the reports 1, 3 and 9.

    Three reports are an epoch: the first pause is within one, the others are at the end of one.
    """
    pruner = ("loss.temperature=0.1,0.2", "hydra/sweeper/pruner=promotion", "hydra.sweeper.n_trials=2")
    study, children, errors, curves = swept(tmp_path / "paused", *pruner, *IN_STEPS)
    best = study.best_trial
    assert errors.count(f"trial {best.number:03d} τ={best.params['loss.temperature']}  PAUSED at rung ") == 3
    assert sorted(trial.state.name for trial in study.trials) == ["COMPLETE", "PRUNED"]
    low, high = best.user_attrs["interval"]
    assert low <= best.value <= high
    assert f"  best {best.value:.4g} [{low:.4g}, {high:.4g}] ({best.number:03d})  " in errors
    for number, run in children.items():
        assert (run.info.status, run.data.tags["sweep.state"]) == ("FINISHED", study.trials[number].state.name)
    assert not list(tmp_path.glob("paused/multirun/s/*/checkpoints"))
    only = f"loss.temperature=choice({best.params['loss.temperature']})"
    whole, _, _, expected = swept(tmp_path / "whole", only, *IN_STEPS)
    assert (best.value, curves) == (whole.best_value, expected)
    assert [step for step, _ in curves[0]] == [1, 2, 3, 4]
    assert [step for step, _ in curves[2]] == list(best.intermediate_values) == list(range(1, 13))
    assert dict(curves[2]) == best.intermediate_values
