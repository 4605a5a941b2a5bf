"""Holds Ctrl-C and SIGTERM (a preempted node) back while they would leave a step half done."""

import signal
import threading
from types import FrameType
from typing import Any, Self


class HeldSignals:
    """Notes SIGINT and SIGTERM while its block runs, and raises the last of them again at the end.

    Signals that are ignored stay ignored. Outside the main thread it holds nothing back.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(signum) not in (signal.SIG_IGN, None):
                    self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        if self.received is not None:
            signal.raise_signal(self.received)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.received = signum
