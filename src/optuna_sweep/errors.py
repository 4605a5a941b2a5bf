"""Errors that a person at the command line reads, and warnings in place of errors that may not cost results."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import CompactHydraException, HydraException


def innermost(error: BaseException) -> BaseException:
    """The first cause of what Hydra raises for a node that it cannot build: what a person needs of it."""
    while isinstance(error, HydraException) and not isinstance(error, SweepError) and error.__cause__ is not None:
        error = error.__cause__
    return error


class SweepError(CompactHydraException):
    """What a person must change; Hydra prints it as one line, without a trace."""


@contextmanager
def warn_instead(message: str) -> Iterator[None]:
    """Print `message: error` on stderr instead of raising, for steps that only help to look at results.

    >>> with warn_instead("no report"):
    ...     raise RuntimeError("nothing to say")  # prints: no report: RuntimeError: nothing to say
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001  a plotting library, the app's report, a server that is away
        print(f"{message}: {type(error).__name__}: {error}", file=sys.stderr)
