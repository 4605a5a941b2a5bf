"""Opens the MLflow UI of the runs on this machine, at the latest sweep if there is one."""

import argparse
import os
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from pathlib import Path
from typing import Any

from contrastive_app.command_help import ShowVersion
from contrastive_app.places import DEFAULT_STORE, command
from mlflow_stores import check_database, quiet_client_settings

HOST = "127.0.0.1"
START_SECONDS = 120
LANDING = "/#/experiments/{}/runs?workflowType=machine_learning"  # without it MLflow opens its page for LLM traces


def main() -> None:
    parser = argparse.ArgumentParser(prog=command("ui"), description=__doc__)
    parser.add_argument("--version", action=ShowVersion)
    parser.add_argument("--port", type=int, default=5000, help="of the server on this machine")
    parser.add_argument("--store", type=Path, default=Path(DEFAULT_STORE), help="the SQLite file of the runs")
    arguments = parser.parse_args()
    if not 0 < arguments.port < 65536:
        sys.exit(f"--port must be 1 to 65535, got {arguments.port}")
    if _answers(arguments.port):
        sys.exit(f"port {arguments.port} is taken; another: {command('ui')} --port {arguments.port + 1}")
    quiet_client_settings()
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # 2 processes instead of 10
    server = f"http://{HOST}:{arguments.port}"
    store = f"sqlite:///{arguments.store.resolve()}"
    try:
        check_database(store, "--store")
    except ValueError as error:
        sys.exit(f"error: {error}")
    address = server + (latest_page(store) if arguments.store.exists() else LANDING.format(0))
    threading.Thread(target=_open, args=(server, address), daemon=True).start()
    _serve(store, arguments.port)


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


def _serve(store: str, port: int) -> None:
    from mlflow.cli import cli

    options = ["--backend-store-uri", store, "--host", HOST, "--port", str(port)]
    cli(["ui", *options, "--workers", "1"], prog_name="mlflow")


def _open(server: str, address: str) -> None:
    """Print the address, and open it in a browser, once the server answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{server}/health", timeout=2):
                break
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    print(f"Open {address}", flush=True)
    if _has_window():
        webbrowser.open(address)


def _has_window() -> bool:
    """Whether a browser would open in a window; one inside the terminal would be in the way."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
