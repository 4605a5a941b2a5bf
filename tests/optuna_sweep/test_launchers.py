"""Other people's launchers, in batches: the same reports, failures and record as with the local one."""

import signal
from importlib.util import find_spec

import psutil
import pytest

from support.sweeps import NAME, PRUNING, TRACKING, assert_mirrored, is_alive, wait_for

pytestmark = pytest.mark.slow


def launcher_param(name, extra, *overrides):
    absent = find_spec(f"hydra_plugins.hydra_{extra}_launcher") is None
    mark = pytest.mark.skipif(absent, reason=f"hydra-{extra}-launcher is not installed: pip install -e '.[{extra}]'")
    return pytest.param((f"hydra/launcher={name}", *overrides), id=name, marks=mark)


JOBLIB = launcher_param("joblib", "joblib", "hydra.launcher.n_jobs=2")
SUBMITIT = launcher_param("submitit_local", "submitit")
RAY = launcher_param("ray", "ray", "+hydra.launcher.ray.init.num_cpus=2")


@pytest.fixture
def launcher(request):
    return request.param


@pytest.mark.parametrize("launcher", [JOBLIB, SUBMITIT, RAY], indirect=True)
def test_batches_report_prune_and_fail_and_survive_a_lost_worker(sweeps, launcher):
    """A lost worker costs its batch no results, and a bounded number of retries."""
    loses = "hydra/launcher=ray" not in launcher
    points = ("x=1,1.1,9,0.5,0.3,0.4", "killed_x=0.3") if loses else ("x=1,1.1,9,0.5,0.4",)
    sweeps.run(NAME, TRACKING, *launcher, *PRUNING, *points, "failure=unpicklable", "failing_x=0.5")
    ends = {}
    for trial in sweeps.study().trials:
        ends.setdefault(trial.params["x"], []).append((trial.state.name, len(trial.intermediate_values)))
        if trial.params["x"] == 0.5:
            assert trial.user_attrs["reason"] == "UnpicklableError: cannot travel"
    killed = [state for state, _ in ends.pop(0.3, [])]
    assert killed in ((["FAIL"] * 2, ["FAIL"] * 3) if loses else ([],))  # once more where its batch was lost with it
    assert {x: ended[-1] for x, ended in ends.items()} == {
        1: ("COMPLETE", 4),
        1.1: ("COMPLETE", 4),
        9: ("PRUNED", 1),
        0.5: ("FAIL", 4),
        0.4: ("COMPLETE", 4),
    }
    assert len(sweeps.params()) == 4
    (parent,), _ = assert_mirrored(sweeps)
    assert parent.data.tags["best.params"] == '{"x": 0.4}'


@pytest.mark.parametrize("launcher", [JOBLIB, SUBMITIT], indirect=True)
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_no_worker_outlives_an_interrupted_sweep(sweeps, launcher, signum):
    process = sweeps.start(NAME, TRACKING, *launcher, "x=1,2", "epochs=600", "epoch_seconds=0.1")
    wait_for(lambda: len(sweeps.started()) == 2)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signum)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signum, errors
    wait_for(lambda: not any(map(is_alive, family)), seconds=5)
    assert sweeps.states()[:2] == ["FAIL", "FAIL"]
    (parent,), _ = assert_mirrored(sweeps)
    assert parent.info.status == "KILLED"


@pytest.mark.parametrize("launcher", [JOBLIB, RAY], indirect=True)
def test_data_loader_workers_are_refused_where_they_do_not_work(sweeps, launcher):
    for workers in ("loader.num_workers=2", "loader.num_workers=0,2"):
        out = sweeps.run(*launcher, "x=1,2", workers, code=1)
        assert "cannot have DataLoader workers: loader.num_workers=0, or hydra/launcher=local" in out
        assert "Traceback" not in out
    assert not (sweeps.folder / "optuna.journal").exists()
