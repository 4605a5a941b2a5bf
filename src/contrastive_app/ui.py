"""Opens the MLflow UI of the runs on this machine, at the latest sweep if there is one."""

import argparse
import http.client
import io
import os
import signal
import socket
import sys
import threading
import time
import urllib.request
import webbrowser
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrastive_app.command_help import ShowVersion
from contrastive_app.interrupts import listen
from contrastive_app.places import DEFAULT_STORE, command
from mlflow_stores import check_database, quiet_client_settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

HOST = "127.0.0.1"
START_SECONDS = 120
LANDING = "/#/experiments/{}/runs?workflowType=machine_learning"  # without it MLflow opens its page for LLM traces


def main() -> None:
    listen()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # also for threads and processes that start from here
    threading.Thread(target=_end_at_interrupt, daemon=True).start()
    parser = argparse.ArgumentParser(prog=command("ui"), description=__doc__)
    parser.add_argument("--version", action=ShowVersion)
    parser.add_argument("--port", type=int, default=5000, help="of the server on this machine")
    parser.add_argument("--store", type=Path, default=Path(DEFAULT_STORE), help="the SQLite file of the runs")
    arguments = parser.parse_args()
    if not 0 < arguments.port < 65536:
        sys.exit(f"--port must be 1 to 65535, got {arguments.port}")
    quiet_client_settings()
    server = f"http://{HOST}:{arguments.port}"
    try:
        store = _existing(arguments.store)
    except ValueError as error:
        sys.exit(f"error: {error}")
    address = server + latest_page(store)
    if _answers(arguments.port):
        if not shows(server, store):
            other = f"{command('ui')} --port {arguments.port + 1}"
            sys.exit(f"port {arguments.port} is taken, and not by the UI of {arguments.store}; another: {other}")
        _show(address)
    else:
        _serve(store, arguments.port, address)


def _existing(store: Path) -> str:
    """The address of the SQLite file `store`. Raises ValueError if it is none."""
    if not store.exists():
        raise ValueError(f"there is no {store}: the first run makes it; --store says where it is")
    address = f"sqlite:///{store.resolve()}"
    check_database(address, "--store")
    return address


def shows(server: str, store: str) -> bool:
    """Whether an MLflow server with the runs of `store` answers at `server`, such as one that this command started."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    if not _is_up(server):
        return False
    try:
        there, here = (_experiments(MlflowClient(uri)) for uri in (server, store))
    except MlflowException:  # a server that wants a login, or is none of MLflow
        return False
    return there == here


def _experiments(client: "MlflowClient") -> set[tuple[str, int | None, str]]:
    return {(item.name, item.creation_time, item.artifact_location) for item in client.search_experiments()}


def latest_page(store: str) -> str:
    """Address of the ready-made comparison of the sweep that ran last, else of the runs of the latest experiment."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    sweeps = client.search_runs(experiments, "tags.`sweep.kind` = 'parent'", max_results=1000)
    shown = [run for run in sweeps if "sweep.view" in run.data.tags]
    if shown:
        return str(max(shown, key=_last_seen).data.tags["sweep.view"])
    runs = client.search_runs(experiments, order_by=["attributes.start_time DESC"], max_results=1)
    return LANDING.format(runs[0].info.experiment_id if runs else 0)


def _last_seen(run: Any) -> int:
    return int(run.info.end_time or run.info.start_time)


def _serve(store: str, port: int, address: str) -> None:
    """Serve until Ctrl-C, and show `address` once it is up. What MLflow says by itself is printed only if it fails."""
    from click import ClickException
    from mlflow.cli import cli

    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # 2 processes instead of 10
    os.environ.setdefault("PYTHONWARNINGS", "ignore:starlette.middleware.wsgi is deprecated")
    stores = ["--backend-store-uri", store, "--registry-store-uri", store]
    options = ["--host", HOST, "--port", str(port), "--workers", "1", "--uvicorn-opts", "--log-level warning"]
    threading.Thread(target=_show_once_up, args=(f"http://{HOST}:{port}", address), daemon=True).start()
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            cli(["ui", *stores, *options], prog_name="mlflow", standalone_mode=False)
    except (SystemExit, ClickException):
        print(said.getvalue(), file=sys.stderr)
        raise


def _end_at_interrupt() -> None:
    """A terminal's Ctrl-C reaches the server twice, from MLflow once more, and it then ends with a traceback."""
    signal.sigwait([signal.SIGINT])
    os.kill(os.getpid(), signal.SIGTERM)


def _show_once_up(server: str, address: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _is_up(server) and time.monotonic() < deadline:
        time.sleep(0.3)
    _show(address)


def _is_up(server: str) -> bool:
    try:
        with urllib.request.urlopen(f"{server}/health", timeout=2) as answer:
            return bool(answer.read(3) == b"OK")
    except (http.client.HTTPException, OSError):
        return False


def _show(address: str) -> None:
    """Print the address, and open it in a browser."""
    print(f"Open {address}", flush=True)
    if _has_window():
        webbrowser.open(address)


def _has_window() -> bool:
    """Whether a browser would open in a window; one inside the terminal would be in the way."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
