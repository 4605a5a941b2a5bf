"""How trials and sweeps end: failures, limits, signals, and going on afterwards."""

import re
import signal

import psutil
import pytest
from optuna.trial import TrialState

from support.sweeps import LAUNCHERS, LOCAL, NAME, PRUNING, TRACKING, assert_mirrored, is_alive, wait_for

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


def test_failing_trials_are_recorded_and_the_sweep_goes_on(sweeps):
    kinds = ",".join([*REASONS, "null"])
    no_limit = "hydra.sweeper.max_consecutive_failures=null"
    said = sweeps.run(NAME, no_limit, "hydra.sweeper.metric=loss", f"failure={kinds}", code=1)
    assert "7 of 8 trials failed: 000 RuntimeError: boom, 001 the objective is nan, 002 the task must " in said
    assert "004 the task returned no loss; it has other, and 2 more\n" in said
    *failed, last = sweeps.study().trials
    assert last.state == TrialState.COMPLETE
    assert all(trial.state == TrialState.FAIL for trial in failed)
    assert {trial.params["failure"]: trial.user_attrs["reason"] for trial in failed} == REASONS
    raised = {trial.params["failure"]: "in fail" in trial.user_attrs.get("trace", "") for trial in failed}
    assert {kind for kind, traced in raised.items() if traced} == {"exception", "exit", "unpicklable"}


def test_what_would_fail_every_trial_ends_the_sweep_at_once_and_may_be_corrected(sweeps, launcher):
    misspelt = ("hydra.sweeper.metric=los", "failure=misspelt", "hydra.sweeper.n_trials=5")
    out = sweeps.run(
        NAME, *launcher, *misspelt, "x=interval(0.0,1.0)", "hydra.sweeper.enqueue=[{x:0.1},{x:0.2}]", code=1
    )
    assert "stopped: the configuration is wrong; the first error was: trial 0: there is no metric los" in out
    assert "Traceback" not in out
    assert len(sweeps.started()) == 1
    sweeps.run(
        NAME, *launcher, "hydra.sweeper.metric=loss", "kind=dict", "x=interval(0.0,0.5)", "hydra.sweeper.n_trials=2"
    )
    assert sweeps.states() == ["FAIL", "FAIL", "COMPLETE", "COMPLETE"]


def test_a_killed_worker_is_retried_a_bounded_number_of_times(sweeps):
    sweeps.run(NAME, *LOCAL, TRACKING, "x=1,2,3", "failure=sigkill", "failing_x=2", code=1)
    assert sweeps.states() == ["COMPLETE", "FAIL", "COMPLETE", "FAIL"]
    last = sweeps.study().trials[3]
    assert last.params == {"x": 2}
    assert last.user_attrs["retry_of"] == 1
    assert "SIGKILL" in last.user_attrs["reason"]
    assert_mirrored(sweeps)


def test_a_hanging_trial_is_ended_at_its_limit(sweeps, launcher):
    sweeps.run(NAME, *launcher, "x=1,2", "failure=hang", "failing_x=1", "hydra.sweeper.trial_timeout=3", code=1)
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


def test_pruned_failed_and_complete_trials_are_the_same_in_mlflow(sweeps, launcher):
    points = ("x=1,1.1,9,2,0.5", "failure=exception", "failing_x=0.5", "hydra.sweeper.n_jobs=1")
    sweeps.run(NAME, *launcher, *PRUNING, TRACKING, *points, code=1)
    assert sweeps.states() == ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED", "FAIL"]
    assert [len(trial.intermediate_values) for trial in sweeps.study().trials] == [4, 4, 1, 1, 4]
    (parent,), children = assert_mirrored(sweeps)
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["best.params"] == '{"x": 1}'
    assert parent.data.metrics["best/value"] == 1
    names = [f"{number:03d} x={x}" for number, x in enumerate((1, 1.1, 9, 2, 0.5))]
    assert sorted(run.info.run_name for run in children) == names
    failed = next(run for run in children if run.data.tags["sweep.state"] == "FAIL")
    assert failed.data.tags["sweep.reason"] == "RuntimeError: boom"
    sweeps.run(NAME, *launcher, *PRUNING, TRACKING, *points, code=1)
    assert_mirrored(sweeps)
    assert sweeps.states() == ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED", "FAIL", "FAIL"]


@pytest.mark.parametrize(
    ("pruner", "pruned"),
    [
        (["hyperband", "hydra.sweeper.pruner.max_resource=9"], {3, 4, 5, 6, 7}),
        (["successive_halving"], {2, 3, 4, 5, 6, 7, 8}),
        (
            [
                "patient",
                "slope=-1",
                "hydra.sweeper.pruner.wrapped_pruner.n_startup_trials=1",
                "hydra.sweeper.pruner.wrapped_pruner.n_warmup_steps=0",
            ],
            {3, 4, 5, 6, 7, 8},
        ),
    ],
)
def test_each_pruner_ends_bad_trials_only(sweeps, pruner, pruned):
    sweeps.run(NAME, f"hydra/sweeper/pruner={pruner[0]}", *pruner[1:], "x=1,2,3,4,5,6,7,8", "epochs=9")
    ended = {trial.params["x"] for trial in sweeps.study().trials if trial.state == TrialState.PRUNED}
    steps = {trial.params["x"]: trial.last_step for trial in sweeps.study().trials}
    assert ended == {x for x, step in steps.items() if step < 9} == pruned


SLOW = ("epochs=10", "epoch_seconds=0.1", "hydra.sweeper.n_trials=6", "x=interval(0.0,1.0)")


def test_a_sweep_that_is_interrupted_or_killed_leaves_nothing_running_and_goes_on(sweeps, launcher):
    command = (NAME, *launcher, TRACKING, *SLOW)
    for signum, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        errors = stopped_midway(sweeps, command, signum, code)
        assert re.search(r"the same command continues: \S*python", errors)
        (parent,), _ = assert_mirrored(sweeps)
        assert parent.info.status == "KILLED"
    interrupted = [trial for trial in sweeps.study().trials if trial.state == TrialState.FAIL]
    stopped_midway(sweeps, command, signal.SIGKILL, -signal.SIGKILL)
    before = {file: file.read_bytes() for file in sweeps.folder.glob("runs/s/*/result.json")}
    assert len(before) >= 3
    sweeps.run(*command)
    assert all(file.read_bytes() == content for file, content in before.items())
    (parent,), _ = assert_mirrored(sweeps)
    assert parent.info.status == "FINISHED"
    params = sweeps.params()
    assert len(params) == len({str(point) for point in params}) == 6
    assert all(trial.params in params for trial in interrupted)
    assert sweeps.states().count("FAIL") == 3
    jobs = len(sweeps.started())
    sweeps.run(*command)
    assert len(sweeps.started()) == jobs


def test_an_interrupt_within_a_transaction_of_the_store_ends_the_sweep_and_frees_the_store(sweeps):
    """Then a clean-up of the task fails, too."""
    command = (NAME, *LAUNCHERS["basic"], TRACKING, "x=1,2,3", "failure=hang_in_the_store", "failing_x=2")
    process = sweeps.start(*command)
    wait_for((sweeps.folder / "held").exists)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    (parent,), _ = assert_mirrored(sweeps)
    assert parent.info.status == "KILLED"
    assert sweeps.states() == ["COMPLETE", "FAIL", "WAITING", "WAITING"]


STORAGE = "{_target_:app.InterruptedStorage,log_storage:{_target_:optuna.storages.journal.JournalFileBackend,"
STORAGE += "file_path:optuna.journal}}"


@pytest.mark.parametrize(("event", "continues"), [("RUNNING", "false"), ("RUNNING", "true"), ("COMPLETE", "false")])
def test_an_interrupt_while_a_trial_is_claimed_or_told_loses_nothing(sweeps, monkeypatch, event, continues):
    command = (NAME, TRACKING, "x=interval(0.0,1.0)", "hydra.sweeper.n_trials=3", f"hydra.sweeper.storage={STORAGE}")
    command += (f"hydra.sweeper.continue_interrupted={continues}",)
    monkeypatch.setenv("INTERRUPTED_AFTER", event)
    sweeps.run(*command, code=130)
    assert "RUNNING" not in sweeps.states()
    assert_mirrored(sweeps)
    sweeps.run(*command)
    assert sweeps.states().count("COMPLETE") == 3
    assert set(sweeps.states()) <= {"COMPLETE", "FAIL"}
    assert_mirrored(sweeps)


def test_an_interrupt_during_the_report_closes_the_parent_and_the_same_command_writes_it(sweeps):
    command = (NAME, *LAUNCHERS["basic"], TRACKING, "x=1,2", "name=slow", "hydra.sweeper.report=app.report")
    for repetition in range(2):
        (sweeps.folder / "reporting").unlink(missing_ok=True)
        process = sweeps.start(*command)
        wait_for((sweeps.folder / "reporting").exists)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert ("none is left to run" in errors) == (repetition == 1)
        (parent,), _ = assert_mirrored(sweeps)
        assert parent.info.status == "KILLED"
    assert sweeps.states() == ["COMPLETE", "COMPLETE"]


def stopped_midway(sweeps, command, signum, code):
    """Start it, and send the signal during its second trial; what it printed."""
    before = len(sweeps.started())
    process = sweeps.start(*command)
    wait_for(lambda: len(sweeps.started()) == before + 2)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signum)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    wait_for(lambda: not any(map(is_alive, family)), seconds=15 if signum == signal.SIGKILL else 2)
    assert signum == signal.SIGKILL or "RUNNING" not in sweeps.states()
    return errors


def test_mixing_is_refused_with_the_difference(sweeps):
    sweeps.run(NAME, "x=interval(0.0,1.0)", "hydra.sweeper.n_trials=2")
    changed = ("hydra.sweeper.direction=maximize", "hydra.sweeper.metric=loss", "hydra.sweeper.preflight=app.preflight")
    out = sweeps.run(NAME, "x=interval(0.0,2.0)", "y=3", "hydra.sweeper.n_trials=3", *changed, code=1)
    for difference in (
        "space x: 0.0 to 1.0 -> 0.0 to 2.0",
        "direction: minimize -> maximize",
        "metric: value -> loss",
        "config y: 0 -> 3",
        "data: None -> a",
    ):
        assert difference in out
    assert "Traceback" not in out
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


@pytest.mark.slow
def test_relative_files_of_a_storage_in_parts_mean_the_folder_of_the_command(sweeps):
    """Written as for hydra-optuna-sweeper; each job works, and reports to the study, in a folder of its own."""
    storage = "{_target_:optuna.storages.RDBStorage,url:'sqlite:///study.db'}"
    sweeps.run(NAME, "x=1,2", "epochs=2", f"hydra.sweeper.storage={storage}", "hydra.job.chdir=true")
    assert list(sweeps.folder.rglob("study.db")) == [sweeps.folder / "study.db"]
    trials = sweeps.study(storage=f"sqlite:///{sweeps.folder}/study.db").trials
    assert [list(trial.intermediate_values) for trial in trials] == [[1, 2], [1, 2]]


def test_a_slot_takes_its_next_trial_when_it_is_free(sweeps):
    sweeps.run(NAME, *LOCAL, "hydra.launcher.num_slots=2", "x=1,2,3,4", "long_x=1")
    assert sweeps.states() == ["COMPLETE"] * 4
    started = {float(line[3]): float(line[0]) for line in sweeps.started()}
    ended = (sweeps.folder / "runs/s/000/result.json").stat().st_mtime
    assert max(started.values()) < ended
    assert len({line[1] for line in sweeps.started()}) == 4
