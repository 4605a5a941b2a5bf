"""`contrastive-judge --compare A B`: where two judges decide differently, and who is right more often."""

import json
import re
import shutil

import numpy as np
import pytest

from contrastive_app.judge.compared import Tally
from support.judges import export
from support.rows import write_rows

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("judge")]


@pytest.fixture(scope="module")
def strict(trained, tmp_path_factory):
    """The same judge, which says yes on the first criterion to the surest tenth only."""
    folder = tmp_path_factory.mktemp("strict") / "judge"
    shutil.copytree(trained.output / "judge", folder)
    settings = json.loads((folder / "judge.json").read_text(encoding="utf-8"))
    _, probabilities, *_ = trained.evaluated("test")
    settings["thresholds"][0] = float(np.quantile(probabilities[:, 0], 0.9))
    (folder / "judge.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder, settings["thresholds"][0]


def test_the_decisions_that_differ_are_listed_and_counted(trained, judge, tmp_path, strict):
    """On the recorded test responses of A, and on the same ones in a file, where some have no votes."""
    folder, threshold = strict
    _, probabilities, yes_votes, num_votes = trained.evaluated("test")
    first = probabilities[:, 0]
    own = json.loads((trained.output / "judge/judge.json").read_text(encoding="utf-8"))["thresholds"][0]
    differ = (first > own) != (first > threshold)
    yes = 2 * yes_votes[:, 0] > num_votes[:, 0]
    a_right = int((differ & ((first > own) == yes)).sum())
    assert 0 < a_right < differ.sum()
    told = judge("--compare", trained.run_id, folder, "--out", tmp_path / "c.jsonl")
    cells = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = trained.rows("test")
    assert [cell["id"] for cell in cells] == [row["id"] for row, other in zip(rows, differ, strict=True) if other]
    assert {cell["criterion"] for cell in cells} == {trained.criteria[0]}
    assert [cell["probability_a"] for cell in cells] == pytest.approx(first[differ].tolist(), abs=1e-4)
    assert sum(cell["right"] == "a" for cell in cells) == a_right
    assert all(cell["decision_a"] != cell["decision_b"] for cell in cells)
    tally = Tally(int((num_votes[:, 0] > 0).sum()), int(differ.sum()), a_right, int(differ.sum()) - a_right)
    found = re.search(rf"{trained.criteria[0]} +│ +(\d+) │ +(\d+) │ +(\d+) │", told)
    assert tuple(map(int, found.groups())) == (tally.differ, tally.a_right, tally.b_right)
    assert f"{tally.gain()[0]:+.3f} (" in told

    for row in rows[1:]:
        row["votes"] = {}
    judge(write_rows(tmp_path / "a.jsonl", rows), "--compare", trained.output, folder)
    unjudged = [json.loads(line) for line in (tmp_path / "a.compared.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [cell["id"] for cell in unjudged] == [cell["id"] for cell in cells]
    assert {cell["right"] for cell in unjudged[1:]} == {None}


def test_equal_judges_do_not_differ(trained, judge, tmp_path):
    told = judge("--compare", trained.output, trained.run_id, "--out", tmp_path / "c.csv")
    assert "compared: 0 decisions differ" in told
    assert "neither is right more often beyond chance" in told
    assert (tmp_path / "c.csv").read_text(encoding="utf-8").startswith("id,criterion,yes_votes")


def test_what_cannot_be_compared_is_said_in_one_line(trained, judge, tmp_path):
    file = write_rows(tmp_path / "a.jsonl", [{"response": "좋아요"}])
    export(tmp_path / "other")
    settings = json.loads((tmp_path / "other/judge.json").read_text(encoding="utf-8"))
    (tmp_path / "other/judge.json").write_text(json.dumps(settings | {"criteria": ["x", "y"]}), encoding="utf-8")
    found = judge(file, "--compare", trained.run_id, tmp_path / "other")
    assert found.startswith("error: --compare: the judges have no criterion in common: ")
    found = judge("--compare", "models:/judge@champion", trained.run_id)
    assert found.endswith("models:/judge@champion is no run that has recorded test responses: give a FILE")
    assert judge(file, "--compare", trained.run_id, trained.run_id, "--neighbours", 3).startswith(
        "error: --compare A B"
    )
    assert list(tmp_path.glob("*compared*")) == []


def test_the_interval_is_of_those_on_which_they_differ():
    """McNemar: 5 of 5 are Clopper and Pearson's 0.478 to 1; a hundred more on which they agree change nothing else."""
    low = 0.025 ** (1 / 5)
    assert Tally(20, 5, 0, 5).gain() == pytest.approx((5 / 20, (2 * low - 1) * 5 / 20, 5 / 20))
    assert Tally(120, 5, 0, 5).gain() == pytest.approx((5 / 120, (2 * low - 1) * 5 / 120, 5 / 120))
    assert Tally(20, 5).gain() is None
