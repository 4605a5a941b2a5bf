"""Keeps credentials in addresses off the terminal and out of log files, whoever prints them: Hydra or Python."""

import logging
import sys
from pathlib import Path
from typing import Any, TextIO

from mlflow_stores import redact


class RedactingFormatter(logging.Formatter):
    """The formatter of conf/train.yaml for Hydra's log and the job's: Hydra logs the overrides of each job."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class RedactingStream:
    """`stream`, without the credentials of what is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(redact(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def redact_output() -> None:
    """From now on, this process prints no credentials: not in error messages of libraries, nor in tracebacks."""
    for name in ("stdout", "stderr"):
        setattr(sys, name, RedactingStream(getattr(sys, name)))


def append(file: Path, text: str) -> None:
    """Write `text` at the end of `file`, without credentials."""
    with file.open("a", encoding="utf-8") as stream:
        stream.write(redact(text))
