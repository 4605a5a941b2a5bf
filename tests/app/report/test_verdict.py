"""What the report dares to say, for each kind of sweep."""

from dataclasses import replace
from pathlib import Path

import pytest

from contrastive_app.places import command
from contrastive_app.report.evidence import gather
from contrastive_app.report.verdict import verdict_of
from contrastive_app.report.wording import signed

from .conftest import METRIC
from .test_page import page_of

BASE = (0.70, 0.71, 0.69, 0.70, 0.72, 0.70, 0.69, 0.71)


def shifted(by, noise=0.0):
    return [value + by + noise * (-1) ** index for index, value in enumerate(BASE)]


def verdict(outcome):
    return verdict_of(gather(outcome))


def test_without_a_baseline_one_seed_names_the_best_and_no_more(sweep):
    sweep.trial(0.07, 0.1, 0.8)
    sweep.trial(0.1, 0.3, 0.7)
    found = verdict(sweep.outcome())
    assert found.headline == "Best: τ = 0.07, λ = 0.1, with val/macro_f1 0.8000."
    assert "One seed cannot tell" in found.reason
    assert "was not asked" in found.reason


def test_an_open_question_ends_with_the_command_that_decides_it(sweep):
    sweep.trial(0.07, 0.1, 0.8)
    asked = "python -m src.train -m x=1,2"
    stage = "hydra.sweeper.confirm.top_k=1 hydra.sweeper.confirm.num_seeds=8"
    baseline = "'hydra.sweeper.confirm.baseline={loss.lambda_contrastive:0}'"
    found = verdict(replace(sweep.outcome(), command=asked))
    assert found.next_step == f"To decide it with 16 runs on fresh seeds: {asked} {stage} {baseline}"
    few = sweep.confirmation(0, shifted(0.1, noise=0.01)[:3], BASE[:3])
    confirmed = f"{asked} hydra.sweeper.confirm.num_seeds=3"
    assert verdict(replace(sweep.outcome(few), command=confirmed)).next_step == found.next_step


def test_a_decided_question_ends_with_the_command_that_trains_the_best_again(sweep):
    sweep.trial(0.07, 0.1, 0.8)
    outcome = replace(sweep.outcome(sweep.confirmation(0, shifted(0.05), BASE)), sweep_dir=Path("multirun/s t"))
    assert verdict(outcome).next_step == (
        f"To train the best again: {command('train')} --config-dir 'multirun/s t' --config-name best_config"
    )


def test_where_lambda_0_is_kept_the_next_command_trains_it(sweep):
    sweep.trial(0.07, 0.1, 0.9)
    outcome = sweep.outcome(sweep.confirmation(0, shifted(-0.05), BASE))
    assert verdict(outcome).next_step.endswith("its run's folder, which is not on this machine.")
    folder = sweep.folder / "without/0/.hydra"
    folder.mkdir()
    (folder / "config.yaml").write_text("loss: {lambda_contrastive: 0}", encoding="utf-8")
    assert verdict(outcome).next_step == (
        f"To train λ = 0 again: {command('train')} --config-dir {folder} --config-name config"
    )


@pytest.mark.parametrize(("value", "word"), [(0.8, "ahead of"), (0.6, "behind")])
def test_one_seed_against_lambda_0_decides_nothing(sweep, value, word):
    sweep.trial(0.07, 0.1, value)
    sweep.trial(0.07, 0.0, 0.7)
    assert verdict(sweep.outcome()).headline.startswith(f"Not decided: τ = 0.07, λ = 0.1 is 0.1000 {word} λ = 0")


def test_instance_discrimination_alone_is_a_contrastive_term(sweep):
    sweep.trial(0.1, 0.0, 0.8, instance_weight=0.1)
    sweep.trial(0.07, 0.0, 0.7)
    found = gather(sweep.outcome())
    assert (found.contrastive.trials, found.baseline.trials) == ([0], [1])
    assert verdict(sweep.outcome()).headline.startswith(
        "Not decided: τ = 0.1, λ = 0 is 0.1000 ahead of instance_weight = 0"
    )
    sweep.trials.pop()
    assert gather(sweep.outcome()).baseline is None


@pytest.mark.parametrize(
    ("values", "headline", "trains"),
    [
        (shifted(0.05), "A gain from the contrastive term: use τ = 0.07, λ = 0.1.", "the best"),
        (shifted(-0.05), "A loss from the contrastive term: keep λ = 0.", "λ = 0"),
        (
            shifted(0.001, noise=0.02),
            "No gain in val/macro_f1 beyond seed noise: keep λ = 0; up to +0.0189 stays possible.",
            "λ = 0",
        ),
    ],
)
def test_eight_fresh_seeds_decide(sweep, values, headline, trains):
    sweep.trial(0.07, 0.1, 0.9)
    found = verdict(sweep.outcome(sweep.confirmation(0, values, BASE)))
    assert found.headline == headline
    assert found.next_step.startswith(f"To train {trains} again")
    assert "8 paired seeds" in found.reason
    assert "flatters" not in found.reason


def test_stuck_runs_of_the_baseline_do_not_decide(sweep):
    """A gain of all eight seeds, and none of the four in which no run is stuck."""
    sweep.trial(0.07, 0.1, 0.9)
    outcome = sweep.outcome(sweep.confirmation(0, shifted(0.001, noise=0.02), (*[0.3] * 4, *BASE[4:]), stuck=0.3))
    found = verdict(outcome)
    assert found.headline == "Not decided: the answer depends on runs in doubt."
    assert "Without the runs in doubt: 0.0010 better than with λ = 0 (95 % interval" in found.reason
    assert "4 paired seeds)." in found.reason
    assert found.next_step.startswith("Before more seeds, see that fewer runs get stuck: halve optimizer.lr")
    assert "With λ = 0, 4 of 8 runs never left the base rates; without them: val/macro_f1 0.7050." in found.reason
    assert "4 of 8 runs never left the base rates; without them 0.7050" in page_of(outcome)


def test_a_gain_without_the_stuck_runs_is_one(sweep):
    sweep.trial(0.07, 0.1, *shifted(0.05))
    sweep.trial(0.07, 0.0, 0.3, *BASE[1:], stuck=0.3)
    found = verdict(sweep.outcome())
    assert found.headline == "A gain from the contrastive term: use τ = 0.07, λ = 0.1."
    assert "With λ = 0, 1 of 8 runs never left the base rates" in found.reason
    assert "7 paired seeds)." in found.reason


def test_a_stuck_run_is_said_with_one_seed_too(sweep):
    sweep.trial(0.07, 0.1, 0.8)
    sweep.trial(0.07, 0.0, 0.3, stuck=0.3)
    assert verdict(sweep.outcome()).reason.endswith("With λ = 0, 1 of 1 runs never left the base rates.")


@pytest.mark.parametrize(("count", "start"), [(2, "Not decided: 2 seeds"), (4, "A hint of a gain"), (6, "A gain")])
def test_few_seeds_are_a_hint_however_clear(sweep, count, start):
    sweep.trial(0.07, 0.1, 0.9)
    found = verdict(sweep.outcome(sweep.confirmation(0, shifted(0.1, noise=0.01)[:count], BASE[:count])))
    assert found.headline.startswith(start)
    assert ("by chance in one of" in found.reason) == (count == 4)


def test_seeds_that_chose_flatter(sweep):
    sweep.trial(0.07, 0.1, *shifted(0.05))
    sweep.trial(0.1, 0.1, *shifted(0.04))
    sweep.trial(0.07, 0.0, *BASE)
    found = verdict(sweep.outcome())
    assert found.headline == "A gain from the contrastive term: use τ = 0.07, λ = 0.1."
    assert "flatters" in found.reason


def test_trials_that_differ_only_in_the_seed_are_one_configuration(sweep):
    for seed, value in enumerate(BASE):
        sweep.trial(0.07, 0.1, value + 0.05, seeds=(seed,))
        sweep.trial(0.07, 0.0, value, seeds=(seed,))
    evidence = gather(sweep.outcome())
    assert [len(arm.runs) for arm in evidence.arms] == [8, 8]
    assert verdict_of(evidence).headline.startswith("A gain")


def test_runs_whose_folders_are_gone_are_no_baseline(sweep):
    sweep.trial(0.07, 0.1, 0.8)
    sweep.trial(0.07, 0.0, 0.7)
    for file in sweep.folder.rglob("*.json"):
        file.unlink()
    assert verdict(sweep.outcome()).headline.startswith("Best: τ = 0.07, λ = 0.1")


def pareto(sweep, points):
    """Points: λ -> (macro F1 up, Brier down)."""
    for lambda_contrastive, (up, down) in points.items():
        sweep.trial(0.07, lambda_contrastive, up, seeds=(0,))
        (run,) = sweep.trials[-1].runs.values()
        sweep.trials[-1] = replace(sweep.trials[-1], values=(up, down), runs={0: run._replace(values=(up, down))})
    values = list(points.values())
    front = [n for n, (up, down) in enumerate(values) if not any(u > up and d < down for u, d in values)]
    two = {"metrics": [METRIC, "val/borderline/brier"], "directions": ["maximize", "minimize"], "front": front}
    return replace(sweep.outcome(chosen=front[0]), **two)


def test_of_two_objectives_a_front_is_named_and_no_winner(sweep):
    outcome = pareto(sweep, {0.1: (0.8, 0.2), 0.3: (0.7, 0.1), 0.5: (0.6, 0.3), 0.0: (0.65, 0.25)})
    found = verdict(outcome)
    assert found.headline.startswith("2 of 4 configurations trade val/macro_f1 (maximize) and val/borderline/brier")
    assert "λ = 0 is not among them" in found.reason
    page = page_of(outcome)
    assert "this page looks at the one with the best val/macro_f1: <b>τ = 0.07, λ = 0.1</b>" in page


def test_of_two_objectives_one_may_be_the_best_in_both(sweep):
    found = verdict(pareto(sweep, {0.1: (0.7, 0.2), 0.0: (0.8, 0.1)}))
    assert found.headline == "One configuration is the best in both: τ = 0.07, λ = 0."
    assert "λ = 0 is among them" in found.reason


@pytest.mark.parametrize(("value", "text"), [(0.0123, "+0.012"), (-0.0123, "−0.012"), (-0.0004, "0.000"), (0, "0.000")])
def test_a_difference_that_is_shown_as_zero_has_no_sign(value, text):
    assert signed(value) == text
