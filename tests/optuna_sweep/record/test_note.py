from dataclasses import replace

from optuna_sweep.comparison import Comparison
from optuna_sweep.outcome import ArmMean, Findings, SeedRun
from optuna_sweep.record.note import describe, describe_child


def test_it_says_what_was_swept_what_is_best_and_how_to_continue(outcome):
    note = describe(outcome)
    assert note.startswith(
        "Study `s`: a search by TPESampler, to minimize `loss`. "
        "2 COMPLETE, 1 PRUNED, 1 FAIL (1 reused from runs of the same point).\n\n"
    )
    assert "- `loss.temperature`: 0.05 to 0.5, log\n- `x`: 3, 4" in note
    assert "**The best**\n\n| trial | `loss.temperature` | `x` | `loss` |\n| --- | --- | --- | --- |\n" in note
    assert "| 002 | 0.07 | 3 | 0.5000 |\n| 000 | 0.1 | 3 | 0.6250 |" in note
    assert note.endswith("```\npython -m src.train -m x=3,4\n```")


def test_the_answer_comes_first_then_the_links(outcome):
    note = describe(replace(outcome, answer=["A gain.", "Six agree. So do 0.5.", "Next."]), "[the comparison](#/x)")
    assert note.startswith("**A gain.**  \nSix agree.  \nSo do 0.5.  \nNext.\n\n[the comparison](#/x)\n\nStudy `s`: ")


def test_a_grid_with_seeds_and_two_objectives(pareto):
    note = describe(replace(pareto, sampler="grid", seeds=[1, 2]))
    assert note.startswith(
        "Study `s`: every point of a grid, each with seeds 1, 2, to minimize `loss` and minimize `brier`."
    )
    assert "**The Pareto front**" in note
    assert "| 002 | 0.07 | 3 | 0.5000 | 0.2000 |" in note


def test_a_sweep_without_a_complete_trial_has_no_table(outcome):
    note = describe(replace(outcome, trials=[], chosen=None, front=[]))
    assert "Nothing finished." in note
    assert "|" not in note


def test_paused_trials_are_named_with_their_rungs_and_what_was_trained_is_told(outcome):
    (waiting,) = outcome.unfinished
    paused = [replace(waiting, number=4 + rung, state="PAUSED", rung=rung, last_step=3**rung) for rung in range(2)]
    note = describe(replace(outcome, unfinished=paused))
    assert "2 COMPLETE, 1 PRUNED, 2 PAUSED, 1 FAIL" in note
    assert "**Paused**, to continue if they deserve it: 004 at rung 0, epoch 1, 005 at rung 1, epoch 3\n" in note
    assert "**Trained**: 16 of the 20 epochs of a full search (80%)" in note  # three trials for four epochs each, 3, 1
    in_steps = describe(replace(outcome, unfinished=paused, step_name="report"))
    assert "004 at rung 0, report 1, 005 at rung 1, report 3\n" in in_steps
    assert "**Trained**: 16 of the 20 reports of a full search (80%)" in in_steps


def test_seeds_that_a_trial_did_not_come_to_are_not_trained(outcome):
    """Of two seeds the best trial has both, the pruned one and one that took another's result have one or none."""
    best, reused, pruned, _ = outcome.trials
    both = {seed: SeedRun([0.5], best.folder) for seed in (1, 2)}
    one = {1: SeedRun([], pruned.folder)}
    trials = [
        replace(best, runs=both),
        replace(reused, runs=both, last_step=None),
        replace(pruned, runs=one, last_step=1),
    ]
    assert replace(outcome, seeds=[1, 2], trials=trials).trained == "9 of the 24 epochs of a full search (38%)"


def test_what_the_confirm_stage_said(outcome):
    found = Findings("trial 2", {"trial 2": ArmMean(0.5, 0.1, 6)}, None, None)
    assert "**Confirmed on fresh seeds**: trial 2\n" in describe(replace(outcome, findings=found))
    gain = Comparison(0.1, 0.05, 0.15, 6)
    found = replace(found, verdict=f"{gain.word}: {gain}", gain=gain)
    assert "trial 2; a gain: +0.1000 [+0.0500, +0.1500]" in describe(replace(outcome, findings=found))


def test_runs_in_doubt(outcome):
    (best, *others), mean = outcome.trials, ArmMean(0.5, 0.1, 6, "2 of 6 runs got stuck", 0.25)
    runs = {0: SeedRun([0.5], best.folder), 1: SeedRun([0.5], best.folder, "got stuck")}
    found = replace(
        outcome,
        trials=[replace(best, runs=runs), *others],
        findings=Findings("trial 2", {"trial 2": mean}, None, None),
    )
    note = describe(found)
    assert "**In doubt**: 1 of 2 runs got stuck (trial 002)\n" in note
    assert "fresh seeds**: trial 2\n- trial 2; 2 of 6 runs got stuck; without them: 0.2500\n" in note


def test_a_child_says_its_place_first_and_once(outcome):
    told = replace(outcome, answer=["A gain.", "Six seeds agree."])
    note = describe_child(told, 0, "**loss 0.6250**, of epoch 4\n\nmore")
    place = "place 2 of 2, `loss` 0.6250, 0.1250 behind trial 002."
    assert note == f"**In the sweep**: {place} A gain.\n\n**loss 0.6250**, of epoch 4\n\nmore"
    assert describe_child(told, 0, note) == note
    assert describe_child(told, 2, "") == "**In the sweep**: place 1 of 2, `loss` 0.5000. A gain."
    assert describe_child(told, None, "of a confirm run") == "**In the sweep**: A gain.\n\nof a confirm run"
    assert describe_child(outcome, 1, "pruned") == "pruned"


def test_a_child_is_compared_with_the_baseline_of_the_confirm_stage(outcome, pareto):
    findings = Findings("trial 2", {"trial 2": ArmMean(0.5, 0.1, 6), "baseline": ArmMean(0.5625, 0.1, 6)}, None, None)
    told = replace(outcome, findings=findings)
    assert describe_child(told, 2, "").endswith("0.5000, 0.0625 below the baseline's mean over 6 other seeds.")
    assert describe_child(told, 0, "").endswith("002, 0.0625 above the baseline's mean over 6 other seeds.")
    assert describe_child(pareto, 0, "") == "**In the sweep**: on the Pareto front."
    assert describe_child(pareto, 1, "") == "**In the sweep**: not on the Pareto front."
