"""The signals that end a sweep."""

import gc
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, as Ctrl-C does, with the signal's name as its argument."""
    before = signal.signal(signal.SIGTERM, _raise_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def ignore_further_signals(interrupt: KeyboardInterrupt) -> None:
    """Call it before the clean-up, which a second signal would break off.

    Also frees what was interrupted, as it may hold a lock of SQLite.
    """
    traceback.clear_frames(interrupt.__traceback__)
    gc.collect()  # a sqlite3.Connection is part of a reference cycle: without a name it still holds its lock
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)


def _raise_interrupt(signum: int, frame: FrameType | None) -> Any:
    raise KeyboardInterrupt(signal.Signals(signum).name)
