import json
import threading

import pytest

from contrastive_learning.tracking import MlflowTracking, NoTracking
from support.commands import provide_store, start
from support.pictures import png


def tracking_at(uri, **changes):
    settings = {"experiment": "a project/with spaces", "log_model": True, "register": None, "system_metrics": False}
    return MlflowTracking(uri=uri, **settings | changes)


def tracking_in(folder, **changes):
    provide_store(folder)
    return tracking_at(f"sqlite:///{folder}/mlflow.db", **changes)


def client_of(folder):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")


def stored(folder, run):
    return client_of(folder).get_run(run.run_id)


def test_a_run_is_found_by_its_tags(tmp_path):
    tracking = tracking_in(tmp_path)
    for job in ("000", "001"):
        with tracking.open("a", {"sweep.id": "s", "sweep.job": job}, folder=tmp_path) as run:
            pass
    assert tracking.find({"sweep.id": "s", "sweep.job": "001"}) == run.run_id
    assert tracking.find({"sweep.id": "s", "sweep.job": "002"}) is None


def test_a_run_holds_params_metrics_and_artifacts(tmp_path):
    file = tmp_path / "table.txt"
    file.write_text("rows")
    with tracking_in(tmp_path).open("first", {"seed": "3"}, folder=tmp_path) as run:
        run.params({"loss.temperature": 0.07, "data.prefix": "", "trainer.patience": None})
        run.params({f"p{index}": index for index in range(250)})
        run.log({"val/macro_f1": 0.5, "val/f1/문법 (a)": 0.25}, 0)
        run.log({"val/macro_f1": 0.75}, 1)
        run.text("seed: 0", "config.yaml")
        run.tags({"stuck": "true"})
        run.artifact(file, "tables")
    found = stored(tmp_path, run)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "first"
    assert (found.data.tags["seed"], found.data.tags["stuck"]) == ("3", "true")
    assert found.data.params["loss.temperature"] == "0.07"
    assert found.data.params["trainer.patience"] == "null"
    assert len(found.data.params) == 253
    assert found.data.metrics == {"val/macro_f1": 0.75, "val/f1/문법 _a_": 0.25}
    assert (tmp_path / "mlartifacts" / "a_project_with_spaces" / run.run_id / "artifacts/tables/table.txt").exists()


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError("no\nmemory"), "FAILED"), (KeyboardInterrupt("SIGTERM"), "KILLED")]
)
def test_a_run_is_closed_truthfully(tmp_path, error, status):
    run = tracking_in(tmp_path).open("first", {}, folder=tmp_path)
    with pytest.raises(type(error)), run:
        raise error
    assert stored(tmp_path, run).info.status == status
    assert str(error) in stored(tmp_path, run).data.tags["error"]


def test_a_resumed_run_continues_the_same_record(tmp_path):
    run = tracking_in(tmp_path).open("first", {}, folder=tmp_path)
    with pytest.raises(KeyboardInterrupt), run:
        run.log({"val/macro_f1": 0.5}, 1)
        raise KeyboardInterrupt
    with tracking_in(tmp_path).open(None, {}, folder=tmp_path, resume_run_id=run.run_id) as again:
        assert stored(tmp_path, again).info.status == "RUNNING"
        again.log({"val/macro_f1": 0.6}, 2)
    assert stored(tmp_path, run).info.status == "FINISHED"
    assert stored(tmp_path, run).data.metrics["val/macro_f1"] == 0.6


def test_a_folder_takes_one_run_at_a_time(tmp_path):
    tracking = tracking_in(tmp_path)
    ended = "belongs to a run that has not ended"
    with tracking.open("first", {}, folder=tmp_path) as run, pytest.raises(ValueError, match=ended):
        tracking.open(None, {}, folder=tmp_path, resume_run_id=run.run_id)
    with tracking.open(None, {}, folder=tmp_path, resume_run_id=run.run_id) as again:
        assert again.run_id == run.run_id


OPEN_AND_CLOSE = """
from pathlib import Path
from contrastive_learning.tracking import MlflowTracking

tracking = MlflowTracking(
    uri="sqlite:///../mlflow.db", experiment="x", log_model=True, register=None, system_metrics=False
)
with tracking.open("parallel", {}, folder=Path.cwd()) as run:
    run.log({"val/macro_f1": 0.5}, 0)
print(run.run_id)
"""


@pytest.mark.slow
def test_four_processes_create_a_fresh_store_together(tmp_path):
    (tmp_path / "script.py").write_text(OPEN_AND_CLOSE)
    folders = [tmp_path / str(number) for number in range(4)]
    for folder in folders:
        folder.mkdir()
    processes = [start(tmp_path / "script.py", cwd=folder) for folder in folders]
    printed = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, printed
    recorded = client_of(tmp_path).search_runs([client_of(tmp_path).get_experiment_by_name("x").experiment_id])
    assert {run.info.run_id for run in recorded} == {out.strip() for out, _ in printed}
    assert [run.data.metrics for run in recorded] == [{"val/macro_f1": 0.5}] * 4


def test_a_server_that_is_away_is_found_by_the_check_not_when_the_parts_are_built():
    tracking = tracking_at("http://127.0.0.1:9")
    with pytest.raises(
        ValueError, match=r"tracking.uri: cannot reach the MLflow server h.*//127\.0\.0\.1:9: .*refused"
    ):
        tracking.check()
    NoTracking().check()


def test_the_data_are_inputs_of_the_run(tmp_path):
    with tracking_in(tmp_path).open("first", {}, folder=tmp_path) as run:
        for split, context in (("train", "training"), ("valid", "validation")):
            run.data(f"votes {split}", context, fingerprint="f" * 64, source="/data/my.jsonl", num_responses=7)
    found = {item.tags[0].value: item.dataset for item in stored(tmp_path, run).inputs.dataset_inputs}
    assert found["training"].name == "votes train (7 responses)"
    assert found["validation"].digest == "f" * 36
    assert json.loads(found["training"].source) == {"uri": "/data/my.jsonl"}


def test_system_metrics_come_with_the_shortest_run_and_end_with_it(tmp_path):
    run = tracking_in(tmp_path, system_metrics=True).open("first", {}, folder=tmp_path)
    with pytest.raises(KeyboardInterrupt), run:
        watching = [thread for thread in threading.enumerate() if thread.name == "SystemMetricsMonitor"]
        raise KeyboardInterrupt
    assert len(watching) == 1
    assert not watching[0].is_alive()
    assert stored(tmp_path, run).data.metrics["system/cpu_utilization_percentage"] >= 0
    assert stored(tmp_path, run).info.status == "KILLED"


@pytest.mark.parametrize("name", ["", "a/b", "models:/x", "..", "it's"])
def test_a_bad_name_to_register_under_is_one_line(tmp_path, name):
    with pytest.raises(ValueError, match="tracking.register must be letters, digits"):
        tracking_in(tmp_path, register=name)


def test_a_name_to_register_under_needs_models(tmp_path):
    with pytest.raises(ValueError, match="tracking.register=judge needs tracking.log_model=true"):
        tracking_in(tmp_path, register="judge", log_model=False)


def test_credentials_stay_out_of_errors_and_records(tmp_path):
    with pytest.raises(ValueError, match="tracking.uri must start") as error:
        tracking_at("ftp://me:secret@host/x")
    assert "secret" not in str(error.value)
    with tracking_in(tmp_path).open("first", {}, folder=tmp_path) as run:
        run.params({"tracking.uri": "http://me:secret@host"})
    assert stored(tmp_path, run).data.params["tracking.uri"] == "http://***@host"


def test_pictures_of_each_epoch_are_a_series_with_steps(tmp_path):
    """The names are what MLflow's image grid reads: key+step+0+timestamp+…, with / written as ~."""
    with tracking_in(tmp_path).open("first", {}, folder=tmp_path) as run:
        for epoch in (0, 1):
            run.image(png(), "val/embedding", epoch)
    names = sorted(path.name for path in tmp_path.glob("mlartifacts/*/*/artifacts/images/*.png"))
    assert [name.split("+")[:3] for name in names] == [["val~embedding", "step", "0"], ["val~embedding", "step", "1"]]
    assert stored(tmp_path, run).data.tags["mlflow.loggedImages"] == "True"


def test_a_model_that_cannot_be_recorded_is_marked_as_failed(tmp_path):
    with tracking_in(tmp_path).open("first", {}, folder=tmp_path) as run, pytest.raises(Exception, match="nowhere"):
        run.model(tmp_path / "nowhere", ["safe"])
    (model,) = client_of(tmp_path).search_logged_models([stored(tmp_path, run).info.experiment_id])
    assert model.status == "FAILED"


def test_no_tracking_takes_the_same_calls(tmp_path):
    with NoTracking().open("first", {}, folder=tmp_path) as run:
        run.params({"a": 1})
        run.log({"val/macro_f1": 0.5}, 0)
        run.text("x", "y")
        run.artifact(tmp_path)
        run.image(png(), "val/embedding", 0)
        assert run.model(tmp_path, ["safe"]) is None
        assert run.register() is None
    assert run.run_id is None
    assert list(tmp_path.iterdir()) == []
    assert "tracking=none" in run.location()
