"""The reasons why a job has no result, as exceptions."""

from hydra.errors import CompactHydraException


class JobError(CompactHydraException):
    """A job has no result: `reason` says why in one line; `trace` is what the job's process wrote, or "".

    If a sweeper raises it, Hydra prints only the reason, and the trace as well with HYDRA_FULL_ERROR=1.
    `end_state` tells a sweeper how the job ended.
    """

    end_state = "failed"

    def __init__(self, reason: str, trace: str = "", cause: Exception | None = None) -> None:
        super().__init__(reason, trace, cause)
        self.reason = reason
        self.trace = trace
        self.__cause__ = cause
        if trace:
            self.add_note(trace.rstrip())

    def __str__(self) -> str:
        return self.reason


class JobFailed(JobError):  # noqa: N818  the state, as in JobStatus
    """The job raised, called sys.exit or returned what cannot be pickled.

    `__cause__` is the exception that the job raised, if that can be pickled.
    """


class JobDied(JobError):  # noqa: N818  the state, as in JobStatus
    """The job's process ended without a result: by a signal, the out-of-memory killer or os._exit."""

    end_state = "died"


class JobTimedOut(JobError):  # noqa: N818  the state, as in JobStatus
    """The job ran past its time limit and was stopped."""

    end_state = "timeout"
