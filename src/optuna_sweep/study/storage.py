"""Opens what holds the study, a journal file or a database, and the lock that commands on it share."""

import hashlib
import os
import socket
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import psutil
from filelock import FileLock
from hydra.utils import instantiate
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages._rdb.models import BaseModel
from sqlalchemy import Connection, Engine, create_engine, func, make_url, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from mlflow_stores import OPTUNA_TABLES, check_owner, redact, tables_of
from optuna_sweep.errors import SweepError
from optuna_sweep.patience import reason_of
from optuna_sweep.study.journal import JournalFile, JournalLock

DEFAULT_JOURNAL = "optuna.journal"
SQLITE = "sqlite:///"
SQLITE_TIMEOUT_SECONDS = 60
# seconds, seconds, milliseconds; with the defaults it takes minutes to notice that a host is gone
POSTGRESQL_TIMEOUTS = {"connect_timeout": 10, "keepalives_idle": 30, "tcp_user_timeout": 30_000}
POSTGRESQL_LOCK = int.from_bytes(hashlib.sha256(b"contrastive-sweeper").digest()[:7], "big")


def resolve(storage: Any) -> Any:
    """`hydra.sweeper.storage` with relative paths made absolute; None is the default journal file.

    A mapping holds the arguments of one of Optuna's classes: sqlite URLs and a journal's file_path are paths in it.
    """
    if storage is None:
        return str(Path(DEFAULT_JOURNAL).resolve())
    if isinstance(storage, Mapping):
        return {key: _resolved_argument(key, value) for key, value in storage.items()}
    if not isinstance(storage, str):
        return storage
    if storage.startswith(SQLITE):
        path, mark, query = storage.removeprefix(SQLITE).partition("?")
        return f"{SQLITE}{Path(path).expanduser().resolve()}{mark}{query}"
    return storage if "://" in storage else str(Path(storage).expanduser().resolve())


def _resolved_argument(name: str, value: Any) -> Any:
    is_path = isinstance(value, Mapping) or name == "file_path" or (isinstance(value, str) and value.startswith(SQLITE))
    return resolve(value) if is_path else value


def address_of(storage: Any) -> Any:
    """The database URL of a resolved storage, or its file; a mapping without `url` stays as it is."""
    return storage.get("url", storage) if isinstance(storage, Mapping) else storage


def check_apart(storage: Any, mlflow_uri: str | None) -> None:
    """Raises SweepError if the study and MLflow would use the same database: both call their tables alike."""
    address = address_of(storage)
    if mlflow_uri is not None and resolve(mlflow_uri) == address:
        raise SweepError(f"hydra.sweeper.storage and MLflow cannot share one database: {redact(str(address))}")


def check_storage(storage: Any) -> None:
    """Raises SweepError if a database is away, cannot be opened or is another program's. Nothing is created."""
    address = address_of(storage)
    if not isinstance(address, str) or "://" not in address:
        return
    option = "hydra.sweeper.storage"
    try:
        tables = tables_of(address, option)
        if not tables.keys() <= BaseModel.metadata.tables.keys():  # only some of them: another command makes them now
            check_owner(address, option, tables, OPTUNA_TABLES)
    except ValueError as error:
        raise SweepError(str(error)) from None


def open_storage(storage: Any) -> BaseStorage:
    """`storage` as `resolve` gives it."""
    if isinstance(storage, Mapping):
        opened = instantiate(dict(storage))
        assert isinstance(opened, BaseStorage)
        return opened
    if "://" not in storage:
        Path(storage).parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFile(storage, JournalLock(storage)))
    with warnings.catch_warnings(), _explained(storage):
        warnings.simplefilter("ignore")
        return RDBStorage(storage, engine_kwargs=_engine_arguments(storage))


@contextmanager
def _explained(url: str) -> Iterator[None]:
    try:
        yield
    except (ImportError, SQLAlchemyError, RuntimeError) as error:  # no driver, no such server, another Optuna's schema
        raise SweepError(f"hydra.sweeper.storage: {redact(url)}: {reason_of(error)}") from error


def _engine_arguments(url: str) -> dict[str, Any]:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": SQLITE_TIMEOUT_SECONDS}}
    by_libpq = parsed.get_driver_name() in ("psycopg", "psycopg2")
    return {"pool_pre_ping": True, "connect_args": POSTGRESQL_TIMEOUTS if by_libpq else {}}


class Lock(Protocol):
    """A lock between processes. Its holder may acquire it again, and releases it as often."""

    def acquire(self) -> Any: ...

    def release(self) -> None: ...


class PostgresLock:
    """One lock for all commands on a database, on any machine.

    The server frees it when the connection is gone. So while a server restarts, two commands can hold it at once, and
    one trial more than asked for may run.
    """

    def __init__(self, url: str) -> None:
        self._url, self._depth = url, 0
        self._connection: Connection | None = None

    @cached_property
    def _engine(self) -> Engine:
        return create_engine(self._url, poolclass=NullPool, **_engine_arguments(self._url))

    def acquire(self) -> None:
        if self._depth == 0:
            with _explained(self._url):
                connection = self._engine.connect()
                try:
                    connection.execute(select(func.pg_advisory_xact_lock(POSTGRESQL_LOCK)))
                except BaseException:
                    connection.invalidate()
                    raise
            self._connection = connection
        self._depth += 1

    def release(self) -> None:
        self._depth -= 1
        if self._depth == 0 and self._connection is not None:
            self._connection.invalidate()  # works with a connection that is lost already
            self._connection.close()


def storage_lock(storage: Any) -> Lock:
    """The lock that is held while a study is made and while a trial is claimed.

    With PostgreSQL it works across machines, with any other storage only between commands on one machine.
    """
    address = address_of(storage)
    if isinstance(address, str) and address.startswith("postgresql"):
        return PostgresLock(address)
    if isinstance(address, str) and ("://" not in address or address.startswith(SQLITE)):
        path = Path(address.removeprefix(SQLITE).partition("?")[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{path}.sweep.lock")
    digest = hashlib.sha256(repr(storage).encode()).hexdigest()[:16]
    return FileLock(Path(tempfile.gettempdir()) / f"contrastive-sweeper-{digest}.lock")


@contextmanager
def held(lock: Lock) -> Iterator[None]:
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def this_owner() -> str:
    """This process as host:pid:start, which no other process ever has."""
    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}"


def is_alive(owner: str) -> bool:
    """Whether the process of `this_owner()` runs. One on another machine counts as alive: nothing is known of it."""
    return bool(owner) and (owner.rsplit(":", 2)[0] != socket.gethostname() or runs_here(owner))


def runs_here(owner: str) -> bool:
    """Whether the process of `this_owner()` runs on this machine."""
    host, pid, started = owner.rsplit(":", 2) if owner else ("", "0", "0")
    if host != socket.gethostname():
        return False
    try:
        return bool(abs(psutil.Process(int(pid)).create_time() - float(started)) < 1)
    except psutil.NoSuchProcess:
        return False
