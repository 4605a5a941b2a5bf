"""What a run lists to ask again, and the first of it in the report."""

import json

import numpy as np
import pytest

from contrastive_app.record import MOST_LISTED, record_review
from contrastive_app.report.review import MOST_SHOWN, reviews
from contrastive_learning.metrics import chances_of_error, values_of_a_vote
from contrastive_learning.tracking import NoTracking

from .conftest import CRITERIA, write_recorded
from .test_page import page_of

ORDERS = {"ask_again": ("value", values_of_a_vote), "label_errors": ("chance", chances_of_error)}


def listed(folder):
    """Record the lists of the run in `folder`; kind -> rows."""
    with NoTracking().open("run", {}, folder=folder, resume_run_id=None) as run:
        record_review(run, folder)
    files = (folder / "review").glob("*.jsonl")
    return {
        file.stem: [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]] for file in files
    }


def test_the_lists_hold_the_first_cells_of_valid_and_test_together(tmp_path):
    rng = np.random.default_rng(0)
    valid, test, other = (rng.uniform(0.01, 0.99, (number, 2)) for number in (40, 30, 20))
    votes = (2, 3), (1, 4)
    write_recorded(tmp_path, other, split="test_ood", votes=((1, 2), (1, 2)))
    write_recorded(tmp_path, valid, split="valid", votes=votes)
    write_recorded(tmp_path, test, split="test", votes=votes)
    found = listed(tmp_path)
    shares = np.float32(np.concatenate([valid, test]))
    ids = [f"valid {row}" for row in range(40)] + [f"test {row}" for row in range(30)]
    for kind, (column, order) in ORDERS.items():
        expected = order(shares, [3.0, 3.0], [[2, 1]], [[3, 4]])
        rows = found[kind]
        assert len(rows) == MOST_LISTED
        assert [row[column] for row in rows] == pytest.approx(np.sort(expected.ravel())[::-1][:MOST_LISTED], abs=1e-5)
        for row in rows:
            cell = ids.index(row["id"]), CRITERIA.index(row["criterion"])
            assert row["probability"] == pytest.approx(shares[cell], abs=1e-5)
            assert (row["yes_votes"], row["num_votes"]) == votes[cell[1]]
            assert row["response"] == f"response {row['id'].split()[1]}"


def test_a_run_without_test_and_majorities_lists_valid_and_no_errors(tmp_path):
    write_recorded(tmp_path, [[0.2, 0.6]], split="valid", votes=((0, 0), (1, 2)))
    found = listed(tmp_path)
    assert found.keys() == {"ask_again"}
    assert [row["criterion"] for row in found["ask_again"]] == [CRITERIA[1], CRITERIA[0]]


def test_the_page_shows_the_first_five_of_each_list_of_the_best_run(sweep):
    sweep.trial(0.07, 0.1, 0.9)
    sweep.trial(0.1, 0.1, 0.8)
    assert "Whom to ask again" not in page_of(sweep.outcome())
    best, other = (trial.runs[0].folder for trial in sweep.trials)
    for folder, domain in ((best, "<b>best"), (other, "other")):
        write_recorded(folder, [[0.1, 0.9]] * 6, domain=[domain] * 6, response=["line\u2028break"] * 6)
        listed(folder)
    again, errors = reviews(best)
    assert (again.file, errors.file) == ("review/ask_again.jsonl", "review/label_errors.jsonl")
    assert [len(review.cases) for review in (again, errors)] == [MOST_SHOWN] * 2
    (row,) = errors.cases[0].said.rows
    chance = chances_of_error([[0.1]], [3.0], [[2]], [[3]]).item()
    assert (row.name, row.cells) == ("safe", ["2 of 3", "0.10", "0.38", f"{chance:.2f}"])  # (3 x 0.1 + 2) / (3 + 3)
    page = page_of(sweep.outcome())
    assert page.count("&lt;b&gt;best") == 2 * MOST_SHOWN
    assert "line\u2028break" in page
    assert "<b>best" not in page
    assert ">other<" not in page
