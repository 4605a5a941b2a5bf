"""What the record of a run has still to take, in a file beside the run: a server that is away loses none of it."""

import json
import logging
import time
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from filelock import FileLock, Timeout

from contrastive_learning.runtime.interrupts import HeldSignals

if TYPE_CHECKING:
    from contrastive_learning.tracking.mlflow_run import MlflowTracking

logger = logging.getLogger(__name__)

OUTBOX = "outbox.jsonl"
RETRY_SECONDS = 10.0
LAST_TRIES_SECONDS = 15.0  # at the end of a run, for a server that is just being restarted


class Outbox:
    """Calls in their order, each in the file until it is sent.

    `send` must do no harm when it gets a call twice: the server may go away before it answers.
    """

    def __init__(
        self, path: Path, send: Callable[[str, dict[str, Any]], None], is_outage: Callable[[Exception], bool]
    ) -> None:
        self.path, self._send, self._is_outage = path, send, is_outage
        self._next_try = 0.0
        self._lock = FileLock(path.with_suffix(".lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(f"{path} belongs to a run that has not ended") from None
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        self._pending = deque(json.loads(line) for line in lines if line.endswith("\n"))  # a kill can break the last

    def drop(self, call: str) -> None:
        self._pending = deque(entry for entry in self._pending if entry[0] != call)

    def put(self, call: str, **arguments: Any) -> None:
        """Write down, then send if it may be time. What the server refuses is raised and not kept."""
        line = json.dumps([call, arguments], ensure_ascii=False, default=str)
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
        """Send everything. False: the server is away."""
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
            waiting = f"{len(self._pending)} entries of the record wait in {self.path}"
            logger.warning("%s; once the server answers: python -m src.sync %s", waiting, self.path.parent)
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)


class KeptTracking:
    """A Run whose calls pass through an outbox."""

    def __init__(self, tracking: "MlflowTracking", folder: Path) -> None:
        self._tracking = tracking
        self.run_id = tracking.run_id
        self._addresses: dict[str, str | None] = {}  # of what was recorded: model, register
        self.outbox = Outbox(folder / OUTBOX, self._send, tracking.is_outage)

    def __enter__(self) -> Self:
        self.outbox.drop("end")  # of the part that was interrupted
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status, reason = self._tracking.outcome(error)
        give_up = time.monotonic() + (LAST_TRIES_SECONDS if error is None else 0)
        with HeldSignals():  # a launcher may send a second one while the first is being obeyed
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

    def text(self, text: str, name: str) -> None:
        self.outbox.put("text", text=text, name=name)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        self.outbox.put("artifact", path=str(path.resolve()), folder=folder)

    def image(self, png: bytes, key: str, step: int) -> None:
        self.outbox.put("image", png=b64encode(png).decode(), key=key, step=step, at_ms=_now())

    def model(self, judge: Path, criteria: Sequence[str]) -> str | None:
        self.outbox.put("model", judge=str(judge.resolve()), criteria=list(criteria), at_ms=_now())
        return self._addresses.get("model")

    def register(self, run_id: str) -> str | None:
        self.outbox.put("register", run_id=run_id)
        return self._addresses.get("register")

    def location(self) -> str:
        return self._tracking.location()

    def _send(self, call: str, arguments: dict[str, Any]) -> None:
        with self._tracking.uninterrupted():
            self._say(call, arguments)

    def _say(self, call: str, arguments: dict[str, Any]) -> None:
        match call:
            case "artifact":
                self._tracking.artifact(Path(arguments["path"]), arguments["folder"])
            case "image":
                self._tracking.image(**arguments | {"png": b64decode(arguments["png"])})
            case "model":
                address = self._tracking.model(**arguments | {"judge": Path(arguments["judge"])})
                self._addresses["model"] = address
            case "register":
                self._addresses["register"] = self._tracking.register(**arguments)
            case _:
                getattr(self._tracking, call)(**arguments)


def _now() -> int:
    return int(time.time() * 1000)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
