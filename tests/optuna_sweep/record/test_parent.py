"""The parent run in a real store, without a sweep."""

from dataclasses import replace

import pytest

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
