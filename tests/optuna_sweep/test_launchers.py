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
def test_trials_report_are_pruned_and_fail_in_batches(sweeps, launcher):
    points = ("x=1,1.1,9,2,0.5,0.4", "failure=unpicklable", "failing_x=0.5")
    sweeps.run(NAME, TRACKING, *launcher, *PRUNING, *points)
    assert sweeps.states() == ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED", "FAIL", "COMPLETE"]
    trials = sweeps.study().trials
    assert [len(trial.intermediate_values) for trial in trials] == [4, 4, 1, 1, 4, 4]
    assert trials[4].user_attrs["reason"] == "UnpicklableError: cannot travel"
    (parent,), _ = assert_mirrored(sweeps)
    assert parent.data.tags["best.params"] == '{"x": 0.4}'


@pytest.mark.parametrize("launcher", [JOBLIB, SUBMITIT], indirect=True)
def test_a_lost_worker_costs_its_batch_no_results_and_a_bounded_number_of_retries(sweeps, launcher):
    sweeps.run(NAME, TRACKING, *launcher, "x=1,2,3", "failure=sigkill", "failing_x=2")
    assert sorted(params["x"] for params in sweeps.params()) == [1, 3]
    killers = [trial.state.name for trial in sweeps.study().trials if trial.params == {"x": 2}]
    assert killers in (["FAIL"] * 2, ["FAIL"] * 3)  # once more where its batch was lost with it
    assert_mirrored(sweeps)


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
