"""A long sweep keeps what it had after its first trials: memory, open files, processes, threads."""

import statistics
import time

import psutil
import pytest

from support.commands import nightly
from support.sweeps import LOCAL, NAME, TRACKING

TRIALS = 200
WINDOW = TRIALS // 6
MEGABYTES_A_TRIAL = 0.2  # the study and its pictures hold a few kB of each trial


@nightly
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_files_processes_and_threads_do_not_grow_with_the_trials(sweeps):
    command = sweeps.start(NAME, *LOCAL, TRACKING, f"x=range(0,{TRIALS})")
    watched = psutil.Process(command.pid)
    looks = {"files": {}, "processes": {}, "threads": {}, "megabytes": {}}  # by number of trials started
    while command.poll() is None and len(sweeps.started()) < TRIALS:
        time.sleep(0.1)
        try:
            trials, found = len(sweeps.started()), look_at(watched)
        except psutil.NoSuchProcess:  # a trial ended while it was looked at
            continue
        for name, value in found.items():
            looks[name].setdefault(trials, []).append(value)
    out, errors = command.communicate(timeout=300)
    assert command.returncode == 0, out + errors
    early, late = (range(start, start + WINDOW) for start in (WINDOW, TRIALS - WINDOW))
    for name in ("files", "processes", "threads"):  # a few come and go within a trial: a leak adds one with each
        assert most(looks[name], late) - most(looks[name], early) < (TRIALS - 2 * WINDOW) / 4, name
    growth = typical(looks["megabytes"], late) - typical(looks["megabytes"], early)
    print({name: (most(seen, early), most(seen, late)) for name, seen in looks.items()}, f"growth {growth:.1f} MB")
    assert growth < MEGABYTES_A_TRIAL * (TRIALS - 2 * WINDOW)


def look_at(command):
    """Of the command, the number of its open files and its own memory, beside all its processes."""
    descendants = command.children(recursive=True)
    return {
        "files": command.num_fds(),
        "processes": 1 + len(descendants),
        "threads": command.num_threads(),
        "megabytes": command.memory_full_info().uss / 1e6,
    }


def most(seen, trials):
    return max(value for number in trials for value in seen.get(number, ()))


def typical(seen, trials):
    return statistics.median(value for number in trials for value in seen.get(number, ()))
