"""Real servers that a test starts, stops and starts again."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
import uuid
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from support.commands import provide_store, start
from support.ports import free_port

START_SECONDS = 120


class PostgresServer:
    """Private; skips the test where PostgreSQL is not installed."""

    def __init__(self):
        binaries = postgres_binaries()
        if binaries is None:
            pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
        if find_spec("psycopg") is None:
            pytest.skip("psycopg is not installed: pip install -e '.[postgres]'")
        self._binaries, self._user, self._port = binaries, unprivileged_user(), free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        self._run("initdb", "-D", "data", "-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C")
        self.url = ""

    def use_new_database(self):
        name = f"test_{uuid.uuid4().hex}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self._port), "-U", "tester", name)
        self.url = f"postgresql://tester@127.0.0.1:{self._port}/{name}"

    def start(self):
        options = f"-p {self._port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run("pg_ctl", "start", "-w", "-D", "data", "-l", "log", "-o", options)

    def start_again(self):
        """If a test that failed left it stopped."""
        if not (self._folder / "data" / "postmaster.pid").exists():
            self.start()

    def stop(self):
        """As a crash does: no client is told, no transaction is finished."""
        self._run("pg_ctl", "stop", "-D", "data", "-m", "immediate")

    def remove(self):
        with suppress(subprocess.CalledProcessError):
            self.stop()
        shutil.rmtree(self._folder)

    def _run(self, program, *arguments):
        command = [self._binaries / program, *arguments]
        subprocess.run(command, check=True, user=self._user, cwd=self._folder, stdout=subprocess.DEVNULL)


def postgres_binaries():
    """On the PATH, or where Debian puts them."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


def unprivileged_user():
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class MlflowServer:
    """It takes the artifacts, too: its clients see nothing of `folder`. In its options, server:5000 is its address."""

    OPTIONS = ("--backend-store-uri", "sqlite:///server.db", "--artifacts-destination", "artifacts")

    def __init__(self, folder, options=OPTIONS):
        self._port, self._folder, self._options = free_port(), folder, options
        self.host = f"127.0.0.1:{self._port}"
        self.uri = f"http://{self.host}"

    def start(self):
        where = ["--port", str(self._port), "--workers", "1"]
        options = [self.host if option == "server:5000" else option for option in self._options]
        environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        provide_store(self._folder, "server.db")
        self._process = start("-m", "mlflow", "server", *options, *where, cwd=self._folder, **environment)
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                return
            time.sleep(0.2)
        raise TimeoutError(self._process.errors())

    def stop(self):
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def remove(self):
        with suppress(ProcessLookupError):
            self.stop()
