"""Commands that start at once on one study, from an empty folder."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from optuna.trial import TrialState

from .conftest import LOCAL, NAME, TRACKING, assert_mirrored, wait_for

pytestmark = pytest.mark.slow

FOUR_SLOTS = (*LOCAL, "hydra.launcher.num_slots=4")
SEARCH = (NAME, TRACKING, "x=interval(0.0,1.0)", "y=interval(0.0,1.0)", "hydra/sweeper/sampler=tpe", "epochs=2")


def run_together(sweeps, *overrides, trials, storage=None):
    """Two commands; neither may fail, run a trial too many, repeat one, or leave it out of MLflow."""
    place = [] if storage is None else [f"hydra.sweeper.storage={storage}"]
    command = (*SEARCH, f"hydra.sweeper.n_trials={trials}", *place, *overrides)
    processes = [sweeps.start(*command) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    done = sweeps.study(storage=storage).trials
    assert [trial.state for trial in done] == [TrialState.COMPLETE] * trials
    assert len({str(trial.params) for trial in done}) == len(sweeps.started()) == trials
    assert all(len(trial.intermediate_values) == 2 for trial in done)
    (parent,), _ = assert_mirrored(sweeps, storage)
    assert parent.info.status == "FINISHED"
    return {trial.user_attrs["owner"] for trial in done}


@pytest.mark.parametrize("attempt", range(10))
def test_two_commands_of_four_slots_start_from_an_empty_folder(sweeps, attempt):
    storage = None if attempt % 2 else f"sqlite:///{sweeps.folder}/study.db"
    run_together(sweeps, *FOUR_SLOTS, trials=10, storage=storage)


@pytest.fixture(scope="module")
def postgres():
    """The URL of a private PostgreSQL server."""
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    if find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed: pip install -e '.[postgres]'")
    folder, user, port = Path(tempfile.mkdtemp(prefix="postgres-")), server_user(), free_port()
    if user is not None:
        shutil.chown(folder, user)
    data = str(folder / "data")
    initdb = [binaries / "initdb", "-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C"]
    subprocess.run(initdb, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)
    options = ["-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    with (folder / "log").open("w") as log:
        command = [binaries / "postgres", "-D", data, *options]
        server = subprocess.Popen(command, user=user, cwd=folder, stdout=log, stderr=log)
    try:
        wait_for(lambda: "ready to accept connections" in (folder / "log").read_text())
        yield f"postgresql://tester@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # SIGTERM would wait for the clients
        server.wait(30)
        shutil.rmtree(folder)


def postgres_binaries():
    """On the PATH, or where Debian puts them."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


def server_user():
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_commands_share_one_study_in_postgresql(sweeps, postgres):
    owners = run_together(sweeps, *FOUR_SLOTS, "epoch_seconds=0.5", trials=16, storage=postgres)
    assert len(owners) == 2


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("postgresql://nobody@127.0.0.1:1/none", "hydra.sweeper.storage: postgresql://nobody@127.0.0.1:1/none: "),
        ("nosuchdatabase://host/name", "hydra.sweeper.storage: nosuchdatabase://host/name: "),
    ],
)
def test_a_database_that_cannot_be_opened_is_one_line(sweeps, storage, message):
    out = sweeps.run(NAME, "x=1,2", f"hydra.sweeper.storage={storage}", code=1)
    assert message in out
    assert "Traceback" not in out
    assert sweeps.started() == []
