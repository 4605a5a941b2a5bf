"""A tracking server that is stopped and started again."""

import json
import os
import signal
import traceback
from threading import Thread

import pytest
import sqlalchemy
from mlflow import MlflowClient

from contrastive_learning.tracking import MlflowTracking
from contrastive_learning.tracking.outbox import Outbox
from support.commands import ROOT, provide_store
from support.commands import run as run_command
from support.judges import CRITERIA, export
from support.pictures import png
from support.servers import MlflowServer


class Post:
    """What an outbox sends to."""

    def __init__(self):
        self.taken, self.is_away = [], False

    def __call__(self, call, arguments):
        if self.is_away:
            raise OSError("no answer")
        if call == "nonsense":
            raise ValueError("refused")
        self.taken.append((call, arguments))


def outbox_to(post, path):
    return Outbox(path, post, lambda error: isinstance(error, OSError))


def tracking_at(uri):
    return MlflowTracking(uri=uri, experiment="x", log_model=True, register=None, system_metrics=False)


def tracking_in(folder):
    provide_store(folder)
    return tracking_at(f"sqlite:///{folder}/mlflow.db")


def test_calls_arrive_once_and_in_order_whoever_sends_them(tmp_path):
    post, path = Post(), tmp_path / "outbox.jsonl"
    first = outbox_to(post, path)
    first.put("log", step=1)
    assert not path.exists()
    post.is_away = True
    first.put("log", step=2)
    first.put("text", text="가")
    post.is_away = False
    first.put("log", step=3)  # the next try is later
    assert [arguments["step"] for _, arguments in post.taken] == [1]
    with pytest.raises(ValueError, match="belongs to a run that has not ended"):
        outbox_to(post, path)
    first.close()
    with path.open("a") as file:
        file.write('["log", {"st')  # killed in mid-write
    second = outbox_to(post, path)
    assert second.flush()
    second.close()
    assert post.taken == [("log", {"step": 1}), ("log", {"step": 2}), ("text", {"text": "가"}), ("log", {"step": 3})]
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused_is_raised_and_does_not_stop_the_rest(tmp_path):
    post = Post()
    outbox = outbox_to(post, tmp_path / "outbox.jsonl")
    with pytest.raises(ValueError, match="refused"):
        outbox.put("nonsense")
    outbox.put("log", step=1)
    assert post.taken == [("log", {"step": 1})]


def test_a_call_of_another_thread_waits_for_its_turn(tmp_path):
    """It comes while the first is being sent, and sends neither that again nor itself before it."""
    taken, other = [], []

    def send(call, arguments):
        taken.append(arguments["step"])
        if not other:
            other.append(Thread(target=outbox.put, args=("log",), kwargs={"step": 2}))
            other[0].start()
            other[0].join(0.5)

    outbox = Outbox(tmp_path / "outbox.jsonl", send, lambda error: False)
    outbox.put("log", step=1)
    other[0].join()
    outbox.close()
    assert taken == [1, 2]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def interrupted():
    """The files in whose functions SIGINT was raised."""
    files: list[str] = []

    def interrupt(signum, frame):
        files.extend(frame.f_code.co_filename for frame, _ in traceback.walk_stack(frame))
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    yield files
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_waits_for_the_call_to_end(tmp_path, interrupted):
    """Within MLflow's transaction it can leave SQLite locked, and then the run cannot be closed."""
    tracking = tracking_in(tmp_path)
    run = tracking.open("first", {}, folder=tmp_path)

    def send_signal(connection):
        sqlalchemy.event.remove(sqlalchemy.Engine, "commit", send_signal)
        os.kill(os.getpid(), signal.SIGINT)

    sqlalchemy.event.listen(sqlalchemy.Engine, "commit", send_signal)
    with pytest.raises(KeyboardInterrupt), run:
        run.log({"val/macro_f1": 0.5}, 0)
    assert interrupted
    assert not any("/sqlalchemy/" in file or "/mlflow/" in file for file in interrupted)
    assert MlflowClient(tracking_uri=tracking.uri).get_run(run.run_id).info.status == "KILLED"


def test_a_refusal_is_no_outage(tmp_path):
    tracking = tracking_in(tmp_path)
    run = tracking.open("first", {}, folder=tmp_path)
    client = MlflowClient(tracking_uri=tracking.uri)
    client.delete_run(run.run_id)
    with pytest.raises(Exception, match="active"):
        run.log({"val/macro_f1": 0.5}, 0)
    client.restore_run(run.run_id)
    with run:
        run.log({"val/macro_f1": 0.75}, 1)
    points = client.get_metric_history(run.run_id, "val/macro_f1")
    assert [(point.step, point.value) for point in points] == [(1, 0.75)]


def test_an_outbox_of_an_earlier_version_names_the_run_to_register(tmp_path):
    tracking = tracking_in(tmp_path)
    with tracking.open("first", {}, folder=tmp_path) as run:
        pass
    (tmp_path / "outbox.jsonl").write_text(f'["register", {{"run_id": "{run.run_id}"}}]\n')
    assert tracking.send_outbox(run.run_id, tmp_path)
    assert not (tmp_path / "outbox.jsonl").exists()


@pytest.fixture
def server(tmp_path):
    server = MlflowServer(tmp_path)
    server.start()
    yield server
    server.remove()


@pytest.mark.slow
def test_a_server_that_is_away_costs_no_record(server, tmp_path, monkeypatch):
    """Epoch 1 with it, epoch 2 and the end without, epoch 3 again with it; the rest by the command."""
    output = tmp_path / "output"
    output.mkdir()
    export(output / "judge")
    tracking = tracking_at(server.uri)
    run = tracking.open("first", {}, folder=output)
    monkeypatch.setattr("contrastive_learning.tracking.outbox.LAST_TRIES_SECONDS", 1.0)
    with run:
        for epoch in (1, 2, 3):
            if epoch == 2:
                server.stop()
            run.log({"val/macro_f1": epoch / 4, "val/brier": 0.1}, epoch)
            run.image(png(), "val/embedding", epoch)
            if epoch == 2:
                server.start()
                assert run.outbox.flush()
        server.stop()
        run.text("seed: 0", "config.yaml")
        assert run.model(output / "judge", CRITERIA) is None
    assert (output / "outbox.jsonl").exists()
    (output / ".hydra").mkdir()
    node = {"_target_": "contrastive_learning.tracking.MlflowTracking", "uri": server.uri, "experiment": "x"}
    (output / ".hydra/config.yaml").write_text(
        json.dumps({"tracking": node | {"log_model": True, "register": None, "system_metrics": False}})
    )
    (output / "run.json").write_text(json.dumps({"run_id": run.run_id}))
    refused = sync(output)
    assert (refused.returncode, "1 of 1 runs still wait" in refused.stderr) == (1, True)
    server.start()
    assert f"{output}: sent\n" in sync(output).stdout
    assert "nothing waits" in sync(output).stdout
    assert_whole(server.uri, run.run_id)


def assert_whole(uri, run_id):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    points = client.get_metric_history(run_id, "val/macro_f1")
    assert [(point.step, point.value) for point in points] == [(1, 0.25), (2, 0.5), (3, 0.75)]
    images = [item.path for item in client.list_artifacts(run_id, "images") if item.path.endswith(".png")]
    assert sorted(path.split("+")[2] for path in images) == ["1", "2", "3"]
    assert "config.yaml" in {item.path for item in client.list_artifacts(run_id)}
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert model.status == "READY"
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]


def sync(output):
    return run_command("-m", "src.sync", output, cwd=ROOT)
