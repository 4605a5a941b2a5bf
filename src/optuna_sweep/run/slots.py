"""One view of every launcher: slots that take jobs and give back how they ended."""

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

from optuna_sweep.trial import RESULT_FILE

log = logging.getLogger(__name__)
BATCH_JOBS = 2  # as the official plugin


@dataclass(frozen=True)
class Job:
    """One run of one trial; a trial with several seeds has several."""

    trial_number: int
    index: int  # unique in the study; Hydra's job number
    seed: int | None
    overrides: tuple[str, ...]
    folder: Path
    is_retry: bool = False


@dataclass(frozen=True)
class Ending:
    """How a job ended: ok, pruned, timeout, failed (it raised), refused (all others would too), died (its process is
    gone), lost (with its batch, by the death of one of them)."""

    state: str
    value: Any = None
    reason: str = ""
    trace: str = ""


@runtime_checkable
class StreamingLauncher(Protocol):
    """A launcher that takes a job whenever a slot is free."""

    num_slots: int

    def start(self, overrides: Sequence[str], job_idx: int, *, timeout_seconds: float | None) -> None: ...

    def wait(self, timeout_seconds: float | None) -> list[tuple[int, JobReturn]]: ...

    def stop(self) -> None: ...


class Slots(Protocol):
    num_slots: int
    running: dict[int, Job]  # by index
    streams: bool

    def start(self, job: Job) -> None: ...

    def wait(self, timeout_seconds: float) -> list[tuple[Job, Ending]]: ...

    def stop(self) -> None: ...


def slots_of(launcher: Launcher, num_jobs: int | None, trial_timeout: float | None) -> Slots:
    if isinstance(launcher, StreamingLauncher):
        return StreamingSlots(launcher, num_jobs, trial_timeout)
    in_process = type(launcher).__name__ == "BasicLauncher"
    return BatchSlots(launcher, num_jobs or (1 if in_process else BATCH_JOBS))


class StreamingSlots:
    streams = True

    def __init__(self, launcher: StreamingLauncher, num_jobs: int | None, trial_timeout: float | None) -> None:
        self._launcher, self._trial_timeout = launcher, trial_timeout
        self.num_slots = min(num_jobs or launcher.num_slots, launcher.num_slots)
        self.running: dict[int, Job] = {}

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
        alone = [[job] for job in batch if job.is_retry]  # whatever ended the worker must not take others with it again
        ended = [pair for group in (together, *alone) if group for pair in self._launch(group)]
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
            state = "died" if list(saved.values()).count(None) == 1 else "lost"
            return [(job, ending or _gone(state, error)) for job, ending in saved.items()]
        return [(job, _ending(answer, job)) for job, answer in zip(batch, answers, strict=True)]

    def stop(self) -> None:
        """End what the launcher has left behind."""
        children = [child for child in psutil.Process().children(recursive=True) if child not in self._bystanders]
        for child in children:
            _send(child, psutil.Process.terminate)
        for child in psutil.wait_procs(children, timeout=5)[1]:
            _send(child, psutil.Process.kill)


def saved_ending(folder: Path) -> Ending | None:
    """What a job wrote before its process or its sweep was lost."""
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
    kind = type(value).__name__
    trace = getattr(value, "trace", "")
    if isinstance(value, BaseException) and not trace:
        trace = "".join(traceback.format_exception(value))
    if kind in ("JobDied", "JobTimedOut"):
        return Ending("died" if kind == "JobDied" else "timeout", reason=str(value), trace=trace)
    if kind == "TrialPruned":
        return Ending("pruned")
    return Ending("failed", reason=str(value) if kind == "JobFailed" else f"{kind}: {value}", trace=trace)


def _gone(state: str, error: BaseException) -> Ending:
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return Ending(state, reason=reason, trace="".join(traceback.format_exception(error)))


def _send(process: psutil.Process, action: Any) -> None:
    try:
        action(process)
    except psutil.NoSuchProcess:
        return
