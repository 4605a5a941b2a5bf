"""The page as a person gets it: nothing missing, nothing from outside, no text taken for markup."""

import re
from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from contrastive_app.report import report
from contrastive_app.report.evidence import gather
from contrastive_app.report.page import render
from contrastive_app.report.verdict import verdict_of
from contrastive_app.soup import SoupResult
from optuna_sweep.outcome import Estimate

BASE = (0.70, 0.71, 0.69, 0.70, 0.72, 0.70, 0.69, 0.71)


def page_of(outcome, **more):
    evidence = gather(outcome)
    return render(evidence, verdict_of(evidence), criterion=None, epochs=5, **more)


def test_it_answers_every_question_and_needs_nothing_else(sweep):
    sweep.trial(0.07, 0.1, 0.9)
    sweep.trial(0.1, 0.2, 0.8)
    sweep.trial(0.1, 0.3, 0.5, state="PRUNED")
    page = page_of(sweep.outcome(sweep.confirmation(0, [value + 0.05 for value in BASE], BASE)))
    for heading in ("Which configuration", "How sure", "Against λ = 0", "Per criterion", "Cost", "All trials"):
        assert f">{heading}" in page
    assert "Pruning saved 4 of the 5 epochs of the 1 pruned trials." in page
    assert "16 more runs and 90 s" in page
    assert "+0.050 to +0.050" in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|@import|url\(|<script""", page)


def test_reports_within_epochs_are_counted_as_reports(sweep):
    sweep.trial(0.07, 0.1, 0.9)
    sweep.trial(0.1, 0.3, 0.5, state="PRUNED")
    sweep.trials[0] = replace(sweep.trials[0], last_step=15)
    page = page_of(replace(sweep.outcome(), step_name="report"))
    assert "Pruning saved 14 of the 15 reports of the 1 pruned trials." in page
    assert ">reports</th>" in page
    sweep.trials[0] = replace(sweep.trials[0], last_step=None)  # another trial's result, which tells no reports
    assert "Pruning saved" not in page_of(replace(sweep.outcome(), step_name="report"))


def test_the_chart_explains_only_colours_that_it_has(sweep):
    sweep.trial(0.07, 0.1, 0.9)
    sweep.trial(0.1, 0.2, 0.8)
    page = " ".join(page_of(sweep.outcome()).split())
    assert "dark = chosen. No configuration ran with several seeds" in page
    sweep.trial(0.1, 0.0, 0.7, 0.72)
    page = " ".join(page_of(sweep.outcome()).split())
    assert "dark = chosen, orange = without a contrastive term. The bar on the right spans ± 0.0141" in page


def test_a_choice_by_estimate_says_how_sure_it_is(sweep):
    sweep.trial(0.07, 0.1, 0.9)
    sweep.trials = [replace(trial, estimate=Estimate(0.88, 0.01, 0.25)) for trial in sweep.trials]
    page = page_of(sweep.outcome())
    assert "Chosen by estimate: trial 000, val/macro_f1 0.8800 ± 0.0100, the best of 1 with a chance of 25 %." in page


@pytest.mark.parametrize(("wins", "words"), [(True, "it is better than"), (False, "it is no better")])
def test_a_soup_stands_beside_the_best_single_run_and_the_ceiling(sweep, wins, words):
    sweep.trial(0.07, 0.1, 0.9)
    judges = {name: {"val/macro_f1": value} for name, value in (("best single", 0.71), ("soup", 0.72), ("mean", 0.73))}
    soup = SoupResult(("000", "002 seed 1"), 4, judges, wins, sweep.folder, "soup")
    page = " ".join(page_of(sweep.outcome(), soup=soup).split())
    assert words in page
    assert "Of the 4 best runs, the weights of 2 (trials 000, 002 seed 1) averaged" in page
    assert "<td>0.7100</td><td>0.7200</td><td>0.7300</td>" in page
    assert ">Soup" not in page_of(sweep.outcome())


def test_texts_are_escaped(sweep):
    sweep.trial(0.07, 0.1, 0.9)
    sweep.trial(0.1, 0.3, 0.5, state="FAIL")
    page = page_of(sweep.outcome())
    assert "<b>친절" not in page
    assert "&lt;b&gt;친절&lt;/b&gt;" in page
    assert "<i>no memory" not in page


def test_a_sweep_that_left_no_files_still_has_a_page(sweep):
    sweep.trial(0.07, 0.1, 0.9)
    for file in sweep.folder.rglob("*.json"):
        file.unlink()
    tracking = {"_target_": "contrastive_learning.tracking.NoTracking"}
    config = OmegaConf.create({"pictures": {"criterion": None}, "trainer": {"epochs": 5}, "tracking": tracking})
    page, headline, _ = report(config, sweep.outcome(), sweep.folder)
    assert headline == "Best: τ = 0.07, λ = 0.1, with val/macro_f1 0.9000."
    assert "The runs left no metrics to read." in page.read_text()
