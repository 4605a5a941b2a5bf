import csv
from dataclasses import replace

import pytest
import yaml

from optuna_sweep.comparison import Comparison
from optuna_sweep.outcome import ArmMean, Findings, SeedRun
from optuna_sweep.record.results import print_summary, write_files

GAIN = Comparison(0.1, 0.05, 0.15, 6)
FINDINGS = Findings(
    "trial 0", {"trial 0": ArmMean(0.5, 0.1, 6), "baseline": ArmMean(0.6, 0.1, 6)}, f"{GAIN.word}: {GAIN}", GAIN
)


def results(outcome):
    write_files(outcome)
    return yaml.safe_load((outcome.sweep_dir / "optimization_results.yaml").read_text(encoding="utf-8"))


def test_the_official_plugins_keys_come_first_and_no_credentials_with_them(outcome):
    found = results(outcome)
    assert list(found)[:3] == ["name", "best_params", "best_value"]
    assert found == {
        "name": "optuna",
        "best_params": {"loss.temperature": 0.07, "x": 3},
        "best_value": 0.5,
        "best_trial": 2,
        "output_dir": "/sweep/002",
        "study_name": "s",
        "storage": "postgresql://***@host/studies",
        "metric": "loss",
        "direction": "minimize",
        "sampler": "optuna.samplers.TPESampler",
        "trials": {"COMPLETE": 2, "FAIL": 1, "PRUNED": 1, "WAITING": 1},
    }


def test_several_objectives_have_solutions_in_the_order_of_the_front(pareto):
    found = results(pareto)
    assert found["solutions"] == [
        {"params": {"loss.temperature": 0.1, "x": 3}, "values": [0.625, 0.1]},
        {"params": {"loss.temperature": 0.07, "x": 3}, "values": [0.5, 0.2]},
    ]
    assert found["metric"] == ["loss", "brier"]
    assert "best_value" not in found


def test_the_confirm_stage_is_in_the_results(outcome):
    assert results(replace(outcome, findings=FINDINGS))["confirm"] == {
        "chosen": "trial 0",
        "arms": {
            "trial 0": {"mean": 0.5, "sd": 0.1, "seeds": 6},
            "baseline": {"mean": 0.6, "sd": 0.1, "seeds": 6},
        },
        "against_baseline": {
            "mean_gain": 0.1,
            "interval": [0.05, 0.15],
            "confidence": 0.95,
            "verdict": "a gain: +0.1000 [+0.0500, +0.1500] over 6 paired seeds",
        },
    }


def test_one_row_per_trial_that_was_started_in_the_order_of_their_numbers(outcome):
    write_files(outcome)
    rows = list(csv.DictReader((outcome.sweep_dir / "trials.csv").read_text(encoding="utf-8").splitlines()))
    assert list(rows[0]) == [
        *("trial", "state", "loss.temperature", "x", "loss", "last_step"),
        *("seconds", "retry_of", "reused_from", "output_dir", "reason"),
    ]
    assert [(row["trial"], row["state"], row["loss"]) for row in rows] == [
        ("0", "COMPLETE", "0.625"),
        ("1", "PRUNED", "0.75"),
        ("2", "COMPLETE", "0.5"),
        ("3", "FAIL", ""),
    ]
    assert rows[0]["reused_from"] == "other/7"
    assert (rows[3]["retry_of"], rows[3]["reason"]) == ("1", "RuntimeError: boom")


def test_a_trial_that_never_ran_took_no_seconds(outcome):
    failed = replace(outcome.trials[3], folder=None, seconds=0.0, last_step=None)
    write_files(replace(outcome, trials=[failed], chosen=None, front=[]))
    (row,) = csv.DictReader((outcome.sweep_dir / "trials.csv").read_text(encoding="utf-8").splitlines())
    assert (row["seconds"], row["output_dir"], row["last_step"]) == ("", "", "")


def test_the_best_configuration_keeps_its_interpolations(outcome):
    write_files(outcome)
    text = (outcome.sweep_dir / "best_config.yaml").read_text(encoding="utf-8")
    assert text.startswith("# trial 2 of study s: loss 0.5\n")
    assert yaml.safe_load(text) == {"loss": {"temperature": 0.07}, "x": 3, "seed": "${x}"}


def test_without_a_complete_trial_there_is_only_the_table_of_trials(outcome):
    files = write_files(replace(outcome, trials=outcome.trials[2:], chosen=None, front=[]))
    assert [file.name for file in files] == ["trials.csv"]


@pytest.fixture
def screen(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")

    def show(outcome, num_rows=5):
        print_summary(outcome, {"Comparison": "http://127.0.0.1:5000/#/here"}, num_rows=num_rows)
        return capsys.readouterr().err

    return show


def test_the_table_has_the_best_and_how_far_they_are_behind(outcome, screen):
    shown = screen(outcome)
    assert " ".join(shown.split()).startswith("s: best 2 of 2 COMPLETE, 1 FAIL, 1 PRUNED, 1 WAITING ")
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line]
    assert cells == [
        ["002", "0.07", "3", "0.5000", "0.0000", "1.2"],
        ["000", "0.1", "3", "0.6250", "0.1250", "1.2"],
    ]
    assert f"Results: {outcome.sweep_dir}\nComparison: http://127.0.0.1:5000/#/here\n" in shown
    assert "best 1 of" in screen(outcome, num_rows=1)


def test_runs_in_doubt_are_shown(outcome, screen):
    (best, *others), doubtful = outcome.trials, ArmMean(0.6, 0.1, 6, "2 of 6 runs got stuck", 0.25)
    runs = {0: SeedRun([0.5], best.folder, "got stuck")}
    arms = FINDINGS.arms | {"baseline": doubtful}
    found = replace(FINDINGS, arms=arms, gain_without=GAIN)
    outcome = replace(outcome, trials=[replace(best, runs=runs), *others], findings=found)
    shown = screen(outcome)
    assert "in doubt: 1 of 1 runs got stuck (trial 002)\n" in shown
    assert "over 6 fresh seeds; 2 of 6 runs got stuck; without them: 0.2500\n" in shown
    confirmed = results(outcome)["confirm"]
    assert confirmed["arms"]["baseline"]["mean_without"] == 0.25
    assert confirmed["against_baseline"]["without_doubt"] == [0.1, 0.05, 0.15]
    assert "got stuck" in (outcome.sweep_dir / "trials.csv").read_text(encoding="utf-8")


def test_what_violates_a_constraint_is_marked(outcome, screen):
    best = replace(outcome.trials[0], is_feasible=False)
    assert "002 infeasible" in screen(replace(outcome, trials=[outcome.trials[1], best]))


def test_the_whole_front_is_shown_and_marked(pareto, screen):
    shown = screen(pareto, num_rows=1)
    assert " ".join(shown.split()).startswith("s: 2 Pareto-optimal of 3 COMPLETE, 1 FAIL, 1 WAITING ")
    assert "002*" in shown
    assert "000*" in shown
    assert "001" not in shown


def test_the_confirm_stage_ends_with_its_verdict(outcome, screen):
    shown = screen(replace(outcome, findings=FINDINGS))
    assert "confirm  trial 0: mean 0.5000, sd 0.1000 over 6 fresh seeds\n" in shown
    assert "chosen by mean: trial 0\nverdict: a gain: +0.1000 [+0.0500, +0.1500] over 6 paired seeds\n" in shown
    shown = screen(replace(outcome, findings=FINDINGS, answer=["A gain.", "Six seeds agree."]))
    assert "chosen by mean: trial 0\nA gain.\nSix seeds agree.\nResults: " in shown
    alone = Findings("trial 0", {"trial 0": FINDINGS.arms["trial 0"]}, None, None)
    assert "verdict" not in screen(replace(outcome, findings=alone))
