"""Waiting for what may go away in mid-sweep: the study's storage, the MLflow server."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from optuna_sweep.errors import SweepError

RETRY_SECONDS = 1.0


class AwayError(SweepError):
    """It stayed away for longer than hydra.sweeper.storage_patience."""


def is_outage(error: BaseException | None) -> bool:
    """Whether a storage is away, locked or full: the same call may succeed later."""
    while error is not None:
        if isinstance(error, OperationalError | InterfaceError | OSError):
            return True
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            return True
        error = error.__cause__ or error.__context__
    return False


def reason_of(error: BaseException) -> str:
    """The first line of what the driver or the file system said."""
    while (cause := error.__cause__ or error.__context__) is not None and not isinstance(error, DBAPIError | OSError):
        error = cause
    lines = str(getattr(error, "orig", error)).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


class Patience:
    """Repeats a call that met an outage, for up to `seconds`; then AwayError, and nothing is waited for again."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name, self._seconds = name, seconds

    def wait(self, call: Callable[[], Any], repeat: Callable[[], Any] | None = None) -> Any:
        """Make the call, again and again during an outage.

        repeat: what to call from the second time on, if it must first look what the call did before its answer was
        lost.
        """
        began, failures = time.monotonic(), 0
        while True:
            try:
                answer = repeat() if failures > 0 and repeat is not None else call()
            except Exception as error:
                if not is_outage(error):
                    raise
                if time.monotonic() - began >= self._seconds:
                    raise self._give_up(error) from error
                if failures == 0:
                    self._say(f"is away, waiting up to {self._seconds:g} s (storage_patience): {reason_of(error)}")
                failures += 1
                time.sleep(RETRY_SECONDS)
            else:
                if failures > 0:
                    self._say(f"is back after {time.monotonic() - began:.0f} s")
                return answer

    def stop_waiting(self) -> None:
        """From now on, the first failed call raises AwayError."""
        self._seconds = 0.0

    @contextmanager
    def unless_away(self) -> Iterator[None]:
        """Leave the block at its first call that meets an outage, without an error."""
        seconds, self._seconds = self._seconds, 0.0
        try:
            with suppress(AwayError):
                yield
        finally:
            self._seconds = seconds

    def _give_up(self, error: Exception) -> AwayError:
        seconds, self._seconds = self._seconds, 0.0
        away = f"{self._name} stayed away for {seconds:g} s (storage_patience): {reason_of(error)}"
        return AwayError(f"{away}; the same command continues once it is back")

    def _say(self, what: str) -> None:
        print(f"{self._name} {what}", file=sys.stderr)
