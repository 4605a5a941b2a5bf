import pytest

from optuna_sweep.errors import SweepError
from optuna_sweep.study.storage import check_apart, resolve


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
