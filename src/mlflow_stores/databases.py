"""Looks into a database before a library writes to it: is it there, does it open, whose tables does it hold."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow_stores.addresses import redact, sqlite_path

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

CONNECT_SECONDS = 10
SQLITE_TIMEOUT_SECONDS = 60  # another process may be writing
# what a driver calls the longest time to wait for a connection
TIMEOUTS = {"psycopg": "connect_timeout", "psycopg2": "connect_timeout", "pymysql": "connect_timeout"}
TIMEOUTS |= {"mysqldb": "connect_timeout", "pyodbc": "timeout"}
PACKAGES = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}  # module: on PyPI
MLFLOW_TABLES = frozenset(("experiments", "runs"))
OPTUNA_TABLES = frozenset(("studies", "trials"))


@contextmanager
def opened(uri: str, option: str) -> Iterator["Connection | None"]:
    """A connection to the database at `uri`; None for an SQLite file that is still to be made, which is not done here.

    Waits at most CONNECT_SECONDS for a server. Raises ValueError, in one line that begins with `option`, if it cannot
    be used.
    """
    path = sqlite_path(uri)
    if path is not None and not _holds_anything(path, option):
        yield None
        return
    with _explained(uri, option, (ValueError,)):
        connection = _engine(uri).connect()
    with connection, _explained(uri, option):
        yield connection


def tables_of(uri: str, option: str) -> dict[str, str | None]:
    """The tables of the database at `uri`, as `tables_in`. Raises ValueError as `opened` does."""
    with opened(uri, option) as connection:
        return tables_in(connection)


def tables_in(connection: "Connection | None") -> dict[str, str | None]:
    """The tables of a database; `alembic_version` with the version that it names, the others with None."""
    from sqlalchemy import inspect, text

    if connection is None:
        return {}
    tables: dict[str, str | None] = dict.fromkeys(inspect(connection).get_table_names())
    if "alembic_version" in tables:
        tables["alembic_version"] = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return tables


def check_owner(uri: str, option: str, tables: Mapping[str, str | None], owned: frozenset[str]) -> None:
    """Raises ValueError if there are tables, but not all of `owned`: the database is another program's."""
    missing = owned - tables.keys()
    if tables and missing:
        some = ", ".join(sorted(tables)[:4])
        raise ValueError(
            f"{option}: {redact(uri)} holds the tables of another program ({some}): name a database of its own"
        )


def _holds_anything(path: Path, option: str) -> bool:
    """Whether the SQLite file has content. Raises ValueError if it could not be created or written."""
    if path.is_dir():
        raise ValueError(f"{option}: {path} is a folder; name a file in it")
    if path.exists():
        if not os.access(path, os.W_OK):
            raise ValueError(f"{option}: {path} cannot be written")
        return path.stat().st_size > 0
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"{option} must point into a folder that can be written: {folder} is not one")
    return False


def _engine(uri: str) -> "Engine":
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.pool import NullPool

    url = make_url(uri)
    arguments: dict[str, Any] = {}
    if url.get_backend_name() == "sqlite":
        arguments = {"timeout": SQLITE_TIMEOUT_SECONDS}
    elif (timeout := TIMEOUTS.get(url.get_driver_name())) is not None:
        arguments = {timeout: CONNECT_SECONDS}
    return create_engine(url, poolclass=NullPool, connect_args=arguments)


@contextmanager
def _explained(uri: str, option: str, others: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """What goes wrong in a driver, or is one of `others`, as one line."""
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    of_drivers: tuple[type[Exception], ...] = (SQLAlchemyError, OSError)
    try:
        yield
        return
    except ModuleNotFoundError as error:
        package = PACKAGES.get(error.name or "", error.name)
        problem = f"needs the driver {error.name}, which is not installed: pip install '{package}'"
    except NoSuchModuleError:
        problem = "names a kind of database or driver that SQLAlchemy does not know"
    except ArgumentError:
        problem = "is not written as an address of a database: postgresql://user:password@host:5432/database"
    except of_drivers + others as error:
        problem = f"cannot be opened: {_reason(error, uri)}"
    raise ValueError(f"{option}: {redact(uri)} {problem}")


def _reason(error: BaseException, uri: str) -> str:
    """The first line of what the driver said."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return redact(lines[0][:300], uri) if lines else type(error).__name__
