"""The commands that conf/README.md gives for several machines, here in a folder each, with a real PostgreSQL and a real
`mlflow server`, which go away for a while.
"""

import re
import shlex
import time
from collections import Counter

import pytest
from mlflow import MlflowClient

from mlflow_stores import check_store
from support.commands import ONE_THREAD, typed
from support.servers import MlflowServer
from support.sweeps import ROOT, Sweeps, wait_for

SMALL = [ONE_THREAD, "data.source.test_size=48", "model.encoder.hidden_size=32", "model.encoder.vocab_size=800"]
SMALL += ["model.encoder.num_layers=1", "data.max_length=32", "trainer.steadiness=never"]
SMALL += [f"data.source.{split}_size=64" for split in ("train", "valid", "test_ood")]
TRIALS = 4


def documented(start, text=""):
    lines = (ROOT / "conf/README.md").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(start) and text in line)
    return shlex.split(line.removeprefix(start), comments=True)


def left(machine, name):
    return len(list(machine.folder.glob(f"multirun/*/*/**/{name}")))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = MlflowServer(tmp_path_factory.mktemp("server"), documented("mlflow server"))
    server.start()
    yield server
    server.remove()


@pytest.mark.slow
def test_a_name_that_the_server_does_not_take_is_one_line(server):
    name = server.host.replace("127.0.0.1", "localhost")
    with pytest.raises(ValueError, match=f"refuses this host: start it with --allowed-hosts {name}"):
        check_store(f"http://{name}", "any", option="tracking.uri")


@pytest.mark.slow
def test_two_machines_share_a_study_and_its_record(tmp_path, postgres, server):
    here = {"sweeps": str(ROOT / "sweeps"), "postgresql://user:password@server/studies": postgres.url}
    here |= {"http://server:5000": server.uri}
    command = documented("python -m src.train", "postgresql://")
    for placeholder, own in here.items():
        command = [re.sub(f"(^|=){placeholder}$", rf"\g<1>{own}", argument) for argument in command]
    budget = [f"hydra.sweeper.n_trials={TRIALS}", "trainer.epochs=3", "tracking.register=judge"]
    budget += ["hydra.sweeper.confirm.num_seeds=0", "trainer.keep_checkpoints=true"]
    machines = [Sweeps(tmp_path / name) for name in ("one", "two")]
    for machine in machines:
        machine.folder.mkdir()
    processes = [machine.start(*command, *SMALL, *budget, app="src.train") for machine in machines]
    wait_for(lambda: all(left(machine, "checkpoints.json") > 0 for machine in machines), seconds=200)
    server.stop()
    postgres.stop()
    wait_for(lambda: all(left(each, "result.json") == left(each, "checkpoints.json") for each in machines), seconds=200)
    wait_for(lambda: all("hydra.sweeper.storage: postgresql" in each.errors() for each in processes))  # is away
    postgres.start()
    time.sleep(3)
    server.start()
    for process in processes:
        _, errors = process.communicate(timeout=400)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
        for place in ("storage: postgresql", "mlflow_uri: http"):
            assert len(re.findall(rf"^hydra.sweeper.{place}.* is away, waiting up to 600 s", errors, re.MULTILINE)) == 1
            assert len(re.findall(rf"^hydra.sweeper.{place}.* is back after", errors, re.MULTILINE)) == 1
    for machine in machines:
        for waiting in machine.folder.glob("multirun/*/*/**/outbox.jsonl"):
            assert (
                f"once the server answers, send it with: {typed('sync', machine.folder)} {waiting.parent}"
                in (waiting.parent / "job.log").read_text()
            )
        num_waiting = left(machine, "outbox.jsonl")  # that of the best trial is sent before it is registered
        assert machine.run("multirun", app="src.sync").count(": sent\n") == num_waiting
    trials = machines[0].study("temperature_lambda", postgres.url).trials
    states = {str(trial.number): trial.state.name for trial in trials}
    assert len(trials) == len({str(trial.params) for trial in trials}) == TRIALS
    assert set(states.values()) <= {"COMPLETE", "PRUNED"}
    assert len({trial.user_attrs["owner"] for trial in trials}) == 2

    client = MlflowClient(tracking_uri=server.uri)
    runs = client.search_runs([item.experiment_id for item in client.search_experiments()])
    (parent,) = (run for run in runs if run.data.tags.get("sweep.kind") == "parent")
    children = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.data.tags["sweep.trial"]: run.data.tags["sweep.state"] for run in children} == states
    assert len(children) == TRIALS
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in children:
        reported = trials[int(run.data.tags["sweep.trial"])].intermediate_values
        points = client.get_metric_history(run.info.run_id, "val/macro_f1")
        assert Counter(point.step for point in points) == Counter([0, *reported])
        assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
        assert "embeddings" in {item.path for item in client.list_artifacts(run.info.run_id)}
    best = client.get_model_version_by_alias("judge", "champion").run_id
    assert best == parent.data.tags["best.run_id"]
