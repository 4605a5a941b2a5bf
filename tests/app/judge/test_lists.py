"""Whom to ask again and which labels may be wrong, as lists, as tasks for annotation tools, and per annotator."""

import json
import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from contrastive_app.judge.annotation_tools import interface_of
from contrastive_app.judge.annotators import Agreement
from contrastive_app.judge.lists import Longest
from contrastive_learning.data.reading import Reader, ReadingRules
from contrastive_learning.data.responses import RatedResponse, VoteCount
from contrastive_learning.data.summary import vote_facts
from contrastive_learning.metrics import chances_of_error, values_of_a_vote
from support.judges import export
from support.rows import write_rows

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("judge")]


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def shares_and_votes(trained, scores, rows):
    settings = json.loads((trained.output / "judge/judge.json").read_text(encoding="utf-8"))
    shares = np.array([[row[f"vote_share/{name}"] for name in trained.criteria] for row in scores])
    votes = [[row["votes"].get(name, []) for name in trained.criteria] for row in rows]
    yes, total = (np.array([[count(said) for said in row] for row in votes]) for count in (sum, len))
    return shares, settings["concentrations"], yes, total


def test_the_lists_hold_the_cells_that_come_first(trained, judge, tmp_path):
    rows = trained.rows("test", "test_ood")
    for row in rows[::3]:
        row["votes"] = {}  # nobody was asked: the list may begin with these
    told = judge(write_rows(tmp_path / "a.jsonl", rows), "--ask-again", 40, "--label-errors", 10)
    known = shares_and_votes(trained, rows_of(tmp_path / "a.scores.jsonl"), rows)
    for kind, score, order, number in (
        ("ask_again", "value", values_of_a_vote(*known), 40),
        ("label_errors", "chance", chances_of_error(*known), 10),
    ):
        listed = rows_of(tmp_path / f"a.{kind}.jsonl")
        best = np.sort(order[~np.isnan(order)])[::-1][:number]
        assert [row[score] for row in listed] == pytest.approx(best.tolist(), abs=1e-5)
        assert [row["rank"] for row in listed] == list(range(1, number + 1))
        places = {row["id"]: place for place, row in enumerate(rows)}
        for row in listed:
            cell = places[row["id"]], trained.criteria.index(row["criterion"])
            assert row[score] == pytest.approx(order[cell], abs=1e-5)
            assert (row["yes_votes"], row["num_votes"]) == (known[2][cell], known[3][cell])
            assert row["response"] == rows[cell[0]]["response"]
        assert f"listed: {number} of {kind}, {tmp_path}/a.{kind}.jsonl" in re.sub("\n", "", told)
    assert min(row["num_votes"] for row in rows_of(tmp_path / "a.label_errors.jsonl")) > 0


def test_a_list_is_the_same_whatever_the_parts(trained, judge, tmp_path):
    rows = trained.rows("test")
    judge(write_rows(tmp_path / "a.jsonl", rows), "--out", tmp_path / "a.parquet", "--ask-again", 20)
    settings = json.loads((trained.output / "judge/judge.json").read_text(encoding="utf-8"))
    table = pd.read_parquet(tmp_path / "a.parquet")
    _, _, yes_votes, num_votes = trained.evaluated("test")
    table["yes_votes"], table["num_votes"] = yes_votes.astype(int).tolist(), num_votes.astype(int).tolist()
    listed = {}
    for size in (1, 7, len(rows)):
        longest = Longest("ask_again", 20, settings)
        for start in range(0, len(rows), size):
            longest.add(pa.Table.from_pandas(table[start : start + size]))
        texts = (RatedResponse(row["id"], "d", (), row["response"], {}, "g") for row in rows)
        listed[size] = [(row["id"], row["criterion"]) for row in longest.listed(texts)]
    written = pd.read_parquet(tmp_path / "a.ask_again.parquet")
    assert listed[1] == listed[7] == listed[len(rows)]
    assert listed[1] == list(zip(written["id"], written["criterion"], strict=True))


@pytest.mark.parametrize("tool", ["label_studio", "argilla"])
def test_what_a_tool_exports_of_such_tasks_is_read_as_votes(trained, judge, tmp_path, tool):
    """The tasks, answered as the tool writes answers, are responses with these votes."""
    rows = {row["id"]: row for row in trained.rows("test")}
    judge(write_rows(tmp_path / "a.jsonl", list(rows.values())), "--ask-again", 12, "--lists-for", tool)
    path = tmp_path / f"a.ask_again.{tool}.json"
    tasks = json.loads(path.read_text(encoding="utf-8"))
    assert 1 <= len(tasks) <= 12
    for number, task in enumerate(tasks):
        about = task["data"] if tool == "label_studio" else task["metadata"]
        asked = about["wanted"].split(", ")
        assert set(asked) <= set(trained.criteria)
        if tool == "label_studio":
            said = [{"from_name": name, "type": "choices", "value": {"choices": ["yes"]}} for name in asked]
            task |= {"id": number, "annotations": [{"completed_by": 3, "result": said}]}
        else:
            task["responses"] = {name: [{"user_id": "kim", "value": "yes", "status": "submitted"}] for name in asked}
    path.write_text(json.dumps(tasks, ensure_ascii=False), encoding="utf-8")
    read = Reader(ReadingRules("auto", None, False, None)).read("train", path)
    for item, task in zip(read, tasks, strict=True):
        about = task["data"] if tool == "label_studio" else task["metadata"]
        assert dict(item.votes) == dict.fromkeys(about["wanted"].split(", "), VoteCount(1, 1))
        original = rows[item.id]
        assert (list(item.context), item.response) == (original["context"], original["response"])
        assert item.domain == original["domain"]
    if tool == "label_studio":
        names = [choices.get("name") for choices in ET.parse(interface_of(path)).iter("Choices")]
        assert names == trained.criteria


def test_a_list_needs_a_judge_that_knows_how_votes_spread_and_votes_for_errors(trained, judge, tmp_path):
    file = write_rows(tmp_path / "a.jsonl", [{"response": "좋아요"}])
    assert judge(file, "--ask-again", 0) == "error: --ask-again must be at least 1, got 0"
    export(tmp_path / "old")
    settings = json.loads((tmp_path / "old/judge.json").read_text(encoding="utf-8"))
    del settings["concentrations"]
    (tmp_path / "old/judge.json").write_text(json.dumps(settings), encoding="utf-8")
    assert judge(file, "--ask-again", 3, "--model", tmp_path / "old").startswith("error: this judge is older than")
    assert "no a.label_errors.jsonl: no response has votes" in judge(file, "--label-errors", 3)
    assert sorted(path.name for path in tmp_path.glob("a.*")) == ["a.jsonl", "a.scores.jsonl"]
    told = judge(file, "--out", tmp_path / "b.jsonl", "--ask-again", 3)
    assert "listed: 3 of ask_again" in told
    assert "b.ask_again.jsonl exists already" in judge(file, "--out", tmp_path / "b.scores.jsonl", "--ask-again", 3)


def test_annotators_are_compared_with_the_others_if_they_are_named(trained, judge, tmp_path):
    """kim says no where lee and park say yes; a single vote and an even split of the others are not compared."""
    said = {"a": {"kim": 0, "lee": 1, "park": 1}, "b": {"kim": 0, "lee": 1, "park": 1}, "c": {"kim": 1}}
    first = trained.criteria[0]
    rows = [{"id": id, "response": f"좋아요 {id}", "votes": {first: votes}} for id, votes in said.items()]
    told = judge(write_rows(tmp_path / "a.jsonl", rows))
    found = re.findall(r"│ (\w+) +│ +(\d+) │ +(\d\.\d+) │", told)
    assert found == [("kim", "2", "0.000")]
    assert re.findall(rf"│ {first} +│ +(\d+) │ +(\S+) │", told) == [("2", "-0.250")]  # alpha, of the two with others
    judgements = {"polite": (("kim", True), ("lee", True), ("park", False), ("choi", True))}
    agreement = Agreement()
    item = RatedResponse("a", "d", (), "r", {"polite": VoteCount(3, 4)}, "g", judgements)
    assert list(agreement.watch([item])) == [item]
    assert dict(agreement.compared) == dict.fromkeys(["kim", "lee", "park", "choi"], 1)
    assert [agreement.agreed[name] for name in agreement.compared] == [1, 1, 0, 1]


def test_alpha_is_that_of_the_data_report_per_criterion_and_on_average():
    """On `clear` votes differ, on `safe` all agree, and on `kind` there is one vote per response."""
    votes = [VoteCount(yes, 3) for yes in (0, 0, 1, 2, 3, 3, 3, 3)] + [VoteCount(yes, 2) for yes in (0, 1, 2, 2)]
    items = [
        RatedResponse(str(row), "d", (), "r", {"clear": vote, "safe": VoteCount(2, 2), "kind": VoteCount(1, 1)}, "g")
        for row, vote in enumerate(votes)
    ]
    agreement = Agreement()
    assert list(agreement.watch(items)) == items
    alphas = agreement.alphas()
    assert alphas["clear"] == vote_facts(items, "clear").agreement
    assert math.isnan(alphas["safe"])
    assert alphas.keys() == {"clear", "safe"}
    (table,) = agreement.tables()  # nobody is named
    shown = f"{alphas['clear']:.3f}"
    assert [list(column.cells) for column in table.columns] == [
        ["clear", "safe", "mean"],
        ["12", "12", ""],
        [shown, "-", shown],
    ]
