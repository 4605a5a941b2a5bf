"""When a sweep ends before its last trial."""

import optuna
import pytest

from optuna_sweep.run.limits import Limits
from optuna_sweep.settings import OptunaSweeperConf
from optuna_sweep.study.ledger import open_ledger, open_patiently
from optuna_sweep.study.storage import storage_lock

FREE = {"max_failures": None, "max_consecutive_failures": None, "max_failure_rate": 1.0}


def limits(window=1, **settings):
    return Limits(OptunaSweeperConf(**(FREE | settings)), window)


def counted(found, pattern):
    """F = a trial failed, . = it did not; the limit that is reached after each."""
    reached = []
    for number, mark in enumerate(pattern):
        found.count(failed=mark == "F", reason=f"trial {number}: boom")
        reached.append(found.broken)
    return reached


@pytest.fixture
def ledger(tmp_path):
    def make(values, direction="minimize"):
        storage = str(tmp_path / f"{direction}.journal")
        opened, pruner = open_patiently(storage, 1.0), optuna.pruners.NopPruner()
        found = open_ledger(opened, storage_lock(storage), "s", [direction], {}, pruner)
        for value in values:
            found.study.tell(found.study.ask(), value)
        return found

    return make


def test_all_failures_count():
    assert counted(limits(max_failures=2), "F..F") == [None, None, None, "2 trials failed (max_failures=2)"]


def test_failures_in_a_row_start_again_after_a_success():
    message = "3 trials in a row failed (max_consecutive_failures=3)"
    assert counted(limits(max_consecutive_failures=3), "FF.FFF") == [None] * 5 + [message]


def test_the_rate_is_taken_over_as_many_trials_as_run_at_a_time():
    reached = counted(limits(window=4, max_failure_rate=0.5), "FF..FF.F")
    assert reached == [None] * 7 + ["3 of 4 trials failed (max_failure_rate=0.5)"]
    assert counted(limits(window=2, max_failure_rate=0.0), "..F") == [None] * 3
    assert counted(limits(window=2, max_failure_rate=0.0), "..F.")[-1] == "1 of 2 trials failed (max_failure_rate=0)"


def test_the_first_error_and_the_first_limit_stay():
    found = limits(max_failures=1)
    assert counted(found, "FF") == ["1 trials failed (max_failures=1)"] * 2
    assert found.first_error == "trial 0: boom"
    found.stop_as_misconfigured("trial 2: no such metric")
    assert (found.broken, found.first_error) == ("1 trials failed (max_failures=1)", "trial 0: boom")


def test_a_wrong_configuration_ends_the_sweep_at_once(ledger):
    found = limits()
    found.stop_as_misconfigured("trial 0: no such metric")
    assert found.reason_to_stop(ledger([])) == "the configuration is wrong"
    assert found.first_error == "trial 0: no such metric"


def test_no_trial_starts_after_the_timeout(ledger):
    assert limits(timeout=0.0).reason_to_stop(ledger([])) == "timeout=0 s"
    assert limits(timeout=3600.0).reason_to_stop(ledger([])) is None


@pytest.mark.parametrize(("direction", "values"), [("minimize", [3.0, 2.0]), ("maximize", [1.0, 2.0])])
def test_the_target_is_reached_by_an_equal_value(ledger, direction, values):
    assert limits(target=2.0).reason_to_stop(ledger([], direction)) is None
    assert limits(target=2.0).reason_to_stop(ledger(values[:1], direction)) is None
    assert limits(target=2.0).reason_to_stop(ledger(values[1:], direction)) == "target=2 reached"


def test_patience_counts_the_trials_after_the_best(ledger):
    found = limits(patience=2)
    assert found.reason_to_stop(ledger([3.0, 1.0, 2.0])) is None
    assert found.reason_to_stop(ledger([2.0])) == "patience=2: as many trials without a better one"
