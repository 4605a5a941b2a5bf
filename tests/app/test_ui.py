"""`make ui`: one command to the comparison of the latest sweep, looked at in a real browser where there is one."""

import os
import signal
import socket

import psutil
import pytest
from mlflow import MlflowClient

from contrastive_app.ui import latest_page, shows
from support.chromium import needs_chromium, page  # noqa: F401  a fixture
from support.commands import provide_store, run, start, typed, wait_while_running
from support.ports import free_port
from support.sweeps import Sweeps, wait_for

pytestmark = pytest.mark.slow

UI = ("-m", "src.ui", "--port")
HEADLESS = {"DISPLAY": None, "WAYLAND_DISPLAY": None}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    sweeps = Sweeps(tmp_path_factory.mktemp("swept"))
    space = ("x=1,2,3", "y=0,1", "epochs=3")
    out = sweeps.run("hydra.sweeper.study_name=shapes", "tracking=sqlite:///mlflow.db", *space)
    return sweeps, {line.partition(": ")[0]: line.partition("/#/")[2] for line in out.splitlines() if "/#/" in line}


@pytest.fixture(scope="module")
def server(swept, tmp_path_factory):
    """The UI of the sweep: its process, the address that it printed, and the one that it opened a browser at."""
    folder = tmp_path_factory.mktemp("browser")
    opened, browser = folder / "opened", folder / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    window = HEADLESS | {"DISPLAY": ":0", "BROWSER": str(browser)}
    process = start(*UI, free_port(), cwd=swept[0].folder, new_interpreter=True, **window)
    wait_while_running(process, lambda: "Open " in process.out())
    printed = next(line for line in process.out().splitlines() if line.startswith("Open ")).split()[1]
    yield process, printed, opened
    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    process.wait(30)
    psutil.wait_procs(family, 10)
    assert not any(child.is_running() for child in family)
    assert process.out() == f"Open {printed}\n"
    assert process.errors() == ""


def test_it_opens_the_latest_sweep_with_two_processes(server, swept):
    process, printed, opened = server
    assert printed.partition("/#/")[2] == swept[1]["Comparison"]
    wait_for(lambda: opened.exists() and opened.read_text())
    assert opened.read_text().strip() == printed
    alive = [child for child in psutil.Process(process.pid).children(recursive=True) if child.status() != "zombie"]
    assert len(alive) == 1  # the browser has ended
    connections = psutil.net_connections("tcp")
    port = int(printed.split("/")[2].rpartition(":")[2])
    assert {item.laddr.ip for item in connections if item.laddr.port == port and item.status == "LISTEN"} == {
        "127.0.0.1"
    }


def test_a_second_command_shows_the_server_of_the_first(server, swept):
    printed = server[1]
    port = printed.split("/")[2].rpartition(":")[2]
    done = run(*UI, port, cwd=swept[0].folder, **HEADLESS)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"Open {printed}\n", "")


def test_a_server_of_another_store_is_not_taken_for_ours(server, tmp_path):
    base = server[1].partition("/#/")[0]
    provide_store(tmp_path)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    client.create_experiment("mine", artifact_location=(tmp_path / "artifacts").as_uri())
    assert not shows(base, f"sqlite:///{tmp_path}/mlflow.db")


@needs_chromium
def test_the_comparison_is_ready_in_a_browser(server, swept, page):  # noqa: F811
    _, printed, _ = server
    base = printed.partition("/#/")[0]
    names = [f"00{number} x={x} y={y}" for number, (x, y) in enumerate((x, y) for x in (1, 2, 3) for y in (0, 1))]
    page.open(printed)
    charts = ("Parallel Coordinates", "x vs. y vs. final/value", "Curves")
    text = page.text_with("6 matching runs", *charts, in_order=names)  # MLflow sorts the rows after it shows them
    assert "failed to load" not in text.lower()
    page.open(f"{base}/#/{swept[1]['Best runs']}")
    text = page.text_with("Comparing 6 Runs", "Parallel Coordinates Plot", *names)
    assert "failed to load" not in text.lower()


def test_without_a_sweep_it_is_the_page_of_runs(tmp_path):
    store = f"sqlite:///{tmp_path}/mlflow.db"
    provide_store(tmp_path)
    client = MlflowClient(tracking_uri=store)
    experiment = client.create_experiment("mine", artifact_location=(tmp_path / "artifacts").as_uri())
    assert latest_page(store) == "/#/experiments/0/runs?workflowType=machine_learning"
    client.create_run(experiment)
    assert latest_page(store) == f"/#/experiments/{experiment}/runs?workflowType=machine_learning"


def test_a_store_that_is_missing_is_one_line_and_stays_missing(tmp_path):
    done = run(*UI, free_port(), "--store", "nope.db", cwd=tmp_path, **HEADLESS)
    assert done.returncode == 1
    assert done.stderr == "error: there is no nope.db: the first run makes it; --store says where it is\n"
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_one_line(tmp_path):
    provide_store(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run(*UI, port, cwd=tmp_path, **HEADLESS)
    told = f"port {port} is taken, and not by the UI of mlflow.db; another: {typed('ui', tmp_path)} --port {port + 1}"
    assert done.stderr.strip() == told
