"""The launcher's handle on one job's process."""

import math
import multiprocessing
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from hydra.errors import CompactHydraException

from hydra_plugins.local_launcher._server import ensure_server
from hydra_plugins.local_launcher._trial import run_trial

FORKSERVER = multiprocessing.get_context("forkserver")


@dataclass
class Spare:
    """A process that has all but its job, so that a free slot need not wait for the fork."""

    process: ForkServerProcess
    requests: Connection
    results: Connection


def spare_process(preload: Sequence[str], grace_seconds: float) -> Spare:
    ensure_server(preload)
    requests_end, requests = FORKSERVER.Pipe(duplex=False)
    results, results_end = FORKSERVER.Pipe(duplex=False)
    process = FORKSERVER.Process(target=run_trial, args=(grace_seconds, requests_end, results_end), daemon=False)
    try:
        process.start()
    except (EOFError, ConnectionError) as error:
        raise CompactHydraException(
            "the process that starts the jobs ended while it imported the app: "
            'see above, and whether the app calls its main function only under if __name__ == "__main__"'
        ) from error
    finally:
        requests_end.close()
        results_end.close()
    return Spare(process, requests, results)


@dataclass
class Running:
    job_idx: int
    overrides: list[str]
    process: ForkServerProcess
    results: Connection
    time_limit: float | None
    ends: float  # when it gets SIGTERM; time.monotonic, like the next
    killed: float = math.inf  # when it gets SIGKILL
    timed_out: bool = False
    folder: Path | None = None
    answer: bytes | None = None

    def send(self, signum: int) -> None:
        """To the whole process group, which has the process's own number once it has made one."""
        pid = self.process.pid
        assert pid is not None
        try:
            os.killpg(pid, signum)
        except ProcessLookupError:
            with suppress(ProcessLookupError):
                if self.process.is_alive():
                    os.kill(pid, signum)

    def read(self) -> None:
        """Take in what the job has sent: its folder, later its pickled JobReturn."""
        try:
            while not self.results.closed and self.results.poll():
                message = self.results.recv()
                if isinstance(message, Path):
                    self.folder = message
                else:
                    self.answer = message
        except (EOFError, OSError):
            self.results.close()
