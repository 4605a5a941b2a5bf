"""The real command under torchrun: two gloo processes do what one does."""

import json
import signal
import sqlite3
from contextlib import closing

import pytest

from contrastive_app.launched import FOLLOWER_OVERRIDES, as_follower
from support.commands import SMALL, TRAIN, provide_store, run, runs, start, wait_while_running

EXACT = [*SMALL, "model.encoder.dropout=0", "model.dropout=0", "trainer.epochs=3", "sampler.batch_size=14"]  # 21 steps
EXACT += ["tracking.system_metrics=false", "trainer.precision=fp32"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ACCELERATE = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]


def launch(folder, launcher, *overrides, check=True):
    """`launcher`: the arguments of Python that start it with several processes; none for one process."""
    provide_store(folder)
    argv, new = (*launcher, *TRAIN, *overrides), bool(launcher)
    return run(*argv, cwd=folder, timeout=500, check=check, new_interpreter=new, OMP_NUM_THREADS="1")


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
    return folder, launch(folder, (), *EXACT)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return folder, launch(folder, TORCHRUN, *EXACT)


@pytest.mark.slow
def test_two_processes_are_one_run_with_the_metrics_of_one_process(one, two):
    """Sharded evaluation too: macro F1 and the like are made of the same probabilities."""
    found, expected = history(two[0]), history(one[0])
    assert losses_of(found) == pytest.approx(losses_of(expected), rel=1e-5)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert len(list(two[0].glob("outputs/*/*"))) == 1
    assert not list(two[0].glob("*.log"))
    assert two[1].stderr.count("epoch 1/3") == two[1].stderr.count("Recorded:") == 1


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(one, two):
    for (folder, _), launcher in ((one, TORCHRUN), (two, ())):
        output = next(folder.glob("outputs/*/*"))
        launch(folder, launcher, *EXACT, "trainer.epochs=4", f"trainer.resume_from={output}")
    assert history(two[0]) == pytest.approx(history(one[0]), rel=1e-4, abs=1e-4)
    assert ("train/total_loss", 4) in history(one[0])


@pytest.mark.slow
def test_sigterm_in_mid_epoch_changes_nothing(two, tmp_path):
    """The launcher hands it on to both processes; a preempted node does the same."""
    process = start(*TORCHRUN, *TRAIN, *EXACT, cwd=tmp_path, new_interpreter=True, OMP_NUM_THREADS="1")
    wait_while_running(process, lambda: list(tmp_path.glob("outputs/*/*/checkpoints/checkpoints.json")))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    (index,) = tmp_path.glob("outputs/*/*/checkpoints/checkpoints.json")
    assert errors.count("interrupted; to continue") == 1
    assert "src/train.py" not in errors
    assert runs(tmp_path)[1][0].info.status == "KILLED"
    last = json.loads(index.read_text())["last"]
    assert last.startswith(("epoch_001", "epoch_002_batch_"))  # the first on a busy machine: it had not begun the next
    launch(tmp_path, TORCHRUN, *EXACT, f"trainer.resume_from={index.parents[1]}")
    found = history(tmp_path)
    expected = {key: value for key, value in history(two[0]).items() if key in found}
    assert found == expected


@pytest.mark.slow
def test_accelerate_launch_does_the_same(one, tmp_path):
    launch(tmp_path, ACCELERATE, *EXACT)
    expected, found = losses_of(history(one[0])), losses_of(history(tmp_path))
    assert {key: expected[key] for key in found} == pytest.approx(found, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss.temperature=0", "error: loss.temperature must be positive, got 0"),
        ("sampler.batch_size=2", "error: a batch of 2 is too small for 3 processes"),
        ("loss.temperature=0.1,0.2", "error: a sweep starts its processes itself"),
    ],
)
def test_an_error_is_said_once(tmp_path, override, message):
    launcher = [argument.replace("2", "3") if len(argument) == 1 else argument for argument in TORCHRUN]
    done = launch(tmp_path, launcher, *SMALL, override, *["-m"] * ("," in override), check=False)
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1
    assert message in done.stderr
    assert "src/train.py" not in done.stderr  # no trace of ours
