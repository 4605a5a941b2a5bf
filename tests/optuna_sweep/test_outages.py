"""A study's storage that goes away in mid-sweep."""

import resource
import signal
import threading
import time

import optuna
import pytest
from optuna.storages import JournalStorage, RDBStorage
from optuna.trial import TrialState
from sqlalchemy import create_engine, text

from optuna_sweep.patience import AwayError, Patience
from optuna_sweep.study.patient_storage import PatientStorage
from optuna_sweep.study.storage import open_storage
from support.sweeps import LOCAL, NAME, PRUNING, TRACKING, assert_mirrored, wait_for


class LostAnswers(JournalStorage):
    """Obeys the next call, but its answer does not arrive."""

    loses = False

    def create_new_trial(self, *arguments):
        return self._lose(super().create_new_trial(*arguments))

    def set_trial_state_values(self, *arguments):
        return self._lose(super().set_trial_state_values(*arguments))

    def _lose(self, answer):
        if self.loses:
            self.loses = False
            raise OSError("connection reset")
        return answer


def test_a_call_whose_answer_is_lost_is_not_obeyed_twice(tmp_path):
    losing = LostAnswers(open_storage(str(tmp_path / "study.journal"))._backend)
    study = optuna.create_study(storage=PatientStorage(losing, Patience("study.journal", seconds=5)))
    losing.loses = True
    study.enqueue_trial({"x": 1})
    assert [trial.state for trial in study.trials] == [TrialState.WAITING]
    trial = study.ask()
    losing.loses = True
    study.tell(trial, 1.0)
    assert [(trial.state, trial.value) for trial in study.trials] == [(TrialState.COMPLETE, 1.0)]


def test_a_locked_sqlite_file_is_waited_for(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/study.db"
    locked = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 0.1}})
    patient = PatientStorage(locked, Patience("study.db", seconds=20))
    study = optuna.create_study(storage=patient)
    with create_engine(url).connect() as other:
        other.execute(text("BEGIN EXCLUSIVE"))
        threading.Timer(0.5, other.rollback).start()
        study.set_user_attr("x", 1)
    assert study.user_attrs == {"x": 1}
    away, back = capsys.readouterr().err.splitlines()
    assert away == "study.db is away, waiting up to 20 s (storage_patience): database is locked"
    assert back.startswith("study.db is back after ")


def test_a_full_disk_is_waited_for_and_leaves_no_half_line(tmp_path):
    path = tmp_path / "study.journal"
    study = optuna.create_study(storage=PatientStorage(open_storage(str(path)), Patience(path.name, seconds=20)))
    study.set_user_attr("more than what pytest itself writes meanwhile", "x" * 10_000_000)
    size, before = path.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
    threading.Timer(0.5, resource.setrlimit, (resource.RLIMIT_FSIZE, before)).start()
    study.enqueue_trial({"x": 1})
    assert len(optuna.load_study(study_name=None, storage=open_storage(str(path))).trials) == 1


def test_what_stays_away_is_waited_for_once(tmp_path, capsys):
    patient = PatientStorage(open_storage(str(tmp_path / "folder/study.journal")), Patience("study.journal", 1))
    study = optuna.create_study(storage=patient)
    (tmp_path / "folder").rename(tmp_path / "elsewhere")
    with patient.patience.unless_away():
        study.enqueue_trial({"x": 1})
        pytest.fail("the block should end here")
    with pytest.raises(AwayError, match=r"study.journal stayed away for 1 s .* No such file"):
        study.enqueue_trial({"x": 1})
    assert "is away, waiting up to 1 s" in capsys.readouterr().err
    with pytest.raises(AwayError, match="stayed away for 0 s"):
        study.enqueue_trial({"x": 1})
    assert capsys.readouterr().err == ""


def search(postgres, *overrides, trials):
    storage = (f"hydra.sweeper.storage={postgres.url}", f"hydra.sweeper.n_trials={trials}")
    space = ("x=interval(0.0,1.0)", "y=interval(0.0,1.0)", "hydra/sweeper/sampler=random")
    return (NAME, TRACKING, *LOCAL, *PRUNING, *space, *storage, *overrides)


def assert_whole(sweeps, postgres, trials):
    """Each trial once, with all that it reported; the record agrees."""
    done = sweeps.study(storage=postgres.url).trials
    assert {trial.state for trial in done} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert len(done) == len({str(trial.params) for trial in done}) == trials
    for trial in done:
        last = 4 if trial.state == TrialState.COMPLETE else trial.last_step
        assert list(trial.intermediate_values) == list(range(1, last + 1))
    assert_mirrored(sweeps, postgres.url)


@pytest.mark.slow
def test_training_goes_on_while_the_database_restarts(sweeps, postgres):
    """Down for longer than a trial takes: trials end, and nobody takes their results for a while."""
    process = sweeps.start(*search(postgres, "hydra.launcher.num_slots=2", "epoch_seconds=0.25", trials=6))
    wait_for(lambda: len(sweeps.started()) == 4)
    postgres.stop()
    time.sleep(3)
    postgres.start()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert errors.count("is away, waiting up to 600 s") == errors.count("is back after") == 1
    assert len(sweeps.started()) == 6
    assert_whole(sweeps, postgres, trials=6)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["patience", "Ctrl-C"])
def test_a_database_that_does_not_return_ends_the_sweep_until_the_next_start(sweeps, postgres, ending):
    patience = 2 if ending == "patience" else 600
    command = search(postgres, f"hydra.sweeper.storage_patience={patience}", "epoch_seconds=0.2", trials=4)
    process = sweeps.start(*command)
    wait_for(lambda: len(sweeps.started()) == 2)
    postgres.stop()
    if ending == "Ctrl-C":
        wait_for(lambda: "is away" in process.errors())
        process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    postgres.start()
    assert process.returncode == (1 if ending == "patience" else 130), errors
    assert "Traceback" not in errors
    if ending == "patience":
        assert errors.count("stayed away for 2 s (storage_patience): connection") == 1
    (parent,), _ = sweeps.children()
    assert parent.info.status == ("FAILED" if ending == "patience" else "KILLED")
    sweeps.run(*command)
    assert_whole(sweeps, postgres, trials=4)
