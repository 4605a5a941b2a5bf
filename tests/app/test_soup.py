"""The average of a sweep's best runs: evaluated, recorded beside them, registered if it is better."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from contrastive_app.judge.models import find_judge
from contrastive_app.judge.origin import origin_of
from support.commands import ONE_THREAD, SMALL, provide_store
from support.sweeps import Sweeps

STUDY = ("-m", "optimizer.eps=1e-8,1.0001e-8", "hydra.sweeper.study_name=s", "hydra.sweeper.soup=greedy")
FAST = (ONE_THREAD, "trainer.epochs=1", "tracking.system_metrics=false", "tracking.register=judge")


@pytest.mark.slow
def test_the_soup_of_a_sweep_is_one_more_child(tmp_path):
    provide_store(tmp_path)
    said = Sweeps(tmp_path).run(*STUDY, *SMALL, *FAST, app="src.train")
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'contrastive-quality'")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    parent, soup = runs["s"], runs["soup"]
    assert soup.info.status == "FINISHED"
    assert soup.data.tags["mlflow.parentRunId"] == parent.info.run_id
    folder = tmp_path / "multirun/s/soup"
    metrics = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert soup.data.metrics["val/macro_f1"] == pytest.approx(metrics["val/macro_f1"])
    assert (folder / "metrics.parquet").exists()
    best = parent.data.metrics["best/value"]
    assert (
        f"soup: 2 of 2 runs averaged, val/macro_f1 {metrics['val/macro_f1']:.4f}; the best single run has {best:.4f}"
        in said
    )
    assert metrics["val/macro_f1"] >= best - 1e-6
    wins = metrics["val/macro_f1"] > best + 1e-9
    registered = client.get_model_version_by_alias("judge", "champion")
    assert (registered.run_id == soup.info.run_id) == wins
    assert (folder / "judge").is_dir()
    address, store = f"models:/{soup.outputs.model_outputs[0].model_id}", f"sqlite:///{tmp_path}/mlflow.db"
    downloaded, _ = find_judge(address, store, tmp_path / "scratch")
    known = [origin_of(folder / "judge", None, None, tmp_path), origin_of(downloaded, address, store, tmp_path)]
    for origin in known:  # what the card of an export tells
        assert (origin.run_id, origin.num_training, origin.options["model.name"]) == (soup.info.run_id, 96, "tiny")
        assert origin.splits.keys() == {"valid", "test", "test_ood"}
    assert known[0].fingerprint == known[1].fingerprint
    assert "mean of probabilities" in Path(tmp_path, "multirun/s/report.html").read_text()
    assert runs.keys() == {"s", "soup", *(name for name in runs if name.startswith("00"))}


@pytest.mark.slow
def test_runs_that_cannot_be_averaged_leave_the_best_one(tmp_path):
    provide_store(tmp_path)
    study = ("-m", "model.projection_dim=18,36", "hydra.sweeper.study_name=s", "hydra.sweeper.soup=greedy")
    said = Sweeps(tmp_path).run(*study, *SMALL, *FAST, app="src.train")
    assert "no soup: it needs two runs with weights of the same shapes on this machine" in said
    assert not (tmp_path / "multirun/s/soup").exists()
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    assert client.get_model_version_by_alias("judge", "champion")


def test_another_word_is_refused_before_the_first_trial(tmp_path):
    said = Sweeps(tmp_path).run(*STUDY[:-1], "hydra.sweeper.soup=uniform", *SMALL, app="src.train", code=1)
    assert "error: hydra.sweeper.soup must be greedy or null, got uniform" in said
