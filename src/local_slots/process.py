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
from local_slots.sharing import GpuMemory

FORKSERVER = multiprocessing.get_context("forkserver")


@dataclass
class IdleWorker:
    """A process that is already forked and waits for a job, so that a free slot need not wait for a fork."""

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
            'see its error above, and check that the app calls its main function only under if __name__ == "__main__"'
        ) from error
    finally:
        requests_end.close()
        results_end.close()
    return IdleWorker(process, requests, results)


@dataclass
class Worker:
    """A process that runs a job, or one rank of a job of several processes."""

    process: ForkServerProcess
    results: Connection
    folder: Path | None = None
    answer: bytes | None = None
    memory: GpuMemory | None = None

    def send(self, signum: int) -> None:
        """Send a signal to the worker's process group, or to the worker itself if it has not made its group yet."""
        pid = self.process.pid
        assert pid is not None
        try:
            os.killpg(pid, signum)
        except (ProcessLookupError, PermissionError):  # the latter on macOS, for a group whose processes have ended
            with suppress(ProcessLookupError):
                if self.process.is_alive():
                    os.kill(pid, signum)

    def read(self) -> None:
        """Receive what the job has sent: first its folder, at its end its memory on a GPU and its pickled JobReturn."""
        try:
            while not self.results.closed and self.results.poll():
                message = self.results.recv()
                if isinstance(message, Path):
                    self.folder = message
                elif isinstance(message, GpuMemory):
                    self.memory = message
                else:
                    self.answer = message
        except (EOFError, OSError):
            self.results.close()

    def has_ended(self) -> bool:
        """Whether the job has sent its result or its process is gone."""
        self.read()
        return self.answer is not None or not self.process.is_alive()

    def close(self) -> int:
        """Kill what is left of the process and its group. Returns the exit code."""
        self.read()  # it may have answered since the last time
        self.results.close()
        self.send(signal.SIGKILL)  # the processes that the job started, too
        self.process.join()
        exit_code = self.process.exitcode
        assert exit_code is not None
        self.process.close()
        return exit_code


@dataclass
class Running:
    """A job in a slot: its processes, and when it is to be stopped."""

    job_idx: int
    overrides: list[str]
    main: Worker  # rank 0, which gives the result
    followers: dict[int, Worker]  # rank -> process, while it runs
    time_limit: float | None  # seconds
    ends: float  # when it is sent SIGTERM, in time.monotonic
    killed: float = math.inf  # when it is sent SIGKILL, in time.monotonic
    timed_out: bool = False
    failure: JobError | None = None  # of a follower, for which the job is ended

    def workers(self) -> list[Worker]:
        return [self.main, *self.followers.values()]
