"""The real command under torchrun: two gloo processes do what one does."""

import json
import signal
import sqlite3
from contextlib import closing

import pytest

from contrastive_app.launched import FOLLOWER_OVERRIDES, as_follower
from support.commands import SMALL, TRAIN, provide_store, run, runs, start, start_together, wait_while_running

EXACT = [*SMALL, "model.encoder.dropout=0", "model.dropout=0", "trainer.epochs=3", "sampler.batch_size=14"]  # 21 steps
EXACT += ["data.max_length=128"]  # responses that are cut are alike, and rounding may swap their ranks
EXACT += ["seed=1"]  # with seed 0 rounding swaps the ranks of two responses
EXACT += ["tracking.system_metrics=false", "tracking.metrics=all", "trainer.precision=fp32"]
EXACT += ["trainer.keep_checkpoints=true"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ACCELERATE = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]


def train(folder, count, *overrides):
    """Train with so many processes. Returns what each has printed on stderr."""
    provide_store(folder)
    return ended(start_together(count, *TRAIN, *overrides, cwd=folder, OMP_NUM_THREADS="1"))


def ended(processes):
    try:
        errors = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * len(processes), errors
    return errors


def history(folder):
    """Of the only run: (metric, step) -> value."""
    (run,) = runs(folder)[1]
    assert run.info.status == "FINISHED"
    with closing(sqlite3.connect(folder / "mlflow.db")) as store:  # MLflow would ask once a metric
        points = store.execute("select key, step, value from metrics where key not like '%second%'")
        return {(key, step): value for key, step, value in points}


def losses_of(points):
    return {key: value for key, value in points.items() if "_loss" in key[0]}


def test_the_overrides_of_a_follower_stand_beside_the_others():
    own = list(FOLLOWER_OVERRIDES)
    assert as_follower(["train.py"]) == ["train.py", *own]
    assert as_follower(["train.py", "--config-name", "x", "a=1", "+b=2", "-m"]) == (
        ["train.py", "--config-name", "x", "a=1", "+b=2", *own, "-m"]
    )


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    return folder, train(folder, 1, *EXACT)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return folder, train(folder, 2, *EXACT)


@pytest.mark.slow
def test_two_processes_are_one_run_with_the_metrics_of_one_process(one, two):
    """Sharded evaluation too: macro F1 and the like are made of the same probabilities."""
    found, expected = history(two[0]), history(one[0])
    assert losses_of(found) == pytest.approx(losses_of(expected), rel=1e-5)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert len(list(two[0].glob("outputs/*/*"))) == 1
    assert not list(two[0].glob("*.log"))
    first, follower = two[1]
    assert first.count("epoch 1/3") == first.count("Recorded:") == 1
    assert follower == ""


@pytest.mark.slow
def test_sigterm_in_mid_epoch_changes_nothing(two, tmp_path):
    """torchrun hands it on to both processes, as a preempted node does."""
    provide_store(tmp_path)
    process = start(*TORCHRUN, *TRAIN, *EXACT, cwd=tmp_path, OMP_NUM_THREADS="1")
    wait_while_running(process, lambda: list(tmp_path.glob("outputs/*/*/checkpoints/checkpoints.json")))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    (index,) = tmp_path.glob("outputs/*/*/checkpoints/checkpoints.json")
    assert errors.count("interrupted; to continue") == 1
    assert "src/train.py" not in errors
    assert runs(tmp_path)[1][0].info.status == "KILLED"
    last = json.loads(index.read_text())["last"]
    assert last.startswith(("epoch_001", "epoch_002_batch_"))  # the first on a busy machine: it had not begun the next
    train(tmp_path, 2, *EXACT, f"trainer.resume_from={index.parents[1]}")
    found = history(tmp_path)
    expected = {key: value for key, value in history(two[0]).items() if key in found}
    assert found == expected
    assert ("train/total_loss", 3) in found


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes_and_another_launcher(one, two):
    further = (*TRAIN, *EXACT, "trainer.epochs=4")
    for (folder, _), launcher in ((one, ACCELERATE), (two, ())):
        resume = f"trainer.resume_from={next(folder.glob('outputs/*/*'))}"
        (errors,) = ended([start(*launcher, *further, resume, cwd=folder, OMP_NUM_THREADS="1")])
        assert errors.count("epoch 4/4") == errors.count("Recorded:") == 1
    found, expected = history(one[0]), history(two[0])
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert losses_of(found) == pytest.approx(losses_of(expected), rel=1e-5)
    assert ("train/total_loss", 4) in found


@pytest.mark.slow
def test_an_error_under_torchrun_is_said_once(tmp_path):
    """It stops the process that waits with the same error."""
    done = run(*TORCHRUN, *TRAIN, "loss.temprature=1", cwd=tmp_path, OMP_NUM_THREADS="1")
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1
    assert "error: there is no option loss.temprature (did you mean loss.temperature?)" in done.stderr
    assert "src/train.py" not in done.stderr  # no trace of ours


@pytest.mark.slow
def test_an_error_of_three_processes_is_said_by_the_first(tmp_path):
    """The others wait to be stopped, as the launcher does it."""
    first, *others = start_together(3, *TRAIN, *SMALL, "sampler.batch_size=2", cwd=tmp_path, OMP_NUM_THREADS="1")
    try:
        _, errors = first.communicate(timeout=100)
    finally:
        for other in others:
            other.send_signal(signal.SIGTERM)
    assert first.returncode == 1
    assert errors.count("error: ") == 1
    assert "error: a batch of 2 is too small for 3 processes" in errors
    assert "src/train.py" not in errors
    assert [other.wait(10) for other in others] == [-signal.SIGTERM] * 2
    assert [other.errors() for other in others] == ["", ""]


@pytest.mark.slow
def test_a_sweep_in_several_processes_is_refused(tmp_path):
    command = (*TRAIN, *SMALL, "loss.temperature=0.1,0.2", "-m")
    first, other = start_together(2, *command, cwd=tmp_path, OMP_NUM_THREADS="1")
    try:
        _, errors = first.communicate(timeout=100)
    finally:
        other.kill()
    assert first.returncode == 1
    assert errors.count("error: ") == 1
    assert "error: a sweep starts its processes itself" in errors
    assert "src/train.py" not in errors
