"""Finds outside files and tells whether they have changed."""

import codecs
import hashlib
import json
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path

from contrastive_learning.choices import did_you_mean

PAGE = "a web page, not the data: a browser shows what it says; download the data again"
FOREIGN = {  # how a file begins -> what it is, and the endings of names that say so
    b"version https://git-lfs.github.com/": ("a Git LFS pointer, not the data: fetch them with git lfs pull", ()),
    b"<!doctype html": (PAGE, ()),
    b"<html": (PAGE, ()),
    b"\xd0\xcf\x11\xe0": ("an old .xls or has a password: save it as .xlsx without one, or as CSV UTF-8", ()),
    b"PK\x03\x04": ("a zip file or a workbook: unpack it, or let its name end in .xlsx", (".xlsx", ".zip")),
    b"\x1f\x8b": ("packed by gzip: let its name end in .gz too", (".gz",)),
    b"PAR1": ("a Parquet file: let its name end in .parquet", (".parquet",)),
}
START_BYTES = 64


def existing(path: str | Path, option: str) -> Path:
    """`path` with ~ expanded. Raises ValueError that names `option` and the nearest name in the folder above."""
    path = Path(path).expanduser()
    if path.exists():
        return path
    parent = next((folder for folder in path.parents if folder.exists()), Path())
    missing = path.relative_to(parent).parts[0]
    names = sorted(entry.name for entry in parent.iterdir()) if parent.is_dir() else []
    raise ValueError(
        f"{option} must exist, got {path}: there is no {missing} in {parent.resolve()}{did_you_mean(missing, names)}"
    )


def open_bytes(path: Path) -> BufferedReader:
    """Raises ValueError if `path` cannot be read, or if its first bytes are not what its name says (see FOREIGN)."""
    try:
        handle = path.open("rb")
    except OSError as error:
        raise ValueError(f"{path} must be a readable file: {error.strerror}") from error
    start = handle.peek(START_BYTES)[:START_BYTES].removeprefix(codecs.BOM_UTF8).lstrip()
    for mark, (what, endings) in FOREIGN.items():
        if (start.startswith(mark) or start.lower().startswith(mark)) and path.suffix.lower() not in endings:
            handle.close()
            raise ValueError(f"{path} is {what}")
    return handle


def digest(files: Mapping[str, Path], settings: Mapping[str, object]) -> str:
    """Hex SHA-256 over `settings` and, in the order of their names, the names and bytes of `files`."""
    total = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name in sorted(files):
        with open_bytes(files[name]) as handle:
            content = hashlib.file_digest(handle, "sha256").hexdigest()
        total.update(f"\n{content} {name}".encode("utf-8", "surrogateescape"))
    return total.hexdigest()
