"""A small sweep recorded by a real remote server, which keeps the artifacts too, and looked at in a real browser."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import mlflow
import pytest
from mlflow import MlflowClient

from support.chromium import needs_chromium, page  # noqa: F401  a fixture
from support.commands import ONE_THREAD
from support.servers import MlflowServer
from support.sweeps import Sweeps

pytestmark = pytest.mark.slow

SMALL = (
    *(f"data.source.{split}_size=48" for split in ("train", "valid", "test", "test_ood")),
    "model.encoder.hidden_size=32",
    "model.encoder.num_layers=1",
    "data.max_length=32",
    "model.encoder.vocab_size=800",
    "trainer.epochs=1",
    "hydra.launcher.num_slots=1",
    ONE_THREAD,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    server.start()
    yield server.uri
    server.remove()


@pytest.fixture(scope="module")
def recorded(server, tmp_path_factory):
    """A grid of two runs, with and without a contrastive term."""
    sweeps = Sweeps(tmp_path_factory.mktemp("recorded"))
    grid = ("-m", "loss.lambda_contrastive=0,0.3", "hydra.sweeper.study_name=two", *SMALL)
    remote = (f"tracking.uri={server}", "tracking.experiment=far away", "tracking.register=judge of quality")
    out = sweeps.run(*grid, *remote, app="src.train")
    client = MlflowClient(tracking_uri=server)
    experiment = client.get_experiment_by_name("far away").experiment_id
    runs = client.search_runs([experiment], order_by=["attributes.start_time"])
    parent, *children = sorted(runs, key=lambda run: "mlflow.parentRunId" in run.data.tags)
    found = {"client": client, "experiment": experiment, "parent": parent, "children": children}
    return SimpleNamespace(folder=sweeps.folder / "multirun/two", out=out, **found)


def test_a_remote_server_keeps_all_that_a_local_store_does(recorded, server, tmp_path):
    assert "no report" not in recorded.out
    assert "\nNot decided: " in recorded.out
    assert re.search(r"\nTo decide it with 16 runs on fresh seeds: \S*python\S* -m src\.train -m ", recorded.out)
    assert recorded.parent.data.tags["mlflow.note.content"].startswith("**Not decided: ")
    first, second = recorded.children
    assert first.data.metrics.keys() == second.data.metrics.keys()
    assert {"val/macro_f1", "test_ood/macro_f1", "final/val/macro_f1", "system/cpu_utilization_percentage"} <= set(
        first.data.metrics
    )
    client = recorded.client
    for run in recorded.children:
        assert len(client.get_metric_history(run.info.run_id, "test/borderline/flips")) == 1  # at the end, not before
        names = {item.path for item in client.list_artifacts(run.info.run_id)}
        assert {"config.yaml", "embedding.html", "embedding.png", "embeddings", "train.log"} <= names
        lists = {item.path for item in client.list_artifacts(run.info.run_id, "review")}
        assert lists == {"review/ask_again.jsonl", "review/label_errors.jsonl"}
        datasets = {item.tags[0].value: item.dataset for item in run.inputs.dataset_inputs}
        assert datasets.keys() == {"training", "validation"}
        assert {item.digest for item in datasets.values()} == {run.data.tags["data.fingerprint"][:36]}
    names = {item.path for item in client.list_artifacts(recorded.parent.info.run_id)}
    assert {"report.html", "embedding_grid.png", "trials.csv"} <= names
    assert {"embedding_before_after.png", "embeddings_side_by_side.html"} <= names
    local = client.download_artifacts(recorded.parent.info.run_id, "report.html", str(tmp_path))
    assert Path(local).read_text() == (recorded.folder / "report.html").read_text()
    for heading in ("Which judgements changed", "Whom to ask again"):
        assert f">{heading}<" in Path(local).read_text()


def test_the_best_model_is_the_champion_and_judges(recorded, server):
    best = recorded.client.get_run(recorded.parent.info.run_id).data.tags["best.run_id"]
    champion = recorded.client.get_model_version_by_alias("judge of quality", "champion")
    assert champion.run_id == best
    assert "Registered: models:/judge of quality/1" in recorded.out
    mlflow.set_tracking_uri(server)
    try:
        judge = mlflow.pyfunc.load_model("models:/judge of quality@champion")
        (row,) = judge.predict([{"context": ["어디로 갈까?"], "response": "바다요."}]).to_dict("records")
    finally:
        mlflow.set_tracking_uri(None)
    assert 0 < row["probability/sensibleness"] < 1


@needs_chromium
def test_two_embedding_maps_stand_side_by_side_on_the_compare_page(recorded, server, page):  # noqa: F811
    runs = json.dumps([run.info.run_id for run in recorded.children], separators=(",", ":"))
    where = f"runs={quote(runs)}&experiments={quote(json.dumps([recorded.experiment]))}"
    page.open(f"{server}/#/compare-runs?{where}&workflowType=machine_learning")
    wanted = ("Comparing 2 Runs", "embedding.png", *(run.info.run_name for run in recorded.children))
    text = page.text_with(*wanted, in_order=("Metrics:", "val/macro_f1", "Clear All"))  # the metric of its first chart
    assert "failed to load" not in text.lower()
    page.click("embedding.png")
    page.images(2)


@needs_chromium
def test_the_artifact_viewer_shows_the_offline_page(recorded, server, page):  # noqa: F811
    run = recorded.children[0].info.run_id
    page.open(f"{server}/#/experiments/{recorded.experiment}/runs/{run}/artifacts/embedding.html")
    text = page.text_with("embedding.html", "one scale for all epochs", "votes for yes", "48 responses")
    assert "failed to load" not in text.lower()


@needs_chromium
def test_the_report_opens_without_a_server(recorded, page):  # noqa: F811
    page.open((recorded.folder / "report.html").as_uri())
    headings = ("Which configuration", "How sure", "Against λ = 0", "Per criterion", "Embeddings", "Cost", "All trials")
    text = page.text_with("Not decided", "with one seed", in_order=headings)
    assert "valid: Brier on split votes" in text
    assert "held-out domain: macro F1" in text
    page.images(4)  # the best and the worst map, score and geometry, and the reliability curves
    assert page.pdf().startswith(b"%PDF")
