"""The launcher's side: starts jobs in slots, waits for them, and says how each ended."""

import atexit
import logging
import math
import multiprocessing
import os
import pickle
import signal
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from local_slots.devices import (
    AUTO,
    THREAD_VARIABLES,
    num_cores,
    process_environments,
    processes_of_trial,
    slot_environments,
    threads_per_process,
    visible_gpus,
)
from local_slots.failures import JobDied, JobError, JobFailed, JobTimedOut
from local_slots.job import Request, compose
from local_slots.mps import MultiProcessService, started_for
from local_slots.process import IdleWorker, Running, Worker, idle_worker
from local_slots.server import ensure_server, stop_server
from local_slots.sharing import GpuMemory, slots_that_fit
from local_slots.transport import pack

if TYPE_CHECKING:
    from local_slots.settings import LocalLauncherConf

log = logging.getLogger(__name__)
TRACE_LINES, TRACE_BYTES = 30, 20_000  # how much of the end of a dead job's output is shown, at most


class Pool:
    """The slots of one sweep and the jobs that run in them.

    A job gets a free slot with `start`, as one process or several; `wait` returns the jobs that have ended, each with
    its result or with the reason why it has none (raised, died, past its time limit). While it waits, it forks the
    next idle worker. `stop` ends everything: SIGTERM, then SIGKILL after `grace_seconds`. Not thread-safe.
    """

    def __init__(
        self, context: HydraContext, task_function: TaskFunction, config: DictConfig, conf: "LocalLauncherConf"
    ) -> None:
        self._context, self._task_function, self._config, self._conf = context, task_function, config, conf
        self._num_processes = processes_of_trial(conf.processes_per_trial, conf.gpus_per_trial)
        self._gpus = visible_gpus()
        self._divide(conf.num_slots, conf.slots_per_gpu)
        self._grows = conf.slots_per_gpu == AUTO and bool(self._gpus) and conf.gpus_per_trial > 0
        self._running: dict[int, Running] = {}  # by slot
        self._idle: list[IdleWorker] = []
        shares = self._grows or self.num_slots * conf.gpus_per_trial > len(self._gpus) > 0
        self._service = started_for(self._gpus) if shares and conf.multi_process_service else MultiProcessService()
        atexit.register(self.stop)  # ahead of multiprocessing's own hook, which waits for every process
        ensure_server(conf.preload)  # so that it imports while the sweeper prepares

    def _divide(self, num_slots: int | str | None, slots_per_gpu: int | str) -> None:
        """Make the slots: from now on jobs start in these."""
        self._slots = slot_environments(
            self._gpus,
            num_slots,
            gpus_per_trial=self._conf.gpus_per_trial,
            slots_per_gpu=slots_per_gpu,
            num_processes=self._num_processes,
        )
        self.num_slots = len(self._slots)
        self._num_threads = threads_per_process(self.num_slots, self._num_processes, self._conf.threads_per_trial)

    def run_all(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        log.info(f"Launching {len(job_overrides)} jobs in {self.num_slots} slots")
        if self._conf.job_log is not None:
            log.info(f"Their output: {self._config.hydra.sweep.dir}/*/{self._conf.job_log}")
        waiting = deque(enumerate(job_overrides, initial_job_idx))
        answers: dict[int, JobReturn] = {}
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self.num_slots:
                    job_idx, overrides = waiting.popleft()
                    log.info(f"\t#{job_idx} : {' '.join(filter_overrides(overrides))}")
                    self.start(overrides, job_idx, None)
                for job_idx, answer in self.wait(None):
                    answers[job_idx] = answer
                    outcome = "done" if answer.status == JobStatus.COMPLETED else f"failed: {answer._return_value}"
                    log.info(f"\t#{job_idx} {outcome}")
        except BaseException:
            self.stop()
            raise
        return [answers[job_idx] for job_idx in sorted(answers)]

    def start(self, overrides: Sequence[str], job_idx: int, timeout_seconds: float | None) -> None:
        free = [slot for slot in range(self.num_slots) if slot not in self._running]
        if not free:
            raise RuntimeError(f"all {self.num_slots} slots are taken")
        sweep_dir = Path(str(self._config.hydra.sweep.dir))  # here, so that all jobs get the same ${now:...}
        sweep_dir.mkdir(parents=True, exist_ok=True)
        environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(self._num_threads)) | self._slots[free[0]]
        environment |= self._service.environment
        request = Request(
            job=pack(self._task_function, self._context, self._config),
            overrides=list(overrides),
            job_idx=job_idx,
            environment=environment,
            num_threads=self._num_threads,
            start_method=multiprocessing.get_start_method(allow_none=True),
            job_log=self._conf.job_log,
        )
        idle_workers = [self._take_idle_worker() for _ in range(self._num_processes)]
        for rank, (idle, own) in enumerate(zip(idle_workers, process_environments(self._num_processes), strict=True)):
            with suppress(BrokenPipeError):  # the worker has died, as `wait` will find
                idle.requests.send(replace(request, environment=environment | own, is_follower=rank > 0))
            idle.requests.close()
        main, *followers = [Worker(idle.process, idle.results) for idle in idle_workers]
        ends = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
        self._running[free[0]] = Running(
            job_idx, list(overrides), main, dict(enumerate(followers, 1)), timeout_seconds, ends
        )

    def wait(self, timeout_seconds: float | None) -> list[tuple[int, JobReturn]]:
        give_up = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
        while self._running:
            ended = [slot for slot, running in self._running.items() if self._has_ended(running)]
            if ended:
                return [self._finish(self._running.pop(slot)) for slot in ended]
            now = time.monotonic()
            if now >= give_up:
                break
            if len(self._idle) < self._num_processes:
                self._idle.append(idle_worker(self._conf.preload, self._conf.grace_seconds))
                continue
            wake = min(give_up, *(min(running.ends, running.killed) for running in self._running.values()))
            workers = [worker for running in self._running.values() for worker in running.workers()]
            handles = [worker.process.sentinel for worker in workers]
            open_pipes = [worker.results for worker in workers if not worker.results.closed]
            wait([*handles, *open_pipes], None if wake == math.inf else max(0.0, wake - now))
        return []

    def stop(self) -> None:
        running = list(self._running.values())
        idle_workers, self._idle = self._idle, []
        try:
            for idle in idle_workers:
                idle.process.kill()
            for job in running:
                job.main.send(signal.SIGTERM)
            give_up = time.monotonic() + self._conf.grace_seconds
            for job in running:
                job.main.process.join(max(0.0, give_up - time.monotonic()))
        finally:
            for worker in (worker for job in running for worker in job.workers()):
                worker.send(signal.SIGKILL)
            self._running.clear()
            stop_server()
            self._service.stop()

    def _take_idle_worker(self) -> IdleWorker:
        while self._idle:
            idle = self._idle.pop()
            if idle.process.is_alive():
                return idle
        return idle_worker(self._conf.preload, self._conf.grace_seconds)

    def _has_ended(self, running: Running) -> bool:
        running.main.read()
        self._look_after_followers(running)
        if not running.main.process.is_alive():
            return True
        now = time.monotonic()
        if running.main.answer is not None:
            running.ends = math.inf
            running.killed = min(running.killed, now + self._conf.grace_seconds)
        if now >= running.ends:
            running.timed_out |= running.failure is None
            running.ends, running.killed = math.inf, now + self._conf.grace_seconds
            running.main.send(signal.SIGTERM)  # `_finish` ends the followers: without them it could wait forever
        elif now >= running.killed:
            running.killed = math.inf
            running.main.send(signal.SIGKILL)
        return False

    def _look_after_followers(self, running: Running) -> None:
        """If a follower failed, end the job: at once if it died, else after the grace, in which rank 0 may say why."""
        failures: list[JobError] = []
        for rank in [rank for rank, follower in running.followers.items() if follower.has_ended()]:
            follower = running.followers.pop(rank)
            result = self._result(running, follower, follower.close(), rank)
            error = result if isinstance(result, JobError) else result._return_value
            failures += [error] if isinstance(error, JobError) else []
        if not failures or not running.main.process.is_alive() or running.killed < math.inf:
            return
        died = [failure for failure in failures if isinstance(failure, JobDied)]
        running.failure = died[0] if died else running.failure or failures[0]
        running.ends = min(running.ends, time.monotonic() + (0.0 if died else self._conf.grace_seconds))

    def _finish(self, running: Running) -> tuple[int, JobReturn]:
        result = self._result(running, running.main, running.main.close(), 0)
        if self._grows and running.main.memory is not None:
            self._grow(running.main.memory)
        for follower in running.followers.values():
            follower.close()
        if running.timed_out:
            result = JobTimedOut(f"ran for more than {running.time_limit:g} s", self._last_lines(running))
        elif running.failure is not None and running.main.answer is None:
            result = running.failure
        return running.job_idx, self._job_return(running, result) if isinstance(result, JobError) else result

    def _grow(self, memory: GpuMemory) -> None:
        """Make as many slots per GPU as fit, now that a trial has run on one by itself."""
        self._grows = False
        most = self._conf.num_slots if isinstance(self._conf.num_slots, int) else num_cores()
        num_gpus, of_trial = len(self._gpus), self._conf.gpus_per_trial
        per_gpu = slots_that_fit(memory, math.ceil(most * of_trial / num_gpus))
        self._divide(max(self.num_slots, min(most, per_gpu * num_gpus // of_trial)), per_gpu)
        log.info(f"{self.num_slots} trials at a time: the first took {memory.peak / 2**30:.2f} GiB of its GPU")

    def _result(self, running: Running, worker: Worker, exit_code: int, rank: int) -> JobReturn | JobError:
        if worker.answer is None:
            process = "its process" if self._num_processes == 1 else f"its process of rank {rank}"
            return JobDied(f"{process} {_end_of(exit_code)}", self._last_lines(running))
        try:
            return pickle.loads(worker.answer)  # type: ignore[no-any-return]
        except Exception as failure:  # noqa: BLE001  classes in the result may raise anything
            return JobFailed(f"what the job returned cannot be unpickled: {failure}")

    def _last_lines(self, running: Running) -> str:
        if running.main.folder is None or self._conf.job_log is None:
            return ""
        with suppress(OSError), (running.main.folder / self._conf.job_log).open("rb") as file:
            file.seek(-min(TRACE_BYTES, file.seek(0, os.SEEK_END)), os.SEEK_END)
            return "\n".join(file.read().decode(errors="replace").splitlines()[-TRACE_LINES:])
        return ""

    def _job_return(self, running: Running, error: JobError) -> JobReturn:
        """The failed JobReturn that Hydra would have made in the job's process."""
        answer = JobReturn(overrides=filter_overrides(running.overrides), status=JobStatus.FAILED)
        answer.return_value = error
        if running.main.folder is not None:  # then its configuration can be composed
            config = compose(self._context.config_loader, self._config, running.overrides, running.job_idx)
            with read_write(config), open_dict(config):
                config.hydra.runtime.output_dir = str(running.main.folder)
                answer.hydra_cfg = OmegaConf.masked_copy(config, "hydra")
                del config["hydra"]
            answer.cfg = config
        return answer


def _end_of(exit_code: int) -> str:
    if exit_code == -signal.SIGKILL:
        return "was killed by SIGKILL, as the system does when memory runs out"
    if exit_code < 0:
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"ended with exit code {exit_code} and no result"
