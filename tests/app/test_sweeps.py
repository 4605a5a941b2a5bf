"""Every study in sweeps/ composes; the smallest runs whole, is pruned, and goes on."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from support.commands import ONE_THREAD, provide_store
from support.sweeps import ROOT, Sweeps

STUDIES = sorted(file.stem for file in (ROOT / "sweeps").glob("*.yaml"))


def study(name):
    return "--config-dir", str(ROOT / "sweeps"), "--config-name", name


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_a_plan(name, tmp_path):
    out = Sweeps(tmp_path).run(*study(name), "hydra.sweeper.dry_run=true", app="src.train")
    assert f"study {name}" in out
    if name in ("temperature_lambda", "borderline_pareto", "contrastive_or_not", "smoke"):
        assert "000 loss.temperature=0.07 loss.lambda_contrastive=0.1" in out
    if name != "borderline_pareto":
        others = ("hydra/sweeper/pruner=none", "hydra/sweeper/sampler=random", "hydra.sweeper.dry_run=true")
        assert f"study {name}" in Sweeps(tmp_path).run(*study(name), *others, app="src.train")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_glob_stands_for_choices_of_a_group(tmp_path):
    out = Sweeps(tmp_path).run(
        "-m", "loss=glob(*,exclude=[b*,instance])", "hydra.sweeper.dry_run=true", app="src.train"
    )
    assert "loss: agreement, exact, graded, supcon, unanimity" in out


@pytest.mark.slow
def test_a_study_of_the_real_model(tmp_path):
    sweeps = Sweeps(tmp_path)
    prune = ("trainer.epochs=3", "hydra.sweeper.n_trials=3", "tracking.log_model=false", "trainer.steadiness=never")
    prune += ("model.encoder.num_layers=1", "data.max_length=32", ONE_THREAD)
    provide_store(tmp_path)
    sweeps.run(*study("smoke"), *prune, app="src.train")
    states = sweeps.states("smoke")
    assert set(states) <= {"COMPLETE", "PRUNED"}
    assert len(states) == 3
    assert sweeps.params("smoke")[0] == {"loss.temperature": 0.07, "loss.lambda_contrastive": 0.1}
    (parent,), children = sweeps.children("smoke")
    assert {run.data.tags["sweep.trial"]: run.data.tags["sweep.state"] for run in children} == {
        str(number): state for number, state in enumerate(states)
    }
    assert all(run.info.status == "FINISHED" for run in (parent, *children))
    first = next(run for run in children if run.data.tags["sweep.trial"] == "0")
    assert first.info.run_name == "000 τ=0.07 λ=0.1"
    folder = tmp_path / "multirun/smoke"
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    assert "embedding_grid.png" in {item.path for item in client.list_artifacts(parent.info.run_id)}
    best = Path(folder, "best_config.yaml").read_text()
    rows = csv.DictReader(Path(folder, "trials.csv").read_text().splitlines())
    assert [row["state"] for row in rows] == states
    assert "loss:" in best
    sweeps.run(*study("smoke"), *prune, app="src.train")
    assert sweeps.states("smoke") == states


@pytest.mark.slow
def test_a_bad_metric_or_loss_is_one_line_before_the_first_trial(tmp_path):
    sweeps = Sweeps(tmp_path)
    for override, message in {
        "loss.lambda_contrastive=-1": "lambda_contrastive must be >= 0, got -1",
        "objective.metric=val/total_loss": "must not depend on temperature or lambda",
        "loss.temprature=1": "did you mean loss.temperature",
        "+loss.temprature=1,2": "did you mean loss.temperature",
        "sampler.batch_size=8,1": "sampler.batch_size=1: sampler.batch_size must be at least 2",
        "trainer.epochs=2,0": "trainer.epochs=0: trainer.epochs must be at least 1, got 0 (2 such points)",
    }.items():
        out = sweeps.run(*study("smoke"), override, app="src.train", code=1)
        assert message in out.strip().splitlines()[-1]
        assert "Traceback" not in out
    assert not (tmp_path / "mlflow.db").exists()


LIBRARIES_OF_A_RUN = """
import importlib, sys, yaml
import src.train
for name in yaml.safe_load(open(sys.argv.pop(1)))["preload"]:
    importlib.import_module(name.partition(":")[0])
preloaded = set(sys.modules)
src.train.run_from_hydra()
print(*{name.partition(".")[0] for name in sys.modules} - {name.partition(".")[0] for name in preloaded})
"""


@pytest.mark.slow
def test_a_trial_finds_its_heavy_libraries_loaded(tmp_path):
    preload = str(ROOT / "conf/hydra/launcher/local.yaml")
    paths = os.pathsep.join(map(str, (ROOT / "src", ROOT)))
    small = ("hydra.mode=RUN", "trainer.epochs=1", "model.encoder.num_layers=1", "data.max_length=32")
    command = [sys.executable, "-c", LIBRARIES_OF_A_RUN, preload, *study("smoke"), *small]
    provide_store(tmp_path)
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=True
    )
    heavy = {"matplotlib", "sklearn", "scipy", "pandas", "transformers", "optuna"}
    assert not heavy & set(done.stdout.splitlines()[-1].split())


@pytest.mark.slow
def test_two_objectives_of_the_real_model(tmp_path):
    sweeps = Sweeps(tmp_path)
    small = [f"data.source.{split}_size=48" for split in ("train", "valid", "test", "test_ood")]
    small += ["model.encoder.hidden_size=32", "model.encoder.vocab_size=800", "trainer.epochs=1"]
    small += ["model.encoder.num_layers=1", "data.max_length=32", ONE_THREAD]
    small += ["tracking.log_model=false", "tracking.system_metrics=false"]
    small += ["optimizer.lr=1e-9", "optimizer.head_lr=1e-9", "trainer.lambda_warmup_epochs=0"]  # none leaves its start
    provide_store(tmp_path)
    said = sweeps.run(*study("borderline_pareto"), *small, "hydra.sweeper.n_trials=2", app="src.train")
    trials = sweeps.study("borderline_pareto").trials
    assert [len(trial.values) for trial in trials] == [2, 2]
    report = (tmp_path / "multirun/borderline_pareto/report.html").read_text()
    front = sweeps.study("borderline_pareto").best_trials
    best = max(front, key=lambda trial: (trial.values[0], -trial.number))
    assert f"(trial {best.number:03d})" in report
    stuck = "2 of 2 runs never left the base rates (trials 000, 001)"
    assert f"in doubt: {stuck}\n" in said
    (parent,), children = sweeps.children("borderline_pareto")
    assert f"**In doubt**: {stuck}" in parent.data.tags["mlflow.note.content"]
    assert {run.data.tags["stuck"] for run in children} == {"true"}
    assert all("train longer (more trainer.epochs)" in run.data.tags["mlflow.note.content"] for run in children)
