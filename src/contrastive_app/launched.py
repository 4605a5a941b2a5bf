"""The processes that torchrun, `accelerate launch` or a sweep starts: the first speaks and writes, others follow."""

import os
import re
import signal
import sys
import time

GIVE_WAY_SECONDS = 30.0  # the first one may have a run to close
FOLLOWER_SECONDS = 2.0  # in a sweep: time for the first one to say why it ends; the launcher then ends the others
# the first process decides where the run writes; the others take that over once they are connected
FOLLOWER_OVERRIDES = ("hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none")


def num_launched() -> int:
    return int(os.environ.get("WORLD_SIZE", 1))


def is_follower() -> bool:
    return num_launched() > 1 and int(os.environ.get("RANK", 0)) > 0


def follow() -> None:
    """Leave files, messages and the answer to signals to the first process."""
    sys.argv = as_follower(sys.argv)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def as_follower(arguments: list[str]) -> list[str]:
    """With the overrides of a follower beside the others, as Hydra wants all of them in one place."""
    overrides = [index for index, argument in enumerate(arguments) if re.match(r"[\w+~][^=]*=", argument)]
    end = overrides[-1] + 1 if overrides else len(arguments)
    return [*arguments[:end], *FOLLOWER_OVERRIDES, *arguments[end:]]


def give_way(error: BaseException, seconds: float = GIVE_WAY_SECONDS) -> None:
    """Of several processes the one that failed first explains why: the launcher ends the others while they wait here.

    A RuntimeError may be no more than the connection to a process that is gone.
    """
    if num_launched() > 1 and (is_follower() or isinstance(error, RuntimeError)):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(seconds)
