"""One view of every launcher: slots that take jobs and return how they ended.

A launcher with `start`, `wait` and `stop` gets its next job as soon as a slot is free; any other one gets batches.
"""

import json
import logging
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import psutil
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from optuna_sweep.plan.job import Job
from optuna_sweep.states import EndState, end_state_of
from optuna_sweep.trial import RESULT_FILE

log = logging.getLogger(__name__)
BATCH_JOBS = 2  # as with the official plugin


@dataclass(frozen=True)
class Ending:
    """How a job ended; `result.json` has the same fields."""

    state: EndState
    value: Any = None  # what the task returned, if it is ok or pruned
    reason: str = ""  # in one line, if it is neither
    trace: str = ""
    doubt: str = ""  # why the value should not decide a comparison, if it is ok


@runtime_checkable
class StreamingLauncher(Protocol):
    """A launcher that takes a job whenever a slot is free.

    If a job failed, its JobReturn has the exception, which may say with the attribute `end_state` how the job ended,
    and with `trace` where.
    """

    @property
    def num_slots(self) -> int: ...

    def start(self, overrides: Sequence[str], job_idx: int, *, timeout_seconds: float | None) -> None: ...

    def wait(self, timeout_seconds: float | None) -> list[tuple[int, JobReturn]]: ...

    def stop(self) -> None: ...


class Slots(Protocol):
    running: dict[int, Job]  # by index
    streams: bool  # whether a slot can be filled while others are busy

    @property
    def num_slots(self) -> int:
        """A launcher may make more of them while jobs end."""
        ...

    def start(self, job: Job) -> None:
        """Give a free slot a job."""
        ...

    def wait(self, timeout_seconds: float) -> list[tuple[Job, Ending]]:
        """The jobs that have ended, as soon as there is one; none when the time is over."""
        ...

    def stop(self) -> None:
        """End all processes that still run."""
        ...


def slots_of(launcher: Launcher, num_jobs: int | None, trial_timeout: float | None) -> Slots:
    """num_jobs: `hydra.sweeper.n_jobs`; trial_timeout: seconds, which only a streaming launcher enforces itself."""
    if isinstance(launcher, StreamingLauncher):
        return StreamingSlots(launcher, num_jobs, trial_timeout)
    in_process = type(launcher).__name__ == "BasicLauncher"
    return BatchSlots(launcher, num_jobs or (1 if in_process else BATCH_JOBS))


class StreamingSlots:
    """The slots of a StreamingLauncher, or fewer if n_jobs says so."""

    streams = True

    def __init__(self, launcher: StreamingLauncher, num_jobs: int | None, trial_timeout: float | None) -> None:
        self._launcher, self._num_jobs, self._trial_timeout = launcher, num_jobs, trial_timeout
        self.running: dict[int, Job] = {}

    @property
    def num_slots(self) -> int:
        return min(self._num_jobs or self._launcher.num_slots, self._launcher.num_slots)

    def start(self, job: Job) -> None:
        self._launcher.start(job.overrides, job.index, timeout_seconds=self._trial_timeout)
        self.running[job.index] = job

    def wait(self, timeout_seconds: float) -> list[tuple[Job, Ending]]:
        ended = self._launcher.wait(timeout_seconds)
        return [(job := self.running.pop(index), _ending(answer, job)) for index, answer in ended]

    def stop(self) -> None:
        self._launcher.stop()


class BatchSlots:
    """Hydra's own launchers: `start` collects a batch, `wait` launches it and returns when all of it is done."""

    streams = False

    def __init__(self, launcher: Launcher, num_jobs: int) -> None:
        self._launcher = launcher
        self.num_slots = num_jobs
        self.running: dict[int, Job] = {}
        self._bystanders = set(psutil.Process().children(recursive=True))

    def start(self, job: Job) -> None:
        self.running[job.index] = job

    def wait(self, timeout_seconds: float) -> list[tuple[Job, Ending]]:
        batch = list(self.running.values())
        together = [job for job in batch if not job.is_retry]
        apart = [[job] for job in batch if job.is_retry]  # what ended its worker must not take others with it again
        ended = [pair for group in (together, *apart) if group for pair in self._launch(group)]
        self.running.clear()
        return ended

    def _launch(self, batch: list[Job]) -> list[tuple[Job, Ending]]:
        try:
            answers = self._launcher.launch([job.overrides for job in batch], initial_job_idx=batch[0].index)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  a lost worker or an exit must not end the sweep
            log.warning("the launcher gave up on a batch of %d", len(batch))
            saved = {job: saved_ending(job.folder) for job in batch}
            state: EndState = "died" if list(saved.values()).count(None) == 1 else "lost"
            return [(job, ending or _gone(state, error)) for job, ending in saved.items()]
        return [(job, _ending(answer, job)) for job, answer in zip(batch, answers, strict=True)]

    def stop(self) -> None:
        """End the processes that the launcher has left behind."""
        children = [child for child in psutil.Process().children(recursive=True) if child not in self._bystanders]
        for child in children:
            _send(child, psutil.Process.terminate)
        for child in psutil.wait_procs(children, timeout=5)[1]:
            _send(child, psutil.Process.kill)


def saved_ending(folder: Path) -> Ending | None:
    """What a job in this folder wrote about its end; None if it wrote nothing."""
    try:
        return Ending(**json.loads((folder / RESULT_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _ending(answer: JobReturn, job: Job) -> Ending:
    value = answer._return_value  # not .return_value, which raises what the job raised
    if answer.status == JobStatus.COMPLETED and isinstance(value, Mapping):
        return Ending(**value)
    saved = saved_ending(job.folder)
    if saved is not None:
        return saved
    state = end_state_of(value)
    if state == "pruned":
        return Ending(state)
    trace = getattr(value, "trace", "")
    if isinstance(value, BaseException) and not trace:
        trace = "".join(traceback.format_exception(value))
    if state is None:
        return Ending("failed", reason=f"{type(value).__name__}: {value}", trace=trace)
    return Ending(state, reason=str(value), trace=trace)


def _gone(state: EndState, error: BaseException) -> Ending:
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return Ending(state, reason=reason, trace="".join(traceback.format_exception(error)))


def _send(process: psutil.Process, action: Any) -> None:
    try:
        action(process)
    except psutil.NoSuchProcess:
        return
