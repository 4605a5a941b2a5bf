"""Ctrl-C and SIGTERM in a training command, from its first moment to its last.

KeyboardInterrupt is raised only while there is something to close, such as a run. An import that it breaks off leaves
libraries half loaded: torch then fails in its own ways, or crashes. In a destructor Python prints and forgets it: it is
then raised again.
"""

import os
import signal
import sys
import threading
from types import FrameType

AGAIN_SECONDS = 0.05
ENDS_WITH = {signal.SIGINT: 130, signal.SIGTERM: 143}  # as a shell reports a process that the signal has ended


class _Open:
    is_any = False


def listen() -> None:
    """From now on a signal ends this process with one line and exit code 130 or 143."""
    _Open.is_any = False
    for signum in ENDS_WITH:
        if signal.getsignal(signum) != signal.SIG_IGN:  # nohup, or a sweep that is closing
            signal.signal(signum, _end)
    sys.unraisablehook = _raise_forgotten


def close_first() -> None:
    """From now on a signal raises KeyboardInterrupt, with the signal's name: there is something to close."""
    _Open.is_any = True


def _end(signum: int, frame: FrameType | None) -> None:
    if not _Open.is_any:
        os.write(2, b"interrupted\n")
        os._exit(ENDS_WITH[signal.Signals(signum)])
    if not _is_importing(frame):
        raise KeyboardInterrupt(signal.Signals(signum).name)
    _send_again(signum)


def _raise_forgotten(error: "sys.UnraisableHookArgs") -> None:
    if isinstance(error.exc_value, KeyboardInterrupt):
        _send_again(signal.SIGTERM if "SIGTERM" in error.exc_value.args else signal.SIGINT)
    else:
        sys.__unraisablehook__(error)


def _send_again(signum: int) -> None:
    again = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), signum))
    again.daemon = True
    again.start()


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
