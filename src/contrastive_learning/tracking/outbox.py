"""Calls that the tracking server has not accepted yet, kept in outbox.jsonl in the run's folder until they are sent."""

import json
import logging
import time
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Protocol, Self

from filelock import FileLock, Timeout

from contrastive_learning.runtime.interrupts import HeldSignals
from mlflow_stores import redact

logger = logging.getLogger(__name__)

OUTBOX = "outbox.jsonl"
RETRY_SECONDS = 10.0
LAST_TRIES_SECONDS = 15.0  # at the end of a run, for a server that is just being restarted
MAX_REASON_LENGTH = 8000  # MLflow's limit for a tag


class Outbox:
    """A queue of calls, in their order; each stays in the file `path` until it is sent.

    `send` may get the same call twice, since a server can go away before it answers, and must tolerate that.
    Raises ValueError if another process uses the file.
    """

    def __init__(
        self, path: Path, send: Callable[[str, dict[str, Any]], None], is_outage: Callable[[Exception], bool]
    ) -> None:
        self.path, self._send, self._is_outage = path, send, is_outage
        self._next_try = 0.0
        self._turn = Lock()  # threads record at the same time
        self._lock = FileLock(path.with_suffix(".lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(f"{path} belongs to a run that has not ended") from None
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        self._pending = deque(json.loads(line) for line in lines if line.endswith("\n"))  # a kill can cut off the last

    def drop(self, call: str) -> None:
        """Forget the calls of this name."""
        self._pending = deque(entry for entry in self._pending if entry[0] != call)

    def put(self, call: str, **arguments: Any) -> None:
        """Write the call to the file, then send what is there unless the last outage is too recent.

        A call that the server refuses raises and is not kept.
        """
        line = json.dumps([call, arguments], ensure_ascii=False, default=str)
        with self._turn:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
            self._pending.append(json.loads(line))
            if time.monotonic() < self._next_try:
                return
            try:
                self.flush()
            except Exception:
                self._pending.popleft()
                raise

    def flush(self) -> bool:
        """Send everything. False if the server is away."""
        started = time.monotonic()
        while self._pending:
            try:
                self._send(*self._pending[0])
            except Exception as error:
                if not self._is_outage(error):
                    raise
                if self._next_try == 0:
                    logger.warning("the record is kept in %s until the server takes it: %s", self.path, _line(error))
                now = time.monotonic()
                self._next_try = now + max(RETRY_SECONDS, 10 * (now - started))  # at most a tenth of the time is lost
                return False
            self._pending.popleft()
        self.path.unlink(missing_ok=True)
        if self._next_try > 0:
            logger.warning("the server takes the record again")
        self._next_try = 0.0
        return True

    def close(self) -> None:
        if self._pending:
            logger.warning("%d entries of the record wait in %s", len(self._pending), self.path)
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)


class DirectRun(Protocol):
    """A run in a store: each call is made at once, and raises if the store does not take it.

    `at_ms`, milliseconds since 1970, is when a call was made.
    """

    run_id: str

    def is_outage(self, error: Exception) -> bool:
        """Whether the call may succeed later."""
        ...

    def uninterrupted(self) -> AbstractContextManager[object]:
        """Holds signals back if one inside a call could do harm."""
        ...

    def params(self, params: Mapping[str, Any]) -> None: ...

    def data(self, name: str, context: str, *, fingerprint: str, source: str, num_responses: int) -> None: ...

    def log(self, metrics: Mapping[str, float], step: int, at_ms: int) -> None: ...

    def tags(self, tags: Mapping[str, str]) -> None: ...

    def text(self, text: str, name: str) -> None: ...

    def artifact(self, path: Path, folder: str | None) -> None: ...

    def image(self, png: bytes, key: str, step: int, at_ms: int) -> None: ...

    def model(self, judge: Path, criteria: Sequence[str], at_ms: int) -> str | None: ...

    def register(self) -> str | None: ...

    def end(self, status: str, reason: str | None, at_ms: int) -> None: ...

    def location(self) -> str: ...


class OutboxRun:
    """A Run whose calls pass through the outbox in `folder` to `direct`."""

    def __init__(self, direct: DirectRun, folder: Path) -> None:
        self._direct = direct
        self.run_id: str | None = direct.run_id
        self._addresses: dict[str, str | None] = {}  # what `model` and `register` returned
        self.outbox = Outbox(folder / OUTBOX, self._send, direct.is_outage)

    def __enter__(self) -> Self:
        self.outbox.drop("end")  # written by the part that was interrupted
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status, reason = _outcome(error)
        give_up = time.monotonic() + (LAST_TRIES_SECONDS if error is None else 0)
        with HeldSignals():  # a launcher may send a second signal while the first is being obeyed
            try:
                self.outbox.put("end", status=status, reason=reason, at_ms=_now())
                while not self.outbox.flush() and time.monotonic() < give_up:
                    time.sleep(1)
            finally:
                self.outbox.close()

    def params(self, params: Mapping[str, Any]) -> None:
        self.outbox.put("params", params=dict(params))

    def data(self, name: str, context: str, *, fingerprint: str, source: str, num_responses: int) -> None:
        dataset = {"fingerprint": fingerprint, "source": source, "num_responses": num_responses}
        self.outbox.put("data", name=name, context=context, **dataset)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self.outbox.put("log", metrics={name: float(value) for name, value in metrics.items()}, step=step, at_ms=_now())

    def tags(self, tags: Mapping[str, str]) -> None:
        self.outbox.put("tags", tags=dict(tags))

    def text(self, text: str, name: str) -> None:
        self.outbox.put("text", text=text, name=name)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        self.outbox.put("artifact", path=str(path.resolve()), folder=folder)

    def image(self, png: bytes, key: str, step: int) -> None:
        self.outbox.put("image", png=b64encode(png).decode(), key=key, step=step, at_ms=_now())

    def model(self, judge: Path, criteria: Sequence[str]) -> str | None:
        self.outbox.put("model", judge=str(judge.resolve()), criteria=list(criteria), at_ms=_now())
        return self._addresses.get("model")

    def register(self) -> str | None:
        self.outbox.put("register")
        return self._addresses.get("register")

    def location(self) -> str:
        return self._direct.location()

    def _send(self, call: str, arguments: dict[str, Any]) -> None:
        with self._direct.uninterrupted():
            self._call(call, arguments)

    def _call(self, call: str, arguments: dict[str, Any]) -> None:
        match call:
            case "artifact":
                self._direct.artifact(Path(arguments["path"]), arguments["folder"])
            case "image":
                self._direct.image(**arguments | {"png": b64decode(arguments["png"])})
            case "model":
                address = self._direct.model(**arguments | {"judge": Path(arguments["judge"])})
                self._addresses["model"] = address
            case "register":  # an outbox of an earlier version has the run's id as an argument
                self._addresses["register"] = self._direct.register()
            case _:
                getattr(self._direct, call)(**arguments)


def _outcome(error: BaseException | None) -> tuple[str, str | None]:
    """The status of a run that ended so, and the reason if it is not FINISHED."""
    if error is None:
        return "FINISHED", None
    status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
    return status, redact(f"{type(error).__name__}: {error}")[:MAX_REASON_LENGTH]


def _now() -> int:
    return int(time.time() * 1000)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
