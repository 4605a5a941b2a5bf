"""A study, summed up as an Outcome."""

from pathlib import Path

import optuna
import pytest

from optuna_sweep.outcome import SeedRun
from optuna_sweep.run.choice import choose
from optuna_sweep.run.conclusion import sum_up
from optuna_sweep.study.ledger import open_ledger, open_patiently
from optuna_sweep.study.storage import storage_lock
from support.plans import planned


@pytest.fixture
def summed_up(tmp_path, monkeypatch):
    """The outcome of a plan whose trials ended as said: values, or a state."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["app.py", "x=1,2", "hydra.sweeper.storage=postgresql://me:secret@host/s"])

    def summed(*overrides, ends, attributes=()):
        with planned(*overrides, "hydra.sweeper.study_name=s") as (plan, context):
            lock, pruner = storage_lock(plan.storage), optuna.pruners.NopPruner()
            storage = open_patiently(plan.storage, 1.0)
            ledger = open_ledger(storage, lock, "s", plan.objective.directions, plan.identity(None), pruner)
            ledger.add_missing(plan.points)
            for end in ends:
                trial = ledger.study.ask(plan.space.distributions)
                trial.set_user_attr("output_dir", f"/sweep/{trial.number:03d}" + "/seed_4" * (len(plan.seeds) > 1))
                for name, value in dict(attributes).items():
                    trial.set_user_attr(name, value)
                if isinstance(end, optuna.trial.TrialState):
                    trial.report(9.0, 3)
                    ledger.study.tell(trial, state=end)
                elif end is not None:
                    ledger.study.tell(trial, end)
            return sum_up(plan, ledger, choose(plan, ledger), context)

    return summed


PRUNED, FAIL = optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL


def test_trials_are_ranked_and_unfinished_ones_are_kept_apart(summed_up):
    outcome = summed_up("x=1,2,3,4,5,6", ends=[3.0, FAIL, PRUNED, 1.0, None], attributes={"seconds": 2.5})
    assert [(trial.number, trial.state) for trial in outcome.trials] == [
        (3, "COMPLETE"),
        (0, "COMPLETE"),
        (2, "PRUNED"),
        (1, "FAIL"),
    ]
    assert [(trial.number, trial.state) for trial in outcome.unfinished] == [(4, "RUNNING"), (5, "WAITING")]
    assert outcome.counts == {"COMPLETE": 2, "FAIL": 1, "PRUNED": 1, "RUNNING": 1, "WAITING": 1}
    assert [trial.number for trial in outcome.by_number] == list(range(6))
    assert outcome.best is outcome.trials[0]
    assert (outcome.chosen, outcome.front) == (3, [3])
    assert outcome.best.name == "003 x=4"
    assert outcome.best.runs == {0: SeedRun([1.0], Path("/sweep/003"))}
    assert outcome.trials[2].last_step == 3
    assert {trial.seconds for trial in outcome.trials} == {2.5}


def test_what_a_person_needs_to_know_of_the_search(summed_up):
    outcome = summed_up("x=1,2", "y=5", "+hydra.sweeper.labels.x=X", ends=[1.0, 2.0])
    assert (outcome.study, outcome.metrics, outcome.directions) == ("s", ("value",), ("minimize",))
    assert (outcome.sampler, outcome.space, outcome.labels) == ("grid", {"x": "1, 2"}, {"x": "X"})
    assert (outcome.best_config["x"], outcome.best_config["y"]) == (1, 5)
    assert "hydra" not in outcome.best_config
    assert outcome.command.endswith("x=1,2 hydra.sweeper.storage=postgresql://***@host/s")


def test_estimates_choose_by_all_trials_and_say_how_sure_that_is(summed_up):
    """A lucky trial among bad neighbours is left for a good one among good ones."""
    values = [1.0, 1.1, 1.0, 1.1, 0.9, 0.7, 0.6, 0.52, 0.6, 0.7, 1.0, 0.5, 1.1, 1.0]
    point = "x=range(1,15)", "hydra.sweeper.choose=estimate"
    outcome = summed_up(*point, ends=values)
    assert outcome.complete[0].number == 11
    assert outcome.chosen == 7
    assert "chosen by estimate: trial 007, value 0." in outcome.chance
    assert 0 < outcome.best.estimate.chance < 1


def test_several_seeds_are_runs_of_one_trial(summed_up):
    outcome = summed_up("x=1,2", "hydra.sweeper.seeds=[4,8]", ends=[1.5], attributes={"seed_values": [[1.0], [2.0]]})
    assert outcome.best.runs == {
        4: SeedRun([1.0], Path("/sweep/000/seed_4")),
        8: SeedRun([2.0], Path("/sweep/000/seed_8")),
    }
    assert outcome.seeds == [4, 8]
    assert outcome.doubts == ""


def test_runs_in_doubt_are_told(summed_up):
    doubts = {"seed_values": [[1.0], [2.0]], "seed_doubts": ["", "never left its start"]}
    outcome = summed_up("x=1,2", "hydra.sweeper.seeds=[4,8]", ends=[1.5, 1.5], attributes=doubts)
    assert [run.doubt for run in outcome.best.runs.values()] == ["", "never left its start"]
    assert outcome.doubts == "2 of 4 runs never left its start (trials 000, 001)"


def test_a_trial_in_doubt_is_told(summed_up):
    outcome = summed_up("x=1,2", ends=[1.5], attributes={"seed_doubts": ["never left its start"]})
    assert outcome.doubts == "1 of 1 runs never left its start (trial 000)"


def test_several_objectives_have_a_front(summed_up):
    two = ("kind=pair", "hydra.sweeper.direction=[minimize,minimize]")
    outcome = summed_up("x=1,2,3", *two, ends=[[2.0, 1.0], [1.0, 2.0], [3.0, 3.0]])
    assert outcome.front == [0, 1]
    assert [trial.number for trial in outcome.trials] == [1, 0, 2]
    assert outcome.chosen == 1


def test_without_a_complete_trial_nothing_is_chosen(summed_up):
    outcome = summed_up("x=1,2", ends=[FAIL])
    assert (outcome.chosen, outcome.best, outcome.front, outcome.best_config) == (None, None, [], {})


@pytest.mark.filterwarnings("ignore:Query string argument")  # it is there for its password
def test_no_credentials_of_the_storage_are_passed_on(summed_up, tmp_path):
    storage = (
        f"{{_target_: optuna.storages.RDBStorage, url: 'sqlite:///{tmp_path}/study.db?note=http://me:secret@host'}}"
    )
    outcome = summed_up("x=1,2", f"hydra.sweeper.storage={storage}", ends=[1.0])
    assert outcome.storage["_target_"] == "optuna.storages.RDBStorage"
    assert outcome.storage["url"].endswith("study.db?note=http://***@host")


def test_two_trials_are_too_few_for_estimates(summed_up):
    outcome = summed_up("x=1,2", "hydra.sweeper.choose=estimate", ends=[1.0, 2.0])
    assert (outcome.chosen, outcome.chance) == (0, "")
