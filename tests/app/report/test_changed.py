"""Which decisions differ between the run with a contrastive term and that without, as the report shows it."""

import pytest

from contrastive_app.judge.compared import Tally
from contrastive_app.report.cases import MOST_LETTERS, MOST_TURNS
from contrastive_app.report.changed import MOST_SHOWN, changed_judgements
from contrastive_app.report.evidence import gather

from .conftest import CRITERIA, write_recorded
from .test_page import page_of

CONTRASTIVE, BASELINE = 0, 1  # places of the trials


@pytest.fixture
def two(sweep):
    """A sweep of two runs, and a function that writes what one of them has recorded of a split."""
    sweep.trial(0.07, 0.1, 0.9)
    sweep.trial(0.07, 0.0, 0.8)

    def record(trial, probabilities, *, seed=0, **more):
        write_recorded(sweep.trials[trial].runs[seed].folder, probabilities, **more)

    return sweep, record


def changed(sweep):
    return changed_judgements(gather(sweep.outcome()))


def test_decisions_are_compared_at_the_thresholds_of_each_run(two):
    """On the first criterion most say yes; the contrastive run does so on three responses, the other on one of them."""
    sweep, record = two
    record(CONTRASTIVE, [[0.35, 0.9], [0.8, 0.9], [0.1, 0.9], [0.6, 0.9]], thresholds=(0.3, 0.5))
    record(BASELINE, [[0.35, 0.9], [0.4, 0.9], [0.1, 0.9], [0.7, 0.9]])
    found = changed(sweep)
    assert (found.split, found.seed, found.num_decisions, found.num_differ) == ("test", 0, 8, 2)
    (row,) = found.table.rows
    gain = Tally(num_voted=4, differ=2, a_right=0, b_right=2).gain()
    interval = f"{gain[1]:+.3f} to {gain[2]:+.3f}".replace("-", "−")
    assert (row.name, row.cells) == ("safe", ["2", "0", "2", "+0.500", interval])
    assert found.words.startswith("Of the 2 on which people voted, τ = 0.07, λ = 0.1 is right on 2 and λ = 0 on 0.")
    assert "On no criterion is either right more often beyond chance." in found.words
    assert [case.response for case in found.cases] == ["response 1", "response 0"]  # 0.4 apart, and not at all
    assert found.cases[0].said.rows[0].cells == ["2 of 3", "0.40 no", "0.80 yes", "τ = 0.07, λ = 0.1"]


def test_who_is_right_beyond_chance_is_said_and_ten_responses_are_shown(two):
    sweep, record = two
    record(CONTRASTIVE, [[0.1, 0.6]] * 12)
    record(BASELINE, [[0.9, 0.4]] * 12)
    found = changed(sweep)
    assert found.num_differ == 24
    assert "Beyond chance, λ = 0 is right more often on safe." in found.words
    assert f"Beyond chance, τ = 0.07, λ = 0.1 is right more often on {CRITERIA[1]}." in found.words
    assert len(found.cases) == MOST_SHOWN
    assert [row.name for row in found.cases[0].said.rows] == list(CRITERIA)


def test_without_votes_nobody_is_right(two):
    sweep, record = two
    record(CONTRASTIVE, [[0.1, 0.6]], votes=((0, 0), (0, 0)))
    record(BASELINE, [[0.9, 0.6]], votes=((0, 0), (0, 0)))
    found = changed(sweep)
    assert (found.words, found.table.rows[0].cells) == ("", ["1", "0", "0", "–", "–"])
    assert found.cases[0].said.rows[0].cells == ["–", "0.90 yes", "0.10 no", "–"]


def test_the_first_seed_that_both_have_without_doubt_is_compared_on_valid_if_there_is_no_test(two):
    sweep, record = two
    runs = sweep.trials[BASELINE].runs
    runs.update({seed: sweep.run(f"001/seed_{seed}", 0.8, 0.0) for seed in (1, 2)})
    runs[1] = runs[1]._replace(doubt="never left the base rates")
    others = {seed: sweep.run(f"000/seed_{seed}", 0.9, 0.1) for seed in (1, 2)}
    del sweep.trials[CONTRASTIVE].runs[0]
    sweep.trials[CONTRASTIVE].runs.update(others)
    for trial in (CONTRASTIVE, BASELINE):
        record(trial, [[0.1, 0.6]], split="valid", seed=2)
    found = changed(sweep)
    assert (found.seed, found.split, found.num_differ, found.cases) == (2, "valid", 0, [])
    assert "On valid, 0 of 2 decisions with" in page_of(sweep.outcome())


def test_there_is_nothing_without_a_baseline_a_file_or_the_same_responses(two):
    sweep, record = two
    assert changed(sweep) is None
    record(CONTRASTIVE, [[0.1, 0.6]])
    assert changed(sweep) is None
    record(BASELINE, [[0.1, 0.6]], response=["another"])
    assert changed(sweep) is None
    record(BASELINE, [[0.9, 0.6]])
    assert changed(sweep) is not None
    (sweep.trials[BASELINE].runs[0].folder / "judge/judge.json").unlink()
    assert changed(sweep) is None
    assert "Which judgements changed" not in page_of(sweep.outcome())
    record(BASELINE, [[0.9, 0.6]])
    sweep.trials.pop(BASELINE)
    assert changed(sweep) is None


def test_the_page_shows_long_and_hostile_texts_shortened_and_escaped(two):
    sweep, record = two
    evil = "<img src='http://x' onerror='alert(1)'>"
    turns = [f"{evil} turn {number}" for number in range(MOST_TURNS + 2)]
    texts = {"response": ["가" * (MOST_LETTERS + 1)], "context": [turns], "domain": [evil]}
    record(CONTRASTIVE, [[0.1, 0.6]], **texts)
    record(BASELINE, [[0.9, 0.6]], **texts)
    page = page_of(sweep.outcome())
    assert "<img src='http" not in page
    assert "… 2 earlier turns" in page
    assert "turn 1<" not in page
    assert "&lt;img src=&#39;http://x&#39; onerror=&#39;alert(1)&#39;&gt; turn 2" in page
    assert f">{'가' * MOST_LETTERS}…<" in page
