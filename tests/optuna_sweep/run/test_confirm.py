"""The confirm stage: its plan, and what its runs say."""

from pathlib import Path

import optuna
import pytest

from optuna_sweep.errors import SweepError
from optuna_sweep.looks import confidence_of_each
from optuna_sweep.outcome import ArmMean, Confirmation, SeedRun
from optuna_sweep.run.confirm import arms_of, confirm_plan, confirmation_of, findings, fresh_seeds
from optuna_sweep.study.ledger import open_ledger, open_patiently
from optuna_sweep.study.storage import storage_lock
from support.plans import planned


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def ledger_of(plan, results=()):
    """The plan's study, with a COMPLETE trial for each value and its parameters."""
    lock, storage = storage_lock(plan.storage), open_patiently(plan.storage, 1.0)
    ledger = open_ledger(
        storage, lock, plan.study_name, plan.objective.directions, plan.identity(None), optuna.pruners.NopPruner()
    )
    for value, params in results:
        ledger.study.enqueue_trial(params)
        trial = ledger.study.ask(plan.space.distributions)
        trial.set_user_attr("output_dir", f"/sweep/{trial.number:03d}")
        trial.set_user_attr("seconds", 2.0)
        ledger.study.tell(trial, value)
    return ledger


def configured(chosen):
    """The flat configuration of a task whose group `y` sets `z`."""
    return {"z": 0 if "y=5" in chosen else 3}


CONFIRM = ("hydra.sweeper.confirm.top_k=2", "hydra.sweeper.confirm.num_seeds=3")


def test_the_best_distinct_points_and_the_baseline_are_run_with_every_fresh_seed():
    baseline = "hydra.sweeper.confirm.baseline={x:9,w:null}"
    with planned("x=1,2,3", "y=5", "hydra.sweeper.study_name=s", "hydra.sweeper.timeout=60", *CONFIRM, baseline) as (
        plan,
        _,
    ):
        ledger = ledger_of(plan, [(3.0, {"x": 3}), (1.0, {"x": 1}), (1.0, {"x": 1}), (2.0, {"x": 2})])
        arms = arms_of(plan, ledger, configured)
        stage = confirm_plan(plan, arms)
    assert [(arm.name, arm.overrides) for arm in arms] == [
        ("trial 1", ["y=5", "x=1"]),
        ("trial 3", ["y=5", "x=2"]),
        ("baseline", ["y=5", "x=9", "w=null"]),
    ]
    assert stage.points == [
        {"seed": seed, "arm": arm} for seed in (1, 2, 3) for arm in ("trial 1", "trial 3", "baseline")
    ]
    assert stage.num_trials == 9
    assert stage.study_name.startswith("s-confirm-")
    assert stage.settings.timeout is None
    assert [stage.label(number, stage.points[number]) for number in (1, 2)] == [
        "confirm 003 x=2 seed=1",
        "confirm baseline seed=1",
    ]
    job = stage.job(8, stage.points[8], 0, parent=None, alarm=False)
    assert job.overrides[:4] == ("y=5", "x=9", "w=null", "seed=3")
    assert job.folder == plan.sweep_dir / stage.folder_prefix / "008"
    assert "hydra.sweeper.trial_reports=false" in job.overrides


def test_a_configuration_that_is_a_baseline_is_no_candidate_and_the_best_of_them_is_the_baseline():
    """Whether it is by what was swept, by what a config group sets, or by having no such option at all."""
    options = ("x=1,2,9", "y=4,5", "seed=0,1", *CONFIRM, "hydra.sweeper.confirm.baseline={z:0,v:0}")
    with planned(*options) as (plan, _):
        points = [{"x": 9, "y": 5}, {"x": 2, "y": 5}, {"x": 1, "y": 4}, {"x": 2, "y": 4}, {"x": 2, "y": 4}]
        results = [(float(value), point | {"seed": value % 2}) for value, point in enumerate(points)]
        arms = arms_of(plan, ledger_of(plan, results), configured)
    assert [(arm.name, arm.trial.number) for arm in arms] == [("trial 2", 2), ("trial 3", 3), ("baseline", 0)]
    with planned("x=1,2", *CONFIRM, "hydra.sweeper.confirm.baseline={x:2}") as (plan, _):
        ledger = ledger_of(plan, [(2.0, {"x": 2})])
        with pytest.raises(SweepError, match="confirm.baseline: every configuration of the search has x=2 already"):
            arms_of(plan, ledger, configured)


@pytest.mark.parametrize(
    ("override", "seeds"),
    [
        ("seed=7", [8, 9, 10]),
        ("hydra.sweeper.seeds=[3,11]", [12, 13, 14]),
        ("seed=0,4", [5, 6, 7]),
        ("y=1", [1, 2, 3]),
    ],
)
def test_fresh_seeds_come_after_those_of_the_search(override, seeds):
    with planned("x=1,2", override, *CONFIRM) as (plan, _):
        assert fresh_seeds(plan) == seeds


def test_the_runs_of_an_arm_are_those_that_ended_well():
    with planned("x=1,2", *CONFIRM) as (plan, _):
        arms = arms_of(plan, ledger_of(plan, [(2.0, {"x": 2}), (1.0, {"x": 1})]), configured)
        stage = confirm_plan(plan, arms)
        trials = ledger_of(stage, [(float(index), point) for index, point in enumerate(stage.points[:4])]).trials
    found = confirmation_of(plan, arms, trials)
    assert found.arms == {
        1: {1: SeedRun([0.0], Path("/sweep/000")), 2: SeedRun([2.0], Path("/sweep/002"))},
        0: {1: SeedRun([1.0], Path("/sweep/001")), 2: SeedRun([3.0], Path("/sweep/003"))},
    }
    assert found.seconds == 8.0


STOP_EARLY = ("hydra.sweeper.confirm.top_k=1", "hydra.sweeper.confirm.num_seeds=10")
STOP_EARLY += ("hydra.sweeper.confirm.stop_early=true", "hydra.sweeper.confirm.baseline={x:9}")


@pytest.mark.parametrize(
    ("gains", "doubt", "answer"),
    [
        ([2.0, 2.1, 1.9, 2.0], "", "4 seeds decide it (confirm.stop_early)"),
        ([-2.0, -2.1, -1.9, -2.0], "", "4 seeds decide it (confirm.stop_early)"),
        ([0.2, -0.1, 0.1], "", "10 seeds would hardly decide it, going by the first 3 (confirm.stop_early)"),
        ([0.5, 0.1, 0.9, 0.3], "", None),
        ([2.0, 2.1, 1.9], "", None),
        ([2.0, 2.1, 1.9, 2.0], "got stuck", None),
    ],
)
def test_the_first_seeds_may_be_enough(gains, doubt, answer):
    with planned("x=1,2", *STOP_EARLY) as (plan, _):
        arms = arms_of(plan, ledger_of(plan, [(2.0, {"x": 2}), (1.0, {"x": 1})]), configured)
        stage = confirm_plan(plan, arms)
        pairs = zip(stage.points[::2], stage.points[1::2], gains, strict=False)
        results = [result for own, other, gain in pairs for result in ((5.0, own), (5.0 + gain, other))]
        ledger = ledger_of(stage, results)
        trials = ledger.study.get_trials()
        trials[1].user_attrs |= {"seed_doubts": [doubt]} if doubt else {}
        assert stage.answered(trials) == answer
        confirmation = confirmation_of(plan, arms, trials)
    assert findings(confirmation, "minimize").gain.confidence == confidence_of_each(10)


def test_stopping_early_needs_one_configuration_and_a_baseline():
    without = planned("x=1,2", *CONFIRM, "hydra.sweeper.confirm.stop_early=true")
    with pytest.raises(SweepError, match="stop_early compares one configuration with a baseline: top_k=1"), without:
        pass


def confirmation(stuck=None, **arms):
    """Runs with the values of each arm. stuck: the value of runs that are in doubt."""

    def runs(values):
        doubts = ["got stuck" if value == stuck else "" for value in values]
        pairs = zip(values, doubts, strict=True)
        return {10 + index: SeedRun([value], Path("run"), doubt) for index, (value, doubt) in enumerate(pairs)}

    return Confirmation({None if name == "baseline" else int(name[1:]): runs(arms[name]) for name in arms}, 1.0)


def test_the_best_mean_is_chosen_and_never_the_baseline():
    found = findings(confirmation(t3=[1.0, 3.0], t5=[1.0, 2.0], baseline=[0.0, 0.0]), "minimize")
    assert found.chosen == "trial 5"
    assert found.arms["trial 3"] == ArmMean(2.0, pytest.approx(2**0.5), 2)
    assert findings(confirmation(t3=[1.0, 3.0], t5=[1.0, 2.0]), "maximize").chosen == "trial 3"


def test_the_gain_over_the_baseline_is_paired_and_positive_if_better():
    better = confirmation(t3=[0.5 + seed for seed in range(6)], baseline=[1.0 + seed for seed in range(6)])
    found = findings(better, "minimize")
    assert found.gain == (0.5, 0.5, 0.5, 6, 0.95)
    assert found.verdict == "a gain: +0.5000 [+0.5000, +0.5000] over 6 paired seeds"
    assert findings(better, "maximize").verdict.startswith("a loss: -0.5000")


def test_too_few_seeds_decide_nothing():
    found = findings(confirmation(t3=[1.0, 1.0], baseline=[2.0, 2.0]), "minimize")
    assert found.verdict == "not decided: +1.0000 over 2 paired seeds, and 4 are the least"
    found = findings(confirmation(t3=[1.0], baseline=[2.0, 2.0]), "minimize")
    assert (found.verdict, found.gain) == ("nothing can be said: fewer than two paired seeds", None)


def test_runs_in_doubt_are_told_apart_and_do_not_decide():
    """Four of eight runs of the baseline fail; in the seeds of the others the arms do not differ."""
    own, baseline = [0.75, 0.75, 0.75, 0.75, 0.8, 0.7, 0.8, 0.7], [0.1, 0.1, 0.1, 0.1, 0.7, 0.8, 0.7, 0.8]
    found = findings(confirmation(t3=own, baseline=baseline, stuck=0.1), "maximize")
    mean = found.arms["baseline"]
    assert (mean.doubts, mean.mean_without) == ("4 of 8 runs got stuck", pytest.approx(0.75))
    assert mean.in_doubt == "; 4 of 8 runs got stuck; without them: 0.7500"
    assert found.arms["trial 3"].in_doubt == ""
    assert (found.gain.word, found.gain.num_seeds) == ("a gain", 8)
    assert (found.gain_without.word, found.gain_without.num_seeds) == ("no gain shown", 4)
    assert found.verdict.startswith("not decided, as runs in doubt decide it: a gain: +0.3250")
    assert "; without the runs in doubt no gain shown: +0.0000 [" in found.verdict


def test_a_gain_that_remains_without_the_runs_in_doubt_is_one():
    own, baseline = [0.8] * 8, [0.1, 0.1, *[0.7] * 6]
    found = findings(confirmation(t3=own, baseline=baseline, stuck=0.1), "maximize")
    assert found.verdict.startswith("a gain: +0.2500")
    assert "; without the runs in doubt a gain: +0.1000 [" in found.verdict
    alone = findings(confirmation(t3=own, baseline=[0.1] * 8, stuck=0.1), "maximize")
    assert (alone.arms["baseline"].mean_without, alone.gain_without) == (None, None)
    assert "without the runs in doubt nothing can be said" in alone.verdict


def test_without_a_baseline_there_is_no_verdict_and_without_a_run_no_choice():
    assert findings(confirmation(t3=[1.0], t4=[], baseline=[]), "minimize").verdict is None
    assert findings(confirmation(t3=[], baseline=[1.0]), "minimize") is None
