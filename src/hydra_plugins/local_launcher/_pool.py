"""The launcher's side: slots, their processes, and what became of each job."""

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
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from hydra_plugins.local_launcher._failures import JobDied, JobError, JobFailed, JobTimedOut
from hydra_plugins.local_launcher._process import Running, Spare, spare_process
from hydra_plugins.local_launcher._server import ensure_server, stop_server
from hydra_plugins.local_launcher._slots import THREAD_VARIABLES, slot_environments, threads_per_slot, visible_gpus
from hydra_plugins.local_launcher._transport import pack
from hydra_plugins.local_launcher._trial import Request, compose

if TYPE_CHECKING:
    from hydra_plugins.local_launcher.local_launcher import LocalLauncherConf

log = logging.getLogger(__name__)
TRACE_LINES, TRACE_BYTES = 30, 20_000  # of a dead job's output


class Pool:
    def __init__(
        self, context: HydraContext, task_function: TaskFunction, config: DictConfig, conf: "LocalLauncherConf"
    ) -> None:
        self._slots = slot_environments(
            visible_gpus(),
            conf.num_slots,
            gpus_per_trial=conf.gpus_per_trial,
            allow_shared_gpus=conf.allow_shared_gpus,
        )
        self.num_slots = len(self._slots)
        self._num_threads = threads_per_slot(self.num_slots, conf.threads_per_trial)
        self._context, self._task_function, self._config, self._conf = context, task_function, config, conf
        self._running: dict[int, Running] = {}  # by slot
        self._spare: Spare | None = None
        atexit.register(self.stop)  # ahead of multiprocessing's own hook, which waits for every process
        ensure_server(conf.preload)  # it imports while the sweeper gets ready

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
        request = Request(
            job=pack(self._task_function, self._context, self._config),
            overrides=list(overrides),
            job_idx=job_idx,
            environment=environment,
            num_threads=self._num_threads,
            start_method=multiprocessing.get_start_method(allow_none=True),
            job_log=self._conf.job_log,
        )
        spare = self._take_spare()
        with suppress(BrokenPipeError):  # it will be found dead
            spare.requests.send(request)
        spare.requests.close()
        ends = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
        self._running[free[0]] = Running(job_idx, list(overrides), spare.process, spare.results, timeout_seconds, ends)

    def wait(self, timeout_seconds: float | None) -> list[tuple[int, JobReturn]]:
        give_up = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
        while self._running:
            ended = [slot for slot, running in self._running.items() if self._has_ended(running)]
            if ended:
                return [self._finish(self._running.pop(slot)) for slot in ended]
            now = time.monotonic()
            if now >= give_up:
                break
            if self._spare is None:
                self._spare = spare_process(self._conf.preload, self._conf.grace_seconds)
                continue
            wake = min(give_up, *(min(running.ends, running.killed) for running in self._running.values()))
            handles = [running.process.sentinel for running in self._running.values()]
            open_pipes = [running.results for running in self._running.values() if not running.results.closed]
            wait([*handles, *open_pipes], None if wake == math.inf else max(0.0, wake - now))
        return []

    def stop(self) -> None:
        running = list(self._running.values())
        spare, self._spare = self._spare, None
        try:
            if spare is not None:
                spare.process.kill()
            for job in running:
                job.send(signal.SIGTERM)
            give_up = time.monotonic() + self._conf.grace_seconds
            for job in running:
                job.process.join(max(0.0, give_up - time.monotonic()))
        finally:
            for job in running:
                job.send(signal.SIGKILL)
            self._running.clear()
            stop_server()

    def _take_spare(self) -> Spare:
        spare, self._spare = self._spare, None
        if spare is None or not spare.process.is_alive():
            spare = spare_process(self._conf.preload, self._conf.grace_seconds)
        return spare

    def _has_ended(self, running: Running) -> bool:
        running.read()
        if not running.process.is_alive():
            return True
        now = time.monotonic()
        if running.answer is not None:
            running.ends = math.inf
            running.killed = min(running.killed, now + self._conf.grace_seconds)
        if now >= running.ends:
            running.timed_out, running.ends, running.killed = True, math.inf, now + self._conf.grace_seconds
            running.send(signal.SIGTERM)
        elif now >= running.killed:
            running.killed = math.inf
            running.send(signal.SIGKILL)
        return False

    def _finish(self, running: Running) -> tuple[int, JobReturn]:
        running.read()  # once more, as it may have answered since
        running.results.close()
        running.send(signal.SIGKILL)  # whatever else is in its group
        exit_code = running.process.exitcode
        assert exit_code is not None
        running.process.close()
        error: JobError
        if running.timed_out:
            error = JobTimedOut(f"ran for more than {running.time_limit:g} s", self._last_lines(running))
        elif running.answer is None:
            error = JobDied(_cause_of_death(exit_code), self._last_lines(running))
        else:
            try:
                return running.job_idx, pickle.loads(running.answer)
            except Exception as failure:  # noqa: BLE001  whatever the classes in the result raise
                error = JobFailed(f"what the job returned cannot be unpickled: {failure}")
        return running.job_idx, self._job_return(running, error)

    def _last_lines(self, running: Running) -> str:
        if running.folder is None or self._conf.job_log is None:
            return ""
        with suppress(OSError), (running.folder / self._conf.job_log).open("rb") as file:
            file.seek(-min(TRACE_BYTES, file.seek(0, os.SEEK_END)), os.SEEK_END)
            return "\n".join(file.read().decode(errors="replace").splitlines()[-TRACE_LINES:])
        return ""

    def _job_return(self, running: Running, error: JobError) -> JobReturn:
        """What Hydra would have made in the job's process, had it lived."""
        answer = JobReturn(overrides=filter_overrides(running.overrides), status=JobStatus.FAILED)
        answer.return_value = error
        if running.folder is not None:  # so its configuration can be composed
            config = compose(self._context.config_loader, self._config, running.overrides, running.job_idx)
            with read_write(config), open_dict(config):
                config.hydra.runtime.output_dir = str(running.folder)
                answer.hydra_cfg = OmegaConf.masked_copy(config, "hydra")
                del config["hydra"]
            answer.cfg = config
        return answer


def _cause_of_death(exit_code: int) -> str:
    if exit_code == -signal.SIGKILL:
        return "its process was killed by SIGKILL, as the system does when memory runs out"
    if exit_code < 0:
        return f"its process was killed by {signal.Signals(-exit_code).name}"
    return f"its process ended with exit code {exit_code} and no result"
