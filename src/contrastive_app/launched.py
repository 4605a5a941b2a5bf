"""A run of several processes, started by torchrun, `accelerate launch` or a sweep: only rank 0 prints and writes."""

import os
import re
import signal
import sys
import time

WAIT_SECONDS = 30.0  # rank 0 may have a run to close
FOLLOWER_WAIT_SECONDS = 2.0  # in a sweep: time for rank 0 to report its error; the launcher then stops the others
# rank 0 decides where the run writes; the others learn it once they are connected
FOLLOWER_OVERRIDES = ("hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none")


def num_launched() -> int:
    """Number of processes of this run, from the variables that torchrun sets; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_follower() -> bool:
    """Whether this process is one of several and not rank 0."""
    return num_launched() > 1 and int(os.environ.get("RANK", 0)) > 0


def become_follower() -> None:
    """For ranks above 0: write no files, print nothing, let rank 0 handle signals."""
    sys.argv = as_follower(sys.argv)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def as_follower(arguments: list[str]) -> list[str]:
    """The command-line arguments with a follower's overrides inserted after the last one: Hydra wants them together."""
    overrides = [index for index, argument in enumerate(arguments) if re.match(r"[\w+~][^=]*=", argument)]
    end = overrides[-1] + 1 if overrides else len(arguments)
    return [*arguments[:end], *FOLLOWER_OVERRIDES, *arguments[end:]]


def wait_to_be_stopped(error: BaseException, seconds: float = WAIT_SECONDS) -> None:
    """Sleep, so that only the process that failed first prints its error; the launcher stops the others meanwhile.

    Rank 0 sleeps after a RuntimeError only, which may mean no more than a lost connection to another process.
    """
    if num_launched() > 1 and (is_follower() or isinstance(error, RuntimeError)):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(seconds)
