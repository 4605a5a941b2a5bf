"""Addresses of stores: made absolute, or printed without their credentials."""

import re
from pathlib import Path


def folder_name(name: str) -> str:
    """`name` as the name of a folder: no separators, not hidden, not empty."""
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "_"


def sqlite_path(uri: str) -> Path | None:
    """The file of a sqlite:/// address; None for any other address."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def absolute(uri: str) -> str:
    """sqlite:///mlflow.db -> sqlite:////where/it/started/mlflow.db; a server or database keeps its address.

    Raises ValueError for an address that MLflow could not use.
    """
    path = sqlite_path(uri)
    if path is not None:
        return f"sqlite:///{path.expanduser().resolve()}"
    if uri.startswith(("http://", "https://", "postgresql", "mysql", "mssql")):
        return uri.rstrip("/")
    raise ValueError(
        f"tracking.uri must start with sqlite:///, http://, https:// or name a database; got {redact(uri)}"
    )


def redact(text: str) -> str:
    """`text` without the credentials of the URLs in it: postgresql://user:secret@host -> postgresql://***@host"""
    return re.sub(r"(\w+://)[^/@\s]+@", r"\1***@", text)
