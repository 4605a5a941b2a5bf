"""Commands that start at once on one study, from an empty folder."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from optuna_sweep.study.storage import PostgresLock, open_storage
from support.commands import NIGHTLY, nightly
from support.sweeps import LOCAL, NAME, TRACKING, Sweeps, assert_mirrored, wait_for

pytestmark = pytest.mark.slow

FOUR_SLOTS = (*LOCAL, "hydra.launcher.num_slots=4")
SEARCH = (
    "x=interval(0.0,1.0)",
    "y=interval(0.0,1.0)",
    "hydra/sweeper/sampler=tpe",
    "hydra.sweeper.enqueue=[{x:1,y:1}]",
)


def run_together(sweeps, *overrides, trials, storage=None):
    """Two commands; neither may fail, run a trial too many, repeat one, or leave it out of MLflow."""
    place = [] if storage is None else [f"hydra.sweeper.storage={storage}"]
    command = (NAME, TRACKING, *FOUR_SLOTS, "epochs=2", f"hydra.sweeper.n_trials={trials}", *place, *overrides)
    processes = [sweeps.start(*command, store=False) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    done = sweeps.study(storage=storage).trials
    assert [trial.state for trial in done] == [TrialState.COMPLETE] * trials
    assert len({str(trial.params) for trial in done}) == len(sweeps.started()) == trials
    assert all(len(trial.intermediate_values) == 2 for trial in done)
    (parent,), _ = assert_mirrored(sweeps, storage)
    assert parent.info.status == "FINISHED"
    return {trial.user_attrs["owner"] for trial in done}


@pytest.mark.parametrize("attempt", range(10 if NIGHTLY else 1))
def test_two_commands_of_four_slots_start_from_an_empty_folder(sweeps, attempt):
    storage = None if attempt % 2 else f"sqlite:///{sweeps.folder}/study.db"
    run_together(sweeps, *SEARCH, trials=6, storage=storage)


@pytest.mark.parametrize(
    "space", [pytest.param(SEARCH, id="search"), pytest.param(("x=range(4)", "y=range(2)"), id="grid", marks=nightly)]
)
def test_two_commands_share_one_study_in_postgresql(sweeps, postgres, space):
    owners = run_together(sweeps, *space, "epoch_seconds=0.5", trials=8, storage=postgres.url)
    assert len(owners) == 2


def test_the_lock_of_a_database_is_one_for_all_and_does_not_outlive_a_crash(postgres):
    mine, other = PostgresLock(postgres.url), PostgresLock(postgres.url)
    mine.acquire()
    mine.acquire()
    mine.release()
    with ThreadPoolExecutor(1) as waiting:
        acquired = waiting.submit(other.acquire)
        time.sleep(0.5)
        assert not acquired.done()
        mine.release()
        acquired.result(timeout=10)
    postgres.stop()
    postgres.start()
    mine.acquire()
    other.release()
    mine.release()


def test_what_one_machine_interrupts_another_repeats(tmp_path):
    """Its folder is not there: the trial and its run are closed, and another trial has its parameters."""
    one, two = Sweeps(tmp_path / "one"), Sweeps(tmp_path / "two")
    shared = (f"hydra.sweeper.storage={tmp_path}/study.journal", f"tracking=sqlite:///{tmp_path}/mlflow.db")
    command = (NAME, *LOCAL, *shared, "x=1,2", "epochs=4", "epoch_seconds=0.5")
    command += ("hydra.sweeper.continue_interrupted=true",)
    for machine in (one, two):
        machine.folder.mkdir()
    process = one.start(*command)
    wait_for(lambda: one.started())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    two.run(*command)
    trials = optuna.load_study(study_name="s", storage=open_storage(str(tmp_path / "study.journal"))).trials
    assert [(trial.state.name, trial.params) for trial in trials] == [
        ("FAIL", {"x": 1}),
        ("COMPLETE", {"x": 2}),
        ("COMPLETE", {"x": 1}),
    ]
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([item.experiment_id for item in client.search_experiments()])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert {run.data.tags["sweep.trial"]: run.data.tags["sweep.state"] for run in children} == {
        str(trial.number): trial.state.name for trial in trials
    }
    assert len(children) == 3


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        (
            "postgresql://nobody@127.0.0.1:1/none",
            "hydra.sweeper.storage: postgresql://***@127.0.0.1:1/none cannot be opened",
        ),
        ("nosuchdatabase://host/name", "hydra.sweeper.storage: nosuchdatabase://host/name names a kind of database"),
    ],
)
def test_a_database_that_cannot_be_opened_is_one_line(sweeps, storage, message):
    out = sweeps.run(NAME, "x=1,2", f"hydra.sweeper.storage={storage}", code=1)
    assert message in out
    assert "Traceback" not in out
    assert sweeps.started() == []
