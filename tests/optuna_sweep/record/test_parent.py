"""The parent run in a real store, without a sweep."""

from dataclasses import replace

import pytest
from optuna.trial import TrialState, create_trial

from optuna_sweep.patience import Patience
from optuna_sweep.record.parent import MlflowRecord
from support.commands import provide_store


@pytest.fixture
def record(tmp_path):
    provide_store(tmp_path)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    names = {"ui": "http://127.0.0.1:5000", "images": [], "columns": []}
    return MlflowRecord(store, "e", "s", lambda number, params: "", {}, patience=Patience("store", 1.0), **names)


def note(record):
    return record._client.get_run(record.parent_run_id).data.tags["mlflow.note.content"]


def test_an_interrupted_command_leaves_the_answer_of_the_one_before_it(record, outcome):
    record.show(outcome)
    assert not note(record).startswith("**A gain.**")
    record.show(replace(outcome, answer=["A gain.", "Over six seeds."]))
    record.running(lambda: "4/9, about 3 min left")
    assert note(record).startswith("**Running**: 4/9, about 3 min left\n\n**A gain.**  \nOver six seeds.")
    record.running(lambda: "5/9, about 2 min left")
    assert "5/9" not in note(record)  # at most every ten seconds
    record.show(outcome)
    assert note(record).startswith("**A gain.**  \nOver six seeds.")


@pytest.mark.parametrize(
    ("state", "attributes", "expected"),
    [
        (TrialState.WAITING, {"continues": True}, ("WAITING", "KILLED")),  # interrupted: the next command continues it
        (TrialState.FAIL, {"reason": "ValueError: no", "trace": "Traceback …"}, ("FAIL", "FAILED")),
        (TrialState.FAIL, {"reason": "killed by SIGKILL"}, ("FAIL", "KILLED")),
    ],
)
def test_the_run_of_a_trial_says_how_it_ended(record, state, attributes, expected):
    own = {"mlflow.parentRunId": record.parent_run_id, "sweep.id": "s", "sweep.trial": "0", "sweep.state": "RUNNING"}
    run = record._client.create_run(record._experiment_id, tags=own).info.run_id
    trial = create_trial(state=state, user_attrs=attributes)
    trial.number = 0
    record.reconcile([trial])
    found = record._client.get_run(run)
    assert (found.data.tags["sweep.state"], found.info.status) == expected


def test_a_trial_that_failed_before_its_run_was_opened_gets_one(record):
    trial = create_trial(state=TrialState.FAIL, user_attrs={"reason": "ValueError: no", "trace": "Traceback …"})
    trial.number = 0
    record.close_trial(trial)
    (run,) = record._children("tags.`sweep.trial` = '0' and ")
    assert (run.data.tags["sweep.state"], run.info.status) == ("FAIL", "FAILED")
