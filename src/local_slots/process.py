"""The launcher's handle on one job's process."""

import math
import multiprocessing
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from hydra.errors import CompactHydraException

from local_slots.failures import JobError
from local_slots.job import run_trial
from local_slots.server import ensure_server

FORKSERVER = multiprocessing.get_context("forkserver")


@dataclass
class IdleWorker:
    """A process that is already forked and waits for a job, so that a free slot need not wait for the fork."""

    process: ForkServerProcess
    requests: Connection
    results: Connection


def idle_worker(preload: Sequence[str], grace_seconds: float) -> IdleWorker:
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
    return IdleWorker(process, requests, results)


@dataclass
class Worker:
    """A process that has a job, or its share of one."""

    process: ForkServerProcess
    results: Connection
    folder: Path | None = None
    answer: bytes | None = None

    def send(self, signum: int) -> None:
        """To the whole process group, which has the process's own number once it has made one."""
        pid = self.process.pid
        assert pid is not None
        try:
            os.killpg(pid, signum)
        except (ProcessLookupError, PermissionError):  # the latter on macOS, for a group whose processes have ended
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

    def has_ended(self) -> bool:
        self.read()
        return self.answer is not None or not self.process.is_alive()

    def close(self) -> int:
        """End what is left of it. Returns its exit code."""
        self.read()  # once more, as it may have answered since
        self.results.close()
        self.send(signal.SIGKILL)  # whatever else is in its group
        self.process.join()
        exit_code = self.process.exitcode
        assert exit_code is not None
        self.process.close()
        return exit_code


@dataclass
class Running:
    job_idx: int
    overrides: list[str]
    main: Worker  # gives the result
    followers: dict[int, Worker]  # its other processes by rank, while they run
    time_limit: float | None
    ends: float  # when it gets SIGTERM; time.monotonic, like the next
    killed: float = math.inf  # when it gets SIGKILL
    timed_out: bool = False
    failure: JobError | None = None  # of a follower: what the job ends for

    def workers(self) -> list[Worker]:
        return [self.main, *self.followers.values()]
