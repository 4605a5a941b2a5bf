"""The command, then a look into its real stores."""

import json
import re
import signal

import pyarrow.parquet as pq
import pytest

from contrastive_learning.metrics.table import FAMILIES
from support.commands import SMALL, TRAIN, provide_store, run, runs, start, train, typed, wait_while_running


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return folder, run(*TRAIN, *SMALL, "tracking.register=judge", cwd=folder, check=True, new_interpreter=True)


@pytest.mark.slow
def test_a_run_is_recorded_whole(finished):
    folder, done = finished
    client, (run,) = runs(folder)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "sample tiny supcon τ=0.07 λ=0.1"
    assert (run.data.params["loss.temperature"], run.data.params["loss"]) == ("0.07", "supcon")
    assert run.data.tags["seed"] == "0"
    assert len(run.data.tags["data.fingerprint"]) == 64
    assert {
        "train/total_loss",
        "val/macro_f1",
        "test/macro_f1",
        "test_ood/auroc",
        "val/brier",
    } <= run.data.metrics.keys()
    assert len([name for name in run.data.metrics if not name.startswith("system/")]) <= 30
    every = pq.read_table(next(folder.glob("mlartifacts/**/artifacts/metrics.parquet"))).to_pandas()
    assert run.data.metrics.keys() - {"final/val/macro_f1"} - set(every["name"]) == {
        name for name in run.data.metrics if name.startswith("system/")
    }
    held_out = [name.split("/") for name in every["name"] if name.startswith(("val/", "test/", "test_ood/"))]
    assert {family for _, family, *_ in held_out} <= FAMILIES  # so each of them can be an objective
    assert set(every.query("metric == 'f1' and split == 'val' and not final")["epoch"]) == {0, 1, 2}
    assert every.query("name == 'test/f1/sensibleness' and final")["value"].item() <= 1
    assert next(iter(run.data.metrics)) == "val/macro_f1"  # on which MLflow's page that compares runs opens
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "val/macro_f1")]
    assert steps == [0, 1, 2]
    names = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {"config.yaml", "overrides.txt", "environment.json", "embeddings"} <= names
    assert {"embedding.png", "embedding.html", "images"} <= names  # MLflow compares pictures at the root only
    series = {item.path for item in client.list_artifacts(run.info.run_id, "images")}
    assert {path.split("+")[2] for path in series if path.endswith(".png")} == {"0", "1", "2"}
    champion = client.get_model_version_by_alias("judge", "champion")
    (model,) = run.outputs.model_outputs
    assert champion.source == f"models:/{model.model_id}"
    assert "Model:    models:/judge/1, also models:/judge@champion" in done.stderr
    assert {item.tags[0].value for item in run.inputs.dataset_inputs} == {"training", "validation"}
    table = pq.read_table(next(folder.glob("mlartifacts/**/embeddings/valid.parquet")))
    assert table.column_names[:4] == ["id", "domain", "context", "response"]
    assert all(map(len, table["response"].to_pylist()))
    assert all(map(len, table["context"].to_pylist()))
    assert {"yes_votes", "num_votes", "probabilities", "features", "embeddings"} <= set(table.column_names)
    assert len(table) == 48
    nearest = table["neighbors"].to_pylist()
    assert all(row not in item["ids"] and len(item["ids"]) == 10 for row, item in enumerate(nearest))
    assert {"x", "y"} <= set(table.column_names)
    assert run.info.run_id in done.stderr
    description = run.data.tags["mlflow.note.content"]
    assert f"**val/macro_f1 {run.data.metrics['final/val/macro_f1']:.4f}**, of epoch " in description
    assert f"| test_ood | {run.data.metrics['test_ood/macro_f1']:.3f} | " in description
    assert "| criterion | val | test | test_ood |\n" in description
    assert "\x1b" not in done.stderr
    (output,) = folder.glob("outputs/*/*")
    assert not (output / "checkpoints").exists()
    (weights,) = folder.glob("mlartifacts/**/judge/model.safetensors")
    assert weights.samefile(output / "judge/model.safetensors")
    log = (output / "train.log").read_text()
    for line in (
        "data: train 96, valid 48, test 48, test_ood 48 responses; 9 criteria; ",
        "epoch 2/2  total 0.",
        "Best ",
    ):
        assert line in log
    printed = done.stderr.removeprefix("loading …\n").splitlines()
    assert [line for line in printed if line not in log.splitlines()] == []
    assert re.search(r"\nBest epoch [012] of 2, per criterion: mean F1 of yes and no / AUROC\n", done.stderr)
    assert printed[-1] == f"Next:     {typed('ui', folder)}"


@pytest.mark.slow
def test_the_recorded_config_gives_the_same_result(finished, tmp_path):
    folder, _ = finished
    config = next(folder.glob("mlartifacts/**/config.yaml"))
    train(tmp_path, "--config-path", str(config.parent), "--config-name", "config")
    value, again = (runs(where)[1][0].data.metrics["final/val/macro_f1"] for where in (folder, tmp_path))
    assert again == value


INTERRUPTED_WHILE_OPENED = """
import os, runpy, signal, sqlalchemy

@sqlalchemy.event.listens_for(sqlalchemy.Engine, "after_cursor_execute")
def interrupt(connection, cursor, statement, *rest):
    if statement.startswith("INSERT INTO runs"):
        os.kill(os.getpid(), signal.SIGINT)

runpy.run_module("src.train", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
def test_an_interrupt_while_the_run_is_opened_closes_it(tmp_path):
    provide_store(tmp_path)
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED_WHILE_OPENED)
    assert run(script, *SMALL, cwd=tmp_path).returncode == 130
    _, (interrupted,) = runs(tmp_path)
    assert interrupted.info.status == "KILLED"


@pytest.mark.slow
def test_sigterm_closes_the_run_as_killed_and_resume_continues_it(finished, tmp_path):
    provide_store(tmp_path)
    process = start(*TRAIN, *SMALL, "trainer.epochs=200", cwd=tmp_path)
    wait_while_running(process, lambda: list(tmp_path.glob("outputs/*/*/checkpoints/checkpoints.json")))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "trainer.resume_from" in errors
    client, (run,) = runs(tmp_path)
    assert run.info.status == "KILLED"
    output = next(tmp_path.glob("outputs/*/*"))
    assert (output / "train.log").read_text().splitlines()[-1] == errors.strip().splitlines()[-1]
    refused = train(tmp_path, *SMALL, f"hydra.run.dir={output}", check=False)
    assert f"trainer.resume_from={output}" in refused.stderr.strip().splitlines()[-1]
    last = json.loads((output / "checkpoints/checkpoints.json").read_text())["last"]  # epoch_005, epoch_006_batch_2
    done = int(last.split("_")[1]) - ("batch" in last)
    refused = train(tmp_path, *SMALL, "loss.temperature=0.3", f"trainer.resume_from={output}", check=False)
    assert "had other options: loss.temperature=0.07 (now 0.3)" in refused.stderr.strip().splitlines()[-1]
    train(tmp_path, *SMALL, f"trainer.epochs={done + 1}", f"trainer.resume_from={output}")
    client, (run,) = runs(tmp_path)
    assert run.info.status == "FINISHED"
    # a set: an epoch that was logged, but killed before its checkpoint, is run and logged again
    steps = {metric.step for metric in client.get_metric_history(run.info.run_id, "val/macro_f1")}
    assert steps == set(range(done + 2))
    every = pq.read_table(output / "metrics.parquet").to_pandas().query("name == 'val/auroc' and not final")
    assert list(every["epoch"]) == list(range(done + 2))


@pytest.mark.slow
def test_a_failing_run_is_recorded_as_failed(tmp_path):
    done = train(tmp_path, *SMALL, "optimizer.lr=1e30", "optimizer.head_lr=1e30", "optimizer=sgd", check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert runs(tmp_path)[1][0].info.status == "FAILED"
    (log,) = tmp_path.glob("outputs/*/*/train.log")
    assert log.read_text().splitlines()[-1] == done.stderr.strip().splitlines()[-1]


FAILING_IN_ITS_FIRST_STEP = """
import runpy
from torch.nn.modules.module import register_module_forward_hook

def fail(module, *rest):
    if module.training:
        raise RuntimeError("out of memory")

register_module_forward_hook(fail)
runpy.run_module("src.train", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
def test_a_run_that_fails_in_its_first_step_is_recorded_with_its_options(tmp_path):
    provide_store(tmp_path)
    script = tmp_path / "failing.py"
    script.write_text(FAILING_IN_ITS_FIRST_STEP)
    done = run(script, *SMALL, cwd=tmp_path)
    assert done.returncode == 1
    assert "out of memory" in done.stderr
    client, (failed,) = runs(tmp_path)
    assert failed.info.status == "FAILED"
    assert failed.data.params["loss.temperature"] == "0.07"
    names = {item.path for item in client.list_artifacts(failed.info.run_id)}
    assert {"config.yaml", "overrides.txt", "environment.json", "images"} <= names


BAD = {
    "loss.temprature=0.1": "there is no option loss.temprature (did you mean loss.temperature?)",
    "+loss.temprature=0.1": "there is no option loss.temprature (did you mean loss.temperature?)",
    "+optimizer.lrr=1": "there is no option optimizer.lrr (did you mean optimizer.lr?)",
    "+sede=1": "there is no option sede (did you mean seed?)",
    "data.path=x": "data=aihub and data=votes have it",
    "loss=supcn": "there is no loss=supcn (did you mean supcon?): agreement, balanced, bce, exact, graded, instance",
    "loss.criterion_weights=[1,2]": "loss.criterion_weights must have one weight per criterion, got 2 for 9 criteria: ",
    "loss.temperature=0": "error: loss.temperature must be positive, got 0",
    "loss.lambda_contrastive=-1": "error: loss.lambda_contrastive must be >= 0, got -1",
    "loss=instance": "error: loss.instance_weight=0.1 compares two views of each response: set trainer.views=2",
    "loss.consistency=1": "error: loss.consistency=1 compares two views of each response: set trainer.views=2",
    "data.view_cutoff=0.1": "error: data.view_cutoff=0.1 masks tokens of the second view: set trainer.views=2",
    "sampler.batch_size=1": "batch_size must be at least 2",
    "trainer.precision=fp8": "precision must be one of auto, fp32, bf16, fp16",
    "trainer.epochs=0": "epochs must be at least 1",
    "data.path=한글": "like 한글 needs quotes inside quotes: \"data.path='한글'\"",
    "objective.metric=val/macrof1": "objective.metric must be a metric of every epoch, got val/macrof1 (did you "
    "mean val/macro_f1?)",
    "model.lr=-1": "error: model.lr must be positive, got -1",
    "objective.metric=val/total_loss": "must not depend on temperature or lambda",
    "tracking.register=a/b": "tracking.register must be letters, digits, dots, dashes, underscores",
    "hydra.run.dir=/dev/null/out": "error: [Errno 20] Not a directory: '/dev/null/out'",
    "tracking.uri=http://127.0.0.1:9": "cannot reach the MLflow server",
}


@pytest.mark.slow
@pytest.mark.parametrize(("override", "message"), BAD.items())
def test_bad_input_is_one_line_and_leaves_no_run(override, message, tmp_path):
    done = train(tmp_path, *SMALL, override, check=False)
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert message in lines[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "mlflow.db").exists() or runs(tmp_path)[1] == []
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_a_sweep_with_weights_of_other_criteria_starts_no_run(tmp_path):
    done = train(tmp_path, "-m", *SMALL, "loss.temperature=0.05,0.1", "loss.pos_weight=[1,2]", check=False)
    assert done.returncode == 1
    _, line = done.stderr.strip().splitlines()  # the first is "loading …"
    assert line.startswith(
        "error: loss.pos_weight must have one weight per criterion, got 2 for 9 criteria: linguistic_"
    )
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.slow
def test_missing_folders_are_one_line(tmp_path):
    done = train(tmp_path, "data=votes", "data.path=./nowhere", check=False)
    assert "nowhere" in done.stderr.strip().splitlines()[-1]
    done = train(tmp_path, "model=hub", "model.name=./no-model", check=False)
    assert "existing folder, got ./no-model" in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "mlflow.db").exists()


def test_help_answers_without_the_heavy_imports(tmp_path):
    done = run("-X", "importtime", *TRAIN, "--cfg", "job", cwd=tmp_path, new_interpreter=True)
    assert "lambda_contrastive: 0.1" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "hydra" in imported
    assert not imported & {"torch", "transformers", "mlflow", "pyarrow", "optuna", "sklearn"}


@pytest.mark.slow
def test_another_judge_gives_the_final_evaluation(tmp_path):
    options = ("judge=neighbours", "judge.space=embeddings", "loss.contrastive.projection=per_criterion")
    done = train(tmp_path, *SMALL, *options, "tracking.metrics=all")
    (run,) = runs(tmp_path)[1]
    assert "the judge by vectors has weight" in done.stderr
    (output,) = tmp_path.glob("outputs/*/*")
    metrics = json.loads((output / "metrics.json").read_text())["metrics"]
    recorded = run.data.metrics
    for name in ("val/macro_f1", "test/macro_f1", "test_ood/linear/macro_f1", "judge/weight/consistency"):
        assert recorded[name] == pytest.approx(metrics[name])
    assert recorded["final/val/macro_f1"] == recorded["val/macro_f1"]
    assert run.data.params["judge"] == "neighbours"
    judged = pq.read_table(next(tmp_path.glob("mlartifacts/**/embeddings/train.parquet")))
    assert len(judged) == 96
