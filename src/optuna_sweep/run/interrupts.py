"""The signals that end a sweep."""

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

AGAIN_SECONDS = 0.05


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, as Ctrl-C does, with the signal's name as its argument.

    An application that answers it does so itself, in the same way. A KeyboardInterrupt that Python would print and
    forget, since it was raised in a destructor, is raised again.
    """
    before, hook = signal.getsignal(signal.SIGTERM), sys.unraisablehook
    if before == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _raise_interrupt)
        sys.unraisablehook = _raise_forgotten
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        sys.unraisablehook = hook


def ignore_further_signals(interrupt: KeyboardInterrupt) -> None:
    """Call it before the clean-up, which a second signal would break off.

    Also frees what was interrupted, as it may hold a lock of SQLite.
    """
    traceback.clear_frames(interrupt.__traceback__)
    gc.collect()  # a sqlite3.Connection is part of a reference cycle: without a name it still holds its lock
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)


def _raise_forgotten(error: "sys.UnraisableHookArgs") -> None:
    if isinstance(error.exc_value, KeyboardInterrupt):
        signum = signal.SIGTERM if "SIGTERM" in error.exc_value.args else signal.SIGINT
        threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), signum)).start()
    else:
        sys.__unraisablehook__(error)


def _raise_interrupt(signum: int, frame: FrameType | None) -> Any:
    raise KeyboardInterrupt(signal.Signals(signum).name)
