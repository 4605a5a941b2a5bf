"""Other people's launchers, in batches: the same reports, failures and record as with the local one."""

import json
import signal
from importlib.util import find_spec

import psutil
import pytest

from support.commands import nightly
from support.sweeps import NAME, PRUNING, TRACKING, assert_mirrored, is_alive, wait_for

pytestmark = pytest.mark.slow


def launcher_param(name, extra, *overrides, marks=()):
    absent = find_spec(f"hydra_plugins.hydra_{extra}_launcher") is None
    mark = pytest.mark.skipif(absent, reason=f"hydra-{extra}-launcher is not installed: pip install -e '.[{extra}]'")
    return pytest.param((f"hydra/launcher={name}", *overrides), id=name, marks=[mark, *marks])


JOBLIB = launcher_param("joblib", "joblib", "hydra.launcher.n_jobs=2")
JOBLIB_NIGHTLY = launcher_param("joblib", "joblib", "hydra.launcher.n_jobs=2", marks=[nightly])
SUBMITIT = launcher_param("submitit_local", "submitit")
RAY = launcher_param("ray", "ray", "+hydra.launcher.ray.init.num_cpus=2")

ONCE = ("hydra.sweeper.max_retries=0", "hydra.sweeper.pruner.n_startup_trials=1")
BATCHES = {  # and how often x=0.3 is killed
    "hydra/launcher=joblib": (("x=1,1.1,9,0.5,0.3,0.4", "killed_x=0.3"), (2, 3)),  # thrice if lost with its batch
    "hydra/launcher=submitit_local": (("x=1,0.5,9,0.3", "killed_x=0.3", *ONCE), (1,)),  # finds a lost job in seconds
    "hydra/launcher=ray": (("x=1,1.1,9,0.5,0.4",), (0,)),
}


@pytest.fixture
def launcher(request):
    return request.param


@pytest.mark.parametrize("launcher", [JOBLIB_NIGHTLY, SUBMITIT, RAY], indirect=True)
def test_batches_report_prune_and_fail_and_survive_a_lost_worker(sweeps, launcher):
    """A lost worker costs its batch no results, and a bounded number of retries."""
    overrides, num_killed = BATCHES[launcher[0]]
    sweeps.run(NAME, TRACKING, *launcher, *PRUNING, "failure=unpicklable", "failing_x=0.5", *overrides, code=1)
    ends = {}
    for trial in sweeps.study().trials:
        ends.setdefault(trial.params["x"], []).append((trial.state.name, len(trial.intermediate_values)))
        if trial.params["x"] == 0.5:
            assert trial.user_attrs["reason"] == "UnpicklableError: cannot travel"
    killed = [state for state, _ in ends.pop(0.3, [])]
    assert killed == ["FAIL"] * len(killed)
    assert len(killed) in num_killed
    right = {1: ("COMPLETE", 4), 1.1: ("COMPLETE", 4), 9: ("PRUNED", 1), 0.5: ("FAIL", 4), 0.4: ("COMPLETE", 4)}
    assert {x: ended[-1] for x, ended in ends.items()} == {x: right[x] for x in ends}
    assert {1, 9, 0.5} <= ends.keys()
    completed = [x for x, (state, _) in right.items() if x in ends and state == "COMPLETE"]
    assert len(sweeps.params()) == len(completed) + 1
    (parent,), _ = assert_mirrored(sweeps)
    assert json.loads(parent.data.tags["best.params"]) == {"x": min(completed)}


SIGNALS = [
    pytest.param(*launcher.values, signum, id=f"{launcher.id}-{signum.name}", marks=launcher.marks)
    for launcher, signum in ((JOBLIB, signal.SIGTERM), (SUBMITIT, signal.SIGINT))
]


@pytest.mark.parametrize(("launcher", "signum"), SIGNALS, indirect=["launcher"])
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
