"""Trials that pause at a rung, and continue when they deserve it."""

import random
import shutil
import signal

import pytest

from optuna_sweep.errors import SweepError
from support.commands import NIGHTLY
from support.plans import planned
from support.sweeps import LOCAL, NAME, PROMOTION, TRACKING, assert_mirrored, wait_for

BATCHES = ("hydra/launcher=basic", "hydra.sweeper.n_jobs=3")
ORDER = "x=5,4,3,6,7,8,1,2,9"  # trial 6 is the best


def trained(sweeps):
    """How many epochs each trial was trained for, none of them twice."""
    epochs = sweeps.epochs()
    assert len(set(epochs)) == len(epochs)
    return {number: max(epoch for other, epoch in epochs if other == number) for number, _ in epochs}


@pytest.mark.slow
def test_a_trial_goes_on_when_it_is_among_the_best_third_of_its_rung(sweeps):
    """Trial 2 is the best of three at epoch 1, trial 1 one of the two best when six are there, 6 and 7 at once."""
    said = sweeps.run(NAME, *PROMOTION, ORDER)
    one_epoch, until_three = [(number, 1) for number in range(9)], [(1, 2), (1, 3)]
    assert sweeps.epochs() == [
        *one_epoch[:3],
        *[(2, 2), (2, 3)],
        *one_epoch[3:6],
        *until_three,
        *[(6, epoch) for epoch in range(1, 10)],
        *[(7, epoch) for epoch in range(1, 4)],
        (8, 1),
    ]
    assert sweeps.states() == ["PRUNED"] * 6 + ["COMPLETE"] + ["PRUNED"] * 2
    assert [trial.value for trial in sweeps.study().trials[:3]] == [25 + 8, 16 + 6, 9 + 6]
    assert "trial 002 x=3  PAUSED at rung 1 value 15 after epoch 3  " in said
    assert "Trained: 23 of the 81 epochs of a full search (28%)" in said
    assert len(list(sweeps.folder.glob("runs/s/*/checkpoint"))) == 1  # of the one that came to its end


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [BATCHES, (*LOCAL, "hydra.launcher.num_slots=2")], ids=["batches", "slots"])
def test_every_launcher_continues_paused_trials_as_the_runs_that_they_were(sweeps, launcher):
    sweeps.run(NAME, *PROMOTION, TRACKING, *launcher, ORDER, "hydra.sweeper.seeds=[0,1]")
    epochs = sweeps.epochs()
    assert {number for number, epoch in epochs if epoch == 9} == {6}
    assert epochs.count((6, 9)) == 2  # the second seed runs to its end, and only that of a trial which has come there
    assert {trial.params["x"]: trial.state.name for trial in sweeps.study().trials if trial.last_step == 9} == {
        1: "COMPLETE"
    }
    _, children = assert_mirrored_by_job(sweeps)
    steps = {run.info.run_name: run.data.metrics["value"] for run in children}
    assert steps["006 x=1 seed=0"] == steps["006 x=1 seed=1"] == pytest.approx(1 + 0.9)


def assert_mirrored_by_job(sweeps):
    parents, children = sweeps.children()
    states = {str(trial.number): trial.state.name for trial in sweeps.study().trials}
    assert len(children) == len(states) + 1  # the second seed of the trial that is COMPLETE
    assert {run.data.tags["sweep.trial"]: run.data.tags["sweep.state"] for run in children} == states
    assert {run.info.status for run in (*parents, *children)} == {"FINISHED"}
    return parents, children


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_a_search_counts_a_configuration_once_however_often_it_pauses(sweeps, sampler):
    search = (NAME, *PROMOTION, f"hydra/sweeper/sampler={sampler}", "x=interval(1.0,9.0)", "hydra.sweeper.n_trials=9")
    sweeps.run(*search, "hydra.sweeper.enqueue=[{x:5},{x:4}]")
    trials = sweeps.study().trials
    assert len(trials) == 9
    assert [trial.params["x"] for trial in trials[:2]] == [5, 4]
    assert {trial.state.name for trial in trials} == {"COMPLETE", "PRUNED"}
    assert trained(sweeps) == {trial.number: trial.last_step for trial in trials}
    started = len(sweeps.started())
    sweeps.run(*search)
    assert len(sweeps.started()) == started


@pytest.mark.slow
def test_the_most_promising_trial_comes_to_its_end_even_if_none_deserves_it(sweeps):
    """Of two trials a third is none. Also, an interrupted trial, and one that is paused, are WAITING for Optuna."""
    command = (NAME, *PROMOTION, *LOCAL, "x=2,1", "long_x=1", "long_seconds=2")
    interrupted = sweeps.start(*command)
    wait_for(lambda: len(sweeps.started()) == 2)
    interrupted.send_signal(signal.SIGINT)
    interrupted.communicate(timeout=60)
    assert sweeps.states() == ["WAITING", "WAITING"]
    said = sweeps.run(*command)
    assert sweeps.states() == ["PRUNED", "COMPLETE"]
    assert trained(sweeps) == {0: 1, 1: 9}
    assert "trial 001 x=1  PAUSED at rung 1" in said


@pytest.mark.slow
def test_what_is_paused_is_told_while_it_waits_and_comes_to_its_end_even_without_its_checkpoint(sweeps):
    command = (NAME, *PROMOTION, *LOCAL, TRACKING, "x=3,2,1", "long_x=1", "long_seconds=2")
    process = sweeps.start(*command)
    wait_for(lambda: len(sweeps.started()) == 3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    (parent,), children = sweeps.children()
    tags = {run.data.tags["sweep.trial"]: run.data.tags for run in children}
    assert {(tags[number]["sweep.state"], tags[number]["sweep.rung"]) for number in "01"} == {("PAUSED", "0")}
    assert all(run.info.status in ("FINISHED", "KILLED") for run in (parent, *children))
    table = (sweeps.folder / "runs/s/trials.csv").read_text()
    assert "\n0,PAUSED,3,17.0,1," in table  # 3 ** 2, and 1 for each of the eight epochs to come
    assert "\n2,WAITING,1,,," in table  # interrupted
    (sweeps.folder / "runs/s/001/checkpoint").unlink()
    sweeps.run(*command, "hydra.sweeper.timeout=0")  # no trial begins, but the best of the paused comes to its end
    assert sweeps.states() == ["PRUNED", "COMPLETE", "WAITING"]
    assert sweeps.epochs()[2:] == [(1, epoch) for epoch in range(1, 10)]  # from its start, without its checkpoint
    assert len(sweeps.children()[1]) == len(children)


@pytest.mark.slow
def test_the_worst_of_many_paused_trials_lose_their_checkpoints_and_are_pruned(sweeps):
    one = "hydra.sweeper.pruner.max_paused=1"
    said = sweeps.run(NAME, *PROMOTION, one, "x=5,4,6,3,7,8")
    assert said.index("trial 000 x=5  PRUNED") < said.index("trial 002 x=6  PAUSED")  # 1 is better, and continues


STORAGE = "{_target_:app.KilledStorage,log_storage:{_target_:optuna.storages.journal.JournalFileBackend,"
STORAGE += "file_path:optuna.journal}}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5 if NIGHTLY else 1))
def test_kills_lose_and_repeat_nothing(sweeps, monkeypatch, seed):
    """At any write to the study: of a claim, a report, a pause, a promotion, an end, or their recovery."""
    command = (NAME, *PROMOTION, TRACKING, ORDER, f"hydra.sweeper.storage={STORAGE}", "hydra.sweeper.max_retries=100")
    command += ("hydra.sweeper.pruner.max_paused=2",)
    draw = random.Random(seed)
    for _ in range(10 if NIGHTLY else 5):
        monkeypatch.setenv("KILLED_BEFORE", str(draw.randint(4, 24)))
        sweeps.run(*command, code=-signal.SIGKILL)
    monkeypatch.delenv("KILLED_BEFORE")
    sweeps.run(*command)
    assert sweeps.states() == ["PRUNED"] * 6 + ["COMPLETE"] + ["PRUNED"] * 2
    assert trained(sweeps)[6] == 9
    assert sweeps.study().trials[6].value == 1
    assert_mirrored(sweeps)


def test_a_trial_that_was_killed_before_its_job_began_does_not_fail(sweeps, monkeypatch):
    """It is RUNNING, but has no folder yet."""
    command = (NAME, *PROMOTION, "x=5", f"hydra.sweeper.storage={STORAGE}")
    monkeypatch.setenv("KILLED_BEFORE", "6")  # its first report
    sweeps.run(*command, code=-signal.SIGKILL)
    assert sweeps.states() == ["RUNNING"]
    shutil.rmtree(sweeps.folder / "runs/s/000")
    monkeypatch.delenv("KILLED_BEFORE")
    sweeps.run(*command)
    assert sweeps.states() == ["COMPLETE"]


@pytest.mark.slow
def test_two_commands_share_the_paused_trials(sweeps):
    command = (NAME, *PROMOTION, *LOCAL, TRACKING, ORDER, "epoch_seconds=0.1")
    processes = [sweeps.start(*command) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert sorted(trained(sweeps)) == list(range(9))
    assert {number for number, epochs in trained(sweeps).items() if epochs == 9} == {6}
    assert {trial.params["x"] for trial in sweeps.study().trials if trial.state.name == "COMPLETE"} == {1}
    assert_mirrored(sweeps)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hydra.sweeper.direction=[minimize,minimize]", "Optuna cannot prune for several objectives"),
        ("hydra.sweeper.continue_interrupted=false", "needs a task that continues, and continue_interrupted=true"),
        ("hydra.sweeper.pruner.reduction_factor=1", "reduction_factor must be at least 2, got 1"),
        ("hydra.sweeper.pruner.max_paused=0", "max_paused must be at least 1, got 0"),
    ],
)
def test_what_cannot_pause_is_refused(override, message):
    with pytest.raises(SweepError, match=message.replace(".", r"\.")), planned(*PROMOTION, "x=1,2", override):
        pytest.fail("it should be refused")


@pytest.mark.slow
def test_with_progressive_rungs_no_trial_goes_beyond_the_epoch_that_ranks_them(sweeps):
    """Epoch 3 ranks the trials as epoch 1 does, so all pause there, until the best of them comes to its end."""
    sweeps.run(NAME, *PROMOTION, "hydra.sweeper.pruner.progressive=true", "x=3,2,1")
    assert sweeps.epochs()[:5] == [(0, 1), (1, 1), (2, 1), (2, 2), (2, 3)]
    assert trained(sweeps) == {0: 1, 1: 1, 2: 9}
    assert sweeps.states() == ["PRUNED", "PRUNED", "COMPLETE"]
