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


def test_an_interrupted_command_leaves_the_answer_of_the_one_before_it(record, outcome):
    def note():
        return record._client.get_run(record.parent_run_id).data.tags["mlflow.note.content"]

    record.show(outcome)
    first = note()
    record.show(replace(outcome, answer=["A gain.", "Over six seeds."]))
    assert note().startswith("**A gain.**  \nOver six seeds.")
    record.show(outcome)
    assert note().startswith("**A gain.**  \nOver six seeds.")
    assert "A gain" not in first
