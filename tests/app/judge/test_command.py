"""`contrastive-judge FILE`: scores are those of training's evaluation, each row once, whatever interrupts it."""

import io
import json
import re
import shutil
import signal
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput

from contrastive_app.judge.unfinished import ROWS_PER_PART
from support.commands import run, start, start_together, typed, wait_while_running
from support.judges import export
from support.rows import as_jsonl, write_rows

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("judge")]  # one worker trains the judge

JUDGE = ("-m", "src.judge")
PARTS, ROWS = 6, 6 * ROWS_PER_PART - 1
READ = {
    ".jsonl": lambda path: pd.read_json(path, lines=True, dtype={"id": str}),
    ".csv": pd.read_csv,
    ".parquet": pd.read_parquet,
}


def column(table, kind, criteria):
    return np.stack([table[f"{kind}/{name}"] for name in criteria], axis=1)


@pytest.mark.parametrize("ending", READ)
def test_the_scores_are_those_of_the_evaluation_in_training(trained, judge, tmp_path, ending):
    """In each format, read and written; 1e-4 in fp32, with the decisions that the thresholds of the run make."""
    file = write_rows(tmp_path / f"responses{ending}", trained.rows("test"))
    told = judge(file)
    scores = READ[ending](tmp_path / f"responses.scores{ending}")
    table, probabilities, *_ = trained.evaluated("test")
    assert scores["id"].tolist() == table["id"].tolist()
    found = column(scores, "probability", trained.criteria)
    assert np.abs(found - probabilities).max() < 1e-4
    settings = json.loads((trained.output / "judge/judge.json").read_text(encoding="utf-8"))
    expected = probabilities > settings["thresholds"]
    assert (column(scores, "decision", trained.criteria) == expected).all()
    low, share, high = (column(scores, f"vote_share{end}", trained.criteria) for end in ("_low", "", "_high"))
    assert ((low >= 0) & (low <= share) & (share <= high) & (high <= 1)).all()
    assert (high - low).mean() > 0.05
    assert len(scores.columns) == 1 + 5 * len(trained.criteria)
    assert f"judge: run {trained.run_id}, the latest" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name, f"responses.scores{ending}"]


def test_votes_in_the_file_give_the_metrics_of_the_run_and_those_per_domain(trained, judge, tmp_path):
    metrics = json.loads((trained.output / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    told = judge(write_rows(tmp_path / "test.jsonl", trained.rows("test")))
    assert re.search(r"mean +│ +(\S+) / (\S+) │", told).groups() == tuple(
        f"{metrics[name]:.3f}" for name in ("test/macro_f1", "test/auroc")
    )
    told = judge(write_rows(tmp_path / "both.jsonl", trained.rows("test", "test_ood")))
    assert "Per domain" in told
    assert f"{metrics['test_ood/macro_f1']:.3f} │ {metrics['test_ood/auroc']:.3f}" in told  # it is one domain
    rows = [{"response": "좋아요", "votes": {"politness": [1]}}]
    assert "not measured: the votes are on politness" in judge(write_rows(tmp_path / "other.jsonl", rows))


def test_a_file_without_votes_contexts_and_ids_is_judged(judge, tmp_path, trained):
    file = write_rows(tmp_path / "a.jsonl", [{"response": "좋아요"}, {"response": "좋아요"}])
    assert "mean" not in judge(file, "--out", tmp_path / "b.csv")
    assert pd.read_csv(tmp_path / "b.csv")["id"].tolist() == ["row:1", "row:2"]


def test_a_judge_is_found_by_run_registered_name_and_folder(trained, judge, tmp_path):
    file = write_rows(tmp_path / "a.jsonl", trained.rows("test")[:3])
    ways = [trained.run_id, "models:/judge@champion", "models:/judge/1", trained.output, trained.output / "judge"]
    for number, way in enumerate(ways):
        judge(file, "--model", way, "--out", tmp_path / f"{number}.jsonl")
    store = f"sqlite:///{trained.folder}/mlflow.db"
    judge(file, "--model", trained.run_id, "--store", store, "--out", tmp_path / f"{len(ways)}.jsonl")
    assert len({(tmp_path / f"{number}.jsonl").read_bytes() for number in range(len(ways) + 1)}) == 1


def test_without_a_name_the_judge_is_the_best_of_the_latest_sweep(trained, judge, tmp_path):
    """Also if a later run has a judge; a sweep whose best has none is passed over."""
    shutil.copy(trained.folder / "mlflow.db", tmp_path / "copy.db")
    client = MlflowClient(f"sqlite:///{tmp_path}/copy.db")
    experiment = client.get_experiment_by_name("contrastive-quality").experiment_id
    (output,) = client.get_run(trained.run_id).outputs.model_outputs
    later = client.create_run(experiment, start_time=9_000_000_000_000).info.run_id
    client.log_outputs(later, [LoggedModelOutput(output.model_id, step=0)])
    file = write_rows(tmp_path / "a.jsonl", trained.rows("test")[:3])
    told = judge(file, "--store", tmp_path / "copy.db", "--out", tmp_path / "b.jsonl")
    assert f"judge: run {later}, the latest" in told
    bare = client.create_run(experiment).info.run_id
    for number, best in enumerate([trained.run_id, bare]):
        tags = {"sweep.kind": "parent", "best.run_id": best}
        client.create_run(experiment, start_time=1000 + number, tags=tags, run_name=f"study {number}")
    told = judge(file, "--store", tmp_path / "copy.db", "--out", tmp_path / "c.jsonl")
    assert f"judge: run {trained.run_id}, the best of the sweep study 0" in told
    told = judge(file, "--store", tmp_path / "copy.db", "--model", bare, "--out", tmp_path / "d.jsonl")
    assert told.startswith(f"error: --model: the run {bare} has recorded no judge")


def test_neighbours_are_given_as_reasons(trained, judge, tmp_path):
    file = write_rows(tmp_path / "a.jsonl", trained.rows("test")[:3])
    judge(file, "--neighbours", 2)
    (reasons,) = {len(row[f"neighbours/{name}"]) for row in lines(tmp_path) for name in trained.criteria}
    assert reasons == 2
    assert {"response", "yes_votes", "similarity"} <= lines(tmp_path)[0][f"neighbours/{trained.criteria[0]}"][0].keys()
    assert json.loads(csv_of(judge, file)[f"neighbours/{trained.criteria[0]}"][0])[0]["num_votes"] >= 0
    export(tmp_path / "plain")
    told = judge(file, "--neighbours", 2, "--model", tmp_path / "plain", "--out", tmp_path / "c.jsonl")
    assert told == "error: this judge has no neighbours to give as reasons: train one with judge=neighbours"


def lines(folder):
    return [json.loads(line) for line in (folder / "a.scores.jsonl").read_text(encoding="utf-8").splitlines()]


def csv_of(judge, file):
    out = file.with_name("a.csv")
    judge(file, "--neighbours", 2, "--out", out)
    return pd.read_csv(out)


def test_a_judge_that_is_older_than_intervals_has_none(trained, judge, tmp_path):
    export(tmp_path / "old")
    settings = json.loads((tmp_path / "old/judge.json").read_text(encoding="utf-8"))
    del settings["concentrations"]
    (tmp_path / "old/judge.json").write_text(json.dumps(settings), encoding="utf-8")
    file = write_rows(tmp_path / "a.jsonl", trained.rows("test")[:3])
    judge(file, "--model", tmp_path / "old")
    assert not [name for name in lines(tmp_path)[0] if "low" in name]


def test_standard_input_is_judged_in_a_pipe(trained, judge, tmp_path, monkeypatch):
    rows = trained.rows("test")[:5]
    judge(write_rows(tmp_path / "a.jsonl", rows))
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdin", io.StringIO(as_jsonl(rows) + "\n"))
    monkeypatch.setattr(sys, "stdout", out)
    judge("-")
    assert [json.loads(line) for line in out.getvalue().splitlines()] == lines(tmp_path)
    assert "without --out, --ask-again" in judge("-", "--out", "b.jsonl")
    monkeypatch.setattr(sys, "stdin", io.StringIO("{"))
    assert judge("-").startswith("error: standard input, line 1: a line must be one JSON object")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["missing.jsonl"], "error: FILE must exist, got missing.jsonl"),
        (["mlflow.db"], "error: FILE must end in .jsonl, "),
        (["bad.jsonl"], "error: bad.jsonl, line 2: response must not be empty"),
        (["good.jsonl", "--out", "scores.txt"], "error: --out must end in .jsonl, .csv, .parquet; got scores.txt"),
        (["good.jsonl", "--out", "good.jsonl"], "error: good.jsonl exists already"),
        (["good.jsonl", "--lists-for", "argilla"], "error: --lists-for needs a list: --ask-again N, --label-errors N"),
        (["good.jsonl", "--out", "none/a.csv"], "error: --out must be in a folder that exists, got none/a.csv"),
        (["good.jsonl", "--model", "best"], "error: --model must be a folder, a run id, or models:/name@alias"),
        (["good.jsonl", "--model", "outputs"], "error: --model must be a folder with judge.json, or of a run"),
        (["good.jsonl", "--model", "0" * 32], f"error: --model: there is no run {'0' * 32} in sqlite:///"),
        (
            ["good.jsonl", "--model", "models:/jugde@champion"],
            "error: --model: models:/jugde@champion is not in sqlite",
        ),
        (["good.jsonl", "--store", "other.db"], "error: --store must be an MLflow store with runs, there is no /"),
        (["good.jsonl", "--neighbours", "9999"], "error: neighbours must be 0.."),
        (["good.jsonl", "--format", "shares"], "error: good.jsonl: data.source.format=shares needs columns"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_any_work(trained, judge, arguments, error):
    write_rows(trained.folder / "good.jsonl", trained.rows("test")[:2])
    write_rows(trained.folder / "bad.jsonl", [{"response": "좋아요"}, {"response": ""}])
    before = set(trained.folder.iterdir())
    told = judge(*arguments)
    assert told.startswith(error)
    assert "\n" not in told
    assert set(trained.folder.iterdir()) == before


def test_an_interrupted_command_says_how_it_continues(trained):
    some = trained.rows("test", "test_ood")
    file = write_rows(
        trained.folder / "stopped.jsonl", [some[number % len(some)] | {"id": str(number)} for number in range(ROWS)]
    )
    command = start(*JUDGE, file.name, cwd=trained.folder)
    wait_while_running(command, lambda: (trained.folder / "stopped.scores.jsonl.part" / "000000.parquet").exists())
    command.send_signal(signal.SIGINT)
    assert command.wait(60) == 130
    assert command.errors().splitlines()[-1] == "interrupted; the same command continues where it stopped"


def test_a_killed_command_goes_on_in_two_processes_and_each_row_is_there_once(trained, judge, tmp_path):
    some = trained.rows("test", "test_ood")
    rows = [some[number % len(some)] | {"id": str(number)} for number in range(ROWS)]
    file = write_rows(trained.folder / "many.jsonl", rows)
    command = start(*JUDGE, file.name, cwd=trained.folder)
    part, out = trained.folder / "many.scores.jsonl.part", trained.folder / "many.scores.jsonl"
    wait_while_running(command, lambda: (part / "000000.parquet").exists())
    command.kill()
    command.wait(30)
    assert not out.exists()
    assert 1 <= len(list(part.glob("0*.parquet"))) < PARTS
    assert "was begun with another --neighbours" in judge(file.name, "--neighbours", 1)
    first = pq.read_table(part / "000000.parquet")
    marked = first.set_column(0, "id", [[f"kept {number}" for number in first["id"].to_pylist()]])
    pq.write_table(marked, part / "000000.parquet")
    commands = start_together(2, *JUDGE, file.name, cwd=trained.folder)
    assert [command.wait(120) for command in commands] == [0, 0], [command.errors() for command in commands]
    assert "going on" in commands[0].errors()
    assert commands[1].errors() == ""
    assert not part.exists()
    resumed = out.read_text(encoding="utf-8")
    ids = [json.loads(line)["id"] for line in resumed.splitlines()]
    assert ids[:ROWS_PER_PART] == [f"kept {number}" for number in range(ROWS_PER_PART)]  # not scored again
    assert ids[ROWS_PER_PART:] == list(map(str, range(ROWS_PER_PART, ROWS)))
    judge(file.name, "--out", tmp_path / "alone.jsonl")
    assert resumed.replace('"kept ', '"') == (tmp_path / "alone.jsonl").read_text(encoding="utf-8")


def test_from_a_new_interpreter_the_command_explains_itself(trained):
    done = run(*JUDGE, "--help", cwd=trained.folder, new_interpreter=True)
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: {typed('judge', trained.folder)} ")
