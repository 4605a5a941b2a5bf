"""How trials and sweeps end: failures, limits, signals, and going on afterwards."""

import signal
import time

import psutil
import pytest

from .conftest import LAUNCHERS, LOCAL, NAME, TRACKING, assert_mirrored

pytestmark = pytest.mark.slow

REASONS = {
    "exception": "RuntimeError: boom",
    "not_a_number": "the objective is nan",
    "none": "the task must return a number, got None",
    "text": "the task must return a number, got 'good'",
    "missing": "the task returned no loss; it has other",
    "exit": "sys.exit(3)",
    "unpicklable": "UnpicklableError: cannot travel",
}


@pytest.fixture(params=LAUNCHERS)
def launcher(request):
    return LAUNCHERS[request.param]


@pytest.mark.parametrize("failure", REASONS)
def test_a_failing_trial_is_recorded_and_the_sweep_goes_on(sweeps, failure):
    sweeps.run(NAME, "hydra.sweeper.metric=loss", "x=1,2,3,4", f"failure={failure}", "failing_x=2")
    assert sweeps.states() == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    attributes = sweeps.study().trials[1].user_attrs
    assert attributes["reason"] == REASONS[failure]
    if failure in ("exception", "exit", "unpicklable"):
        assert "in fail" in attributes["trace"]


def test_a_killed_worker_is_retried_a_bounded_number_of_times(sweeps):
    sweeps.run(NAME, *LOCAL, TRACKING, "x=1,2,3", "failure=sigkill", "failing_x=2")
    assert sweeps.states() == ["COMPLETE", "FAIL", "COMPLETE", "FAIL"]
    last = sweeps.study().trials[3]
    assert last.params == {"x": 2}
    assert last.user_attrs["retry_of"] == 1
    assert "SIGKILL" in last.user_attrs["reason"]
    assert_mirrored(sweeps)


def test_a_hanging_trial_is_ended_at_its_limit(sweeps, launcher):
    started = time.monotonic()
    sweeps.run(NAME, *launcher, "x=1,2", "failure=hang", "failing_x=1", "hydra.sweeper.trial_timeout=3")
    assert time.monotonic() - started < 30
    assert sweeps.states() == ["FAIL", "COMPLETE"]
    assert sweeps.study().trials[0].user_attrs["reason"].startswith("timeout: ")


@pytest.mark.parametrize(
    ("limit", "count"),
    [("max_failures=2", 2), ("max_consecutive_failures=3", 3), ("max_failure_rate=0.0", 1)],
)
def test_too_many_failures_stop_the_sweep_and_name_the_first(sweeps, limit, count):
    key = limit.partition("=")[0]
    out = sweeps.run(NAME, "x=1,2,3,4,5,6", "failure=exception", f"hydra.sweeper.{limit}", code=1)
    assert key in out
    assert "the first error was: trial 0: RuntimeError: boom" in out
    assert sweeps.states().count("FAIL") == count
    assert "Traceback" not in out


def test_the_study_ends_at_its_time_target_or_patience(sweeps):
    space = ("x=interval(0.5,1.0)", "hydra.sweeper.n_trials=50", "epochs=1", "epoch_seconds=1")
    out = sweeps.run("hydra.sweeper.study_name=time", *space, "hydra.sweeper.timeout=4")
    assert "stopped: timeout=4 s" in out
    assert 2 <= len(sweeps.states("time")) <= 4
    out = sweeps.run("hydra.sweeper.study_name=target", "x=3,2,1,4", "hydra.sweeper.target=4")
    assert sweeps.states("target")[:3] == ["COMPLETE", "COMPLETE", "WAITING"]
    out = sweeps.run("hydra.sweeper.study_name=patience", "x=1,2,3,4,5", "y=1", "hydra.sweeper.patience=2")
    assert sweeps.states("patience").count("COMPLETE") == 3


def test_pruning_works_from_inside_a_job(sweeps, launcher):
    pruner = ("hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_startup_trials=2")
    sweeps.run(NAME, *launcher, *pruner, TRACKING, "x=1,1.1,9,2", "epochs=4", "hydra.sweeper.n_jobs=1")
    states = sweeps.states()
    assert states == ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED"]
    assert len(sweeps.study().trials[2].intermediate_values) == 1
    assert len(sweeps.study().trials[0].intermediate_values) == 4
    assert_mirrored(sweeps)


def test_mlflow_holds_the_same_tree(sweeps, launcher):
    sweeps.run(NAME, *launcher, TRACKING, "x=1,2,3", "failure=exception", "failing_x=2")
    (parent,), children = assert_mirrored(sweeps)
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["best.params"] == '{"x": 1}'
    assert parent.data.metrics["best/value"] == 1
    assert sorted(run.info.run_name for run in children) == ["000 x=1", "001 x=2", "002 x=3"]
    failed = next(run for run in children if run.data.tags["sweep.state"] == "FAIL")
    assert failed.data.tags["sweep.reason"] == "RuntimeError: boom"
    sweeps.run(NAME, *launcher, TRACKING, "x=1,2,3", "failure=exception", "failing_x=2")
    assert_mirrored(sweeps)
    assert sweeps.states() == ["COMPLETE", "FAIL", "COMPLETE", "FAIL"]


SLOW = ("epochs=20", "epoch_seconds=0.1", "hydra.sweeper.n_trials=6", "x=interval(0.0,1.0)")


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_sweep_leaves_nothing_running_and_goes_on(sweeps, launcher, signum, code):
    process = sweeps.start(NAME, *launcher, TRACKING, *SLOW)
    wait_for(lambda: len(sweeps.started()) >= 2)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signum)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    assert "the same command continues: python" in errors
    assert "RUNNING" not in sweeps.states()
    wait_for(lambda: not any(map(is_alive, family)), seconds=2)
    (parent,), _ = assert_mirrored(sweeps)
    assert parent.info.status == "KILLED"
    interrupted = [trial for trial in sweeps.study().trials if trial.state.name == "FAIL"]
    sweeps.run(NAME, *launcher, TRACKING, *SLOW)
    (parent,), _ = assert_mirrored(sweeps)
    assert parent.info.status == "FINISHED"
    params = sweeps.params()
    assert len(params) == 6
    assert len({str(point) for point in params}) == 6
    assert all(trial.params in params for trial in interrupted)


def test_a_killed_sweep_goes_on_where_it_was(sweeps, launcher):
    process = sweeps.start(NAME, *launcher, TRACKING, *SLOW)
    wait_for(lambda: len(sweeps.started()) >= 3)
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=30)
    before = {file: file.read_bytes() for file in sweeps.folder.glob("runs/s/*/result.json")}
    assert len(before) == 2
    wait_for(lambda: not any(map(is_alive, family)), seconds=15)
    sweeps.run(NAME, *launcher, TRACKING, *SLOW)
    assert all(file.read_bytes() == content for file, content in before.items())
    assert len(sweeps.params()) == 6
    assert len({str(point) for point in sweeps.params()}) == 6
    assert sweeps.states().count("FAIL") <= 1
    assert_mirrored(sweeps)
    jobs = len(sweeps.started())
    sweeps.run(NAME, *launcher, TRACKING, *SLOW)
    assert len(sweeps.started()) == jobs


def test_mixing_is_refused_with_the_difference(sweeps):
    sweeps.run(NAME, "x=interval(0.0,1.0)", "hydra.sweeper.n_trials=2")
    out = sweeps.run(NAME, "x=interval(0.0,2.0)", "hydra.sweeper.n_trials=2", code=1)
    assert "space x: 0.0 to 1.0 -> 0.0 to 2.0" in out
    assert "Traceback" not in out
    changes = {
        "hydra.sweeper.direction=maximize": "direction: minimize -> maximize",
        "hydra.sweeper.metric=loss": "metric: value -> loss",
        "y=3": "config y: 0 -> 3",
        "hydra.sweeper.preflight=app.preflight": "data: None -> a",
    }
    for change, message in changes.items():
        out = sweeps.run(NAME, "x=interval(0.0,1.0)", "hydra.sweeper.n_trials=3", change, code=1)
        assert message in out
    assert len(sweeps.started()) == 2
    sweeps.run(NAME, "x=interval(0.0,2.0)", "hydra.sweeper.n_trials=2", "hydra.sweeper.fresh=true")
    assert len(sweeps.params("s-2")) == 2


def test_constraints_from_a_job_decide_the_best(sweeps):
    sweeps.run(NAME, "x=1,2,3", "limit=2", "hydra.sweeper.direction=maximize")
    best = (sweeps.folder / "runs/s/optimization_results.yaml").read_text()
    assert "best_value: 4.0" in best


def test_several_objectives_give_a_pareto_front(sweeps):
    sweeps.run(NAME, "x=1,2", "y=0,1", "kind=pair", "hydra.sweeper.direction=[minimize,minimize]")
    assert {trial.number for trial in sweeps.study().best_trials} == {0, 2}
    results = (sweeps.folder / "runs/s/optimization_results.yaml").read_text()
    assert "solutions:" in results


def test_a_custom_search_space_may_depend_on_what_is_drawn(sweeps):
    space = ("x=range(-5.5,5.5,0.5)", "hydra.sweeper.custom_search_space=app.configure", "hydra.sweeper.n_trials=5")
    sweeps.run(NAME, *space, "hydra/sweeper/sampler=tpe", "hydra.sweeper.sampler.seed=123")
    assert all(abs(params["y"] - params["x"]) <= 1 and 0 <= params["+w"] <= 1 for params in sweeps.params())
    assert len(sweeps.params()) == 5


@pytest.mark.parametrize("storage", ["sqlite:///study.db", "nested/study.journal"])
def test_other_storages(sweeps, storage):
    command = (NAME, "x=1,2,3", "epochs=1", f"hydra.sweeper.storage={storage}")
    sweeps.run(*command)
    sweeps.run(*command)
    assert len(sweeps.started()) == 3


def test_a_slot_takes_its_next_trial_when_it_is_free(sweeps):
    sweeps.run(NAME, *LOCAL, "hydra.launcher.num_slots=2", "x=1,2,3,4", "long_x=1")
    assert sweeps.states() == ["COMPLETE"] * 4
    started = {float(line[3]): float(line[0]) for line in sweeps.started()}
    ended = (sweeps.folder / "runs/s/000/result.json").stat().st_mtime
    assert max(started.values()) < ended
    assert len({line[1] for line in sweeps.started()}) == 4


def is_alive(process):
    """A zombie, which waits for a parent or for init to look, is not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition, seconds=60):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)
