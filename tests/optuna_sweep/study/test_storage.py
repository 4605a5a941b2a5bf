import json
import os
import sqlite3
import tempfile
from contextlib import closing

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages._rdb.models import BaseModel
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import create_engine

from optuna_sweep.errors import SweepError
from optuna_sweep.study.storage import check_apart, check_storage, open_storage, resolve, storage_lock


def test_a_shared_database_is_refused_without_its_password():
    url = "postgresql://me:secret@host/studies"
    with pytest.raises(SweepError, match=r"cannot share one database: postgresql://\*\*\*@host/studies$"):
        check_apart(resolve(url), url)


@pytest.mark.parametrize("uri", [None, "sqlite:///mlflow.db", "http://127.0.0.1:5000"])
def test_databases_of_their_own_are_fine(uri):
    check_apart(resolve("sqlite:///study.db"), uri)


def test_files_are_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve(None) == str(tmp_path / "optuna.journal")
    assert resolve("nested/study.journal") == str(tmp_path / "nested/study.journal")
    assert resolve("sqlite:///study.db") == f"sqlite:///{tmp_path}/study.db"
    assert resolve("postgresql://host/studies") == "postgresql://host/studies"
    database = {"_target_": "optuna.storages.RDBStorage", "url": "sqlite:///study.db?timeout=9", "engine_kwargs": {}}
    assert resolve(database) == database | {"url": f"sqlite:///{tmp_path}/study.db?timeout=9"}
    file = {"_target_": "optuna.storages.journal.JournalFileBackend", "file_path": "./nested/study.log"}
    journal = {"_target_": "optuna.storages.JournalStorage", "log_storage": file}
    assert resolve(journal) == journal | {"log_storage": file | {"file_path": f"{tmp_path}/nested/study.log"}}


def test_a_mapping_with_a_url_is_checked_and_locked_as_the_url(tmp_path):
    (tmp_path / "notes.jsonl").write_text('{"response": "this is no database"}\n' * 40)
    url = f"sqlite:///{tmp_path}/notes.jsonl"
    storage = {"_target_": "optuna.storages.RDBStorage", "url": url}
    with pytest.raises(SweepError, match=r"storage: .*notes.jsonl cannot be opened: file is not a database"):
        check_storage(storage)
    with pytest.raises(SweepError, match="cannot share one database"):
        check_apart(storage, url)
    assert storage_lock(storage).lock_file == storage_lock(url).lock_file


@pytest.mark.parametrize(
    ("version", "way_out"), [("v2.6.0.a", "optuna storage upgrade"), ("v9.9.9.a", "updating optuna")]
)
def test_a_database_of_another_optuna_is_one_line_with_the_way_out(tmp_path, version, way_out):
    path = tmp_path / "study.db"
    url = f"sqlite:///{path}"
    assert open_storage(url).get_all_studies() == []
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", [version])
    check_storage(url)
    before = path.read_bytes()
    with pytest.raises(SweepError, match=rf"^hydra\.sweeper\.storage: {url}: .* table schema .*{way_out}.*$") as error:
        open_storage(url)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before


def test_tables_that_another_command_is_just_making_are_optunas(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    made_first = BaseModel.metadata.sorted_tables[:2]
    BaseModel.metadata.create_all(create_engine(url), tables=made_first)
    check_storage(url)
    assert optuna.get_all_study_names(open_storage(url)) == []
    with closing(sqlite3.connect(tmp_path / "other.db")) as database:
        database.execute("CREATE TABLE studies (name TEXT)")
        database.execute("CREATE TABLE patients (name TEXT)")
    with pytest.raises(SweepError, match="holds the tables of another program"):
        check_storage(f"sqlite:///{tmp_path}/other.db")


@pytest.fixture
def counted_lines(monkeypatch):
    """The lines of a journal that were parsed."""
    lines, parse = [], json.loads

    def count(line):
        lines.append(line)
        return parse(line)

    monkeypatch.setattr("optuna.storages.journal._file.json.loads", count)
    return lines


def journal_of(path, num_trials):
    """A journal with a study of COMPLETE trials, and the study."""
    study = optuna.create_study(study_name="s", storage=open_storage(str(path)))
    for number in range(num_trials):
        study.add_trial(optuna.trial.create_trial(value=number / 7, intermediate_values={1: number}))
    return study


@pytest.fixture
def snapshots(tmp_path, monkeypatch):
    """Where they are."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"optuna_sweep-{os.getuid()}"


@pytest.mark.usefixtures("snapshots")
def test_a_long_journal_is_opened_from_its_snapshot_and_gives_the_same_trials(tmp_path, counted_lines):
    path = tmp_path / "study.journal"
    study = journal_of(path, 250)
    study.tell(study.ask(), 3.0)
    plain = optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend(str(path))))
    counted_lines.clear()
    again = optuna.load_study(study_name="s", storage=open_storage(str(path)))
    assert len(counted_lines) < 60  # since trial 200
    assert again.trials == plain.trials
    trial = again.ask()
    trial.report(0.5, 1)
    again.tell(trial, 4.0)
    assert study.trials == again.trials
    assert len(study.trials) == 252


def test_a_snapshot_that_others_could_have_written_is_not_read(tmp_path, snapshots, counted_lines):
    path = tmp_path / "study.journal"
    journal_of(path, 150)
    assert len(list(snapshots.iterdir())) == 1
    snapshots.chmod(0o777)
    counted_lines.clear()
    open_storage(str(path))
    assert len(counted_lines) > 150


@pytest.mark.parametrize("damage", ["journal replaced", "journal cut off", "snapshot emptied", "snapshot cut off"])
def test_a_snapshot_that_does_not_fit_its_journal_is_not_used(tmp_path, snapshots, damage):
    path = tmp_path / "study.journal"
    journal_of(path, 150)
    (snapshot,) = snapshots.iterdir()
    match damage:
        case "journal replaced":
            path.unlink()
            journal_of(tmp_path / "other.journal", 99)
            (tmp_path / "other.journal").rename(path)
        case "journal cut off":
            path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:51]))
        case "snapshot emptied":
            snapshot.write_bytes(b"")
        case "snapshot cut off":
            snapshot.write_bytes(snapshot.read_bytes()[:-9])
    plain = optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend(str(path))))
    assert optuna.load_study(study_name="s", storage=open_storage(str(path))).trials == plain.trials
