"""The comparison of a sweep that is ready when one opens it, and what stands on the parent run."""

import base64
import json
import zlib
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import mlflow
import pytest
from mlflow import MlflowClient

from optuna_sweep.record.show import base_address
from optuna_sweep.record.view import TAG, View, compare_address

NAME = "hydra.sweeper.study_name=s"
TRACKING = "tracking=sqlite:///mlflow.db"
REPORT = "hydra.sweeper.report=app.report"


def view(params=("x", "y"), objectives=("final/value",), more=(), answer="", is_noise=False):
    what = params, params, is_noise, objectives
    return View("3", "abc", "s", answer, *what, True, ["value"], ["val/embedding"], 4, more)


def state_of(tag):
    return json.loads(zlib.decompress(base64.b64decode(json.loads(tag)["state"].removeprefix("deflate;"))))


def artifacts(folder, run_id):
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    return {item.path for item in client.list_artifacts(run_id)}


def saved_views(folder):
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    tags = client.get_experiment_by_name("app").tags
    return {name.removeprefix(TAG): state_of(tag) for name, tag in tags.items() if name.startswith(TAG)}


@pytest.mark.parametrize("word", [TAG, "viewStateShareKey", "compareRunCharts", "deflate;", "orderByAsc", "SHOW_ALL"])
def test_this_mlflow_still_reads_what_a_view_is_made_of(word):
    """If not: the format has changed, and View.address must become View.plain_address until View.tag follows."""
    scripts = Path(mlflow.__file__).parent.glob("server/js/build/static/js/*.js")
    assert any(word in script.read_text(encoding="utf-8") for script in scripts)


def test_a_view_has_the_charts_of_its_parameters_and_objectives():
    key, tag = view().tag()
    assert key == f"{TAG}{view().key}"
    charts = [chart["type"] for chart in state_of(tag)["compareRunCharts"]]
    assert charts == ["PARALLEL", "CONTOUR", "SCATTER", "SCATTER", "LINE", "IMAGE"]
    _, tag = view(params=("x",), objectives=("final/a", "final/b")).tag()
    charts = [chart["type"] for chart in state_of(tag)["compareRunCharts"]]
    assert charts == ["PARALLEL", "SCATTER", "SCATTER", "LINE", "IMAGE"]


def test_the_answer_is_a_heading_and_no_chart_stretches_noise():
    _, tag = view(answer="No gain.", is_noise=True).tag()
    assert [chart["type"] for chart in state_of(tag)["compareRunCharts"]] == ["BAR", "LINE", "IMAGE"]
    assert state_of(tag)["compareRunSections"][0]["name"] == "No gain."
    assert state_of(view().tag()[1])["compareRunSections"][0]["name"] == "Sweep"
    _, tag = view(objectives=("final/a", "final/b"), is_noise=True).tag()
    assert "BAR" not in [chart["type"] for chart in state_of(tag)["compareRunCharts"]]  # the other may differ


def test_further_columns_stand_beside_objectives_and_parameters_once():
    _, tag = view(params=("x",), more=("metrics.`flips`", "params.`x`")).tag()
    assert state_of(tag)["selectedColumns"] == ["metrics.`final/value`", "params.`x`", "metrics.`flips`"]


def test_a_view_that_no_tag_can_hold_is_not_saved():
    assert view(params=[f"group.parameter_{hash((index, 0)):x}" for index in range(300)]).tag() is None


def test_addresses():
    plain = parse_qs(urlsplit(view().plain_address.removeprefix("/#")).query)
    assert plain["searchFilter"] == ["tags.`mlflow.parentRunId` = 'abc'"]
    assert (plain["orderByKey"], plain["orderByAsc"]) == (["metrics.`final/value`"], ["true"])
    assert unquote(compare_address("3", ["a", "b"])).startswith('/#/compare-runs?runs=["a","b"]&experiments=["3"]')
    assert base_address("sqlite:///mlflow.db", "http://127.0.0.1:5000/") == "http://127.0.0.1:5000"
    assert base_address("https://me:secret@host:81/mlflow", "unused") == "https://host:81/mlflow"


@pytest.mark.slow
def test_a_sweep_leaves_its_comparison_and_continuing_it_renews_it(sweeps):
    columns = "hydra.sweeper.mlflow_columns=[value,name,nothing]"
    command = (NAME, TRACKING, REPORT, columns, "epochs=2", "x=1,2,3", "y=0,1", "failing_x=3", "failure=exception")
    out = sweeps.run(*command, code=1)
    (parent,), children = sweeps.children()
    (address,) = (line.removeprefix("Comparison: ") for line in out.splitlines() if line.startswith("Comparison: "))
    assert address == "http://127.0.0.1:5000" + parent.data.tags["sweep.view"]
    ((key, state),) = saved_views(sweeps.folder).items()
    assert f"viewStateShareKey={key}" in address
    assert parent.info.run_id in state["searchFilter"]
    assert state["selectedColumns"] == ["metrics.`final/value`", "params.`x`", "params.`y`", "params.`name`"]
    assert state["orderByAsc"] is True
    (best,) = (line for line in unquote(out).splitlines() if line.startswith("Best runs: "))
    compared = json.loads(best.partition("runs=")[2].partition("&")[0])
    names = {run.info.run_id: run.info.run_name for run in children}
    assert [names[run_id] for run_id in compared[:2]] == ["000 x=1 y=0", "001 x=1 y=1"]
    note = parent.data.tags["mlflow.note.content"]
    assert "- `x`: 1, 2, 3" in note
    assert "4 COMPLETE, 2 FAIL" in note
    assert "| 000 | 1 | 0 | 1.0000 |" in note
    assert note.count("\n| 00") == 3
    assert "app.py" in note
    assert "**Failed**: 2 of 6 trials failed: 004 RuntimeError: boom, 005 RuntimeError: boom" in note
    failed = [run for run in children if run.data.tags["sweep.state"] == "FAIL"]
    assert {(run.info.status, run.data.tags["mlflow.note.content"]) for run in failed} == {
        ("FAILED", "**FAIL**: RuntimeError: boom")
    }
    found = artifacts(sweeps.folder, parent.info.run_id)
    assert {"history.png", "contour.png", "parallel_coordinates.png", "report.txt"} <= found
    assert "importance.png" not in found
    assert (sweeps.folder / "runs/s/report.txt").read_text().split()[:2] == ["000", "001"]
    sweeps.run(*command, code=1)
    assert list(saved_views(sweeps.folder)) == [key]
    (_, children) = sweeps.children()
    told = {run.info.run_name: run.data.tags.get("mlflow.note.content", "") for run in children}
    assert told["001 x=1 y=1"].startswith("**In the sweep**: place 2 of 4, `value` ")
    assert " behind trial 000." in told["001 x=1 y=1"]
    assert told["000 x=1 y=0"].count("**In the sweep**") == 1


@pytest.mark.slow
def test_importance_comes_with_the_tenth_trial(sweeps):
    sweeps.run(NAME, TRACKING, "x=1,2,3,4,5", "y=0,1", "name='http://me:secret@host'")
    (parent,), _ = sweeps.children()
    assert "secret" not in parent.data.tags["mlflow.note.content"]
    assert "importance.png" in artifacts(sweeps.folder, parent.info.run_id)


@pytest.mark.slow
def test_two_objectives_have_a_front(sweeps):
    two = ("hydra.sweeper.direction=[minimize,maximize]", "kind=pair")
    sweeps.run(NAME, TRACKING, *two, "x=1,2,3", "y=0,1")
    (parent,), _ = sweeps.children()
    found = artifacts(sweeps.folder, parent.info.run_id)
    assert {"pareto_front.png", "history_0.png", "history_1.png", "contour_1.png"} <= found
    assert "**The Pareto front**" in parent.data.tags["mlflow.note.content"]


@pytest.mark.slow
def test_a_report_that_fails_costs_one_line_and_a_missing_one_no_trial(sweeps):
    out = sweeps.run(NAME, TRACKING, REPORT, "x=1,2", "name=unreportable")
    assert "no report: RuntimeError: nothing to say" in out
    (parent,), _ = sweeps.children()
    assert parent.info.status == "FINISHED"
    out = sweeps.run("hydra.sweeper.study_name=t", "hydra.sweeper.report=app.repotr", "x=1,2", code=1)
    assert "report: " in out
    assert len(sweeps.started()) == 2
