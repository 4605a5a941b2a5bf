"""A study in a journal file: damage in one line, half lines cut off, and no reading of all of it for every trial."""

import hashlib
import json
import os
import tempfile
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.storages.journal._base import BaseJournalSnapshot

from optuna_sweep.errors import SweepError


class JournalFile(JournalFileBackend, BaseJournalSnapshot):
    """Reports a file that is no journal in one line.

    Each trial's process reads the whole study, which takes half a second per 5,000 trials. So every hundred trials
    Optuna saves what it has made of it so far. A reader uses that only if the journal still begins with the bytes of
    which it was made, and the same Optuna made it. It is a pickle, which can run anything: it is neither beside the
    journal, which may come from others, nor in a folder that others can write to.
    """

    def save_snapshot(self, snapshot: bytes) -> None:
        number, size = max(self._log_number_offset.items())  # what has been read until now
        head = {"optuna": optuna.__version__, "number": number, "size": size, "sha256": self._digest(size, snapshot)}
        with suppress(OSError):  # such as a full disk: it only saves time
            file = self._snapshot_file()
            partial = file.with_suffix(f".{os.getpid()}")
            partial.write_bytes(json.dumps(head).encode() + b"\n" + snapshot)
            partial.replace(file)

    def load_snapshot(self) -> bytes | None:
        try:
            line, _, snapshot = self._snapshot_file().read_bytes().partition(b"\n")
            head = json.loads(line)
        except (OSError, ValueError):  # a power cut can leave an empty file
            return None
        if head.get("optuna") != optuna.__version__ or self._digest(head["size"], snapshot) != head["sha256"]:
            return None
        self._log_number_offset[head["number"]] = head["size"]
        return snapshot

    def _snapshot_file(self) -> Path:
        """In a folder of this user for temporary files. Raises PermissionError if others can write to it."""
        folder = Path(tempfile.gettempdir()) / f"optuna_sweep-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise PermissionError(f"others can write to {folder}")
        path = hashlib.sha256(os.fsencode(Path(self._file_path).resolve())).hexdigest()
        return folder / f"{path[:32]}.snapshot"

    def _digest(self, size: int, snapshot: bytes) -> str:
        """Of the first `size` bytes of the journal, and of the snapshot that was made of them."""
        with Path(self._file_path).open("rb") as file:
            return hashlib.sha256(file.read(size) + snapshot).hexdigest()

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        try:
            yield from super().read_logs(log_number_from)
        except ValueError as error:
            problem = f"{self._file_path} is no journal of Optuna, or is damaged ({error}); move it away"
            raise SweepError(f"hydra.sweeper.storage: {problem}") from error


class JournalLock(JournalFileSymlinkLock):
    """Cuts off the incomplete last line that a full disk leaves: no reader could get past it."""

    def release(self) -> None:
        try:
            _cut_half_line(Path(self._lock_target_file))
        finally:
            super().release()


def _cut_half_line(path: Path) -> None:
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        if file.read(1) in (b"", b"\n"):
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
