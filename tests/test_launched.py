"""The real command under torchrun: two gloo processes do what one does."""

import os
import subprocess
import sys

import pytest

from test_train import ROOT, SMALL, runs

EXACT = [*SMALL, "model.encoder.dropout=0", "model.dropout=0", "trainer.epochs=3", "sampler.batch_size=14"]  # 21 steps
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]


def launch(folder, launcher, *overrides, check=True):
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "CUDA_VISIBLE_DEVICES": ""}
    environment |= {"OMP_NUM_THREADS": "1"}
    command = [*(launcher or [sys.executable]), "-m", "src.train", *overrides]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def history(folder):
    """Of the only run: (metric, step) -> value."""
    client, (run,) = runs(folder)
    assert run.info.status == "FINISHED"
    return {
        (name, point.step): point.value
        for name in run.data.metrics
        if "seconds" not in name
        for point in client.get_metric_history(run.info.run_id, name)
    }


def losses_of(points):
    return {key: value for key, value in points.items() if "_loss" in key[0]}


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    return folder, launch(folder, None, *EXACT)


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
    for (folder, _), launcher in ((one, TORCHRUN), (two, None)):
        output = next(folder.glob("outputs/*/*"))
        launch(folder, launcher, *EXACT, "trainer.epochs=4", f"trainer.resume_from={output}")
    assert history(two[0]) == pytest.approx(history(one[0]), rel=1e-4, abs=1e-4)
    assert ("train/total_loss", 4) in history(one[0])


@pytest.mark.slow
def test_accelerate_launch_does_the_same(one, tmp_path):
    launch(tmp_path, ACCELERATE, *EXACT)
    expected, found = losses_of(history(one[0])), losses_of(history(tmp_path))
    assert {key: expected[key] for key in found} == pytest.approx(found, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss.temperature=0", "error: temperature must be positive, got 0"),
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
