import os
import tempfile

import pytest
from filelock import Timeout
from mlflow import MlflowClient

from mlflow_stores import creation_lock, experiment_id, metric_name, quiet_client_settings


def test_an_experiment_is_created_once_with_its_artifacts_beside_the_store(tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path}/store/mlflow.db"
    monkeypatch.chdir(tmp_path)
    with creation_lock(uri):
        client = MlflowClient(tracking_uri=uri)
        created = experiment_id(client, uri, "a/b c")
        assert experiment_id(client, uri, "a/b c") == created
    location = client.get_experiment(created).artifact_location
    assert location == (tmp_path / "store" / "mlartifacts" / "a_b_c").as_uri()


def test_one_process_at_a_time_uses_a_store_first(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with creation_lock(uri), pytest.raises(Timeout):
        creation_lock(uri).acquire(timeout=0)
    with creation_lock(uri):
        assert (tmp_path / "mlflow.db.lock").exists()


def test_all_servers_share_a_lock_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with creation_lock("http://host:5000"), pytest.raises(Timeout):
        creation_lock("postgresql://host/db").acquire(timeout=0)
    assert (tmp_path / ".cache" / "contrastive_learning").is_dir()


def test_servers_need_no_home_that_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "home").write_text("not a folder")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with creation_lock("http://host:5000"), pytest.raises(Timeout):
        creation_lock("postgresql://host/db").acquire(timeout=0)
    (folder,) = tmp_path.glob("contrastive_learning-*")
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="tracking.uri must point into a folder that can be written"):
        creation_lock(f"sqlite:///{tmp_path}/file/mlflow.db")


def test_a_metric_name_keeps_what_mlflow_takes():
    assert metric_name("val/f1/문법 (a) 50%") == "val/f1/문법 _a_ 50_"


def test_the_users_settings_of_the_client_stay(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    quiet_client_settings()
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "7"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
