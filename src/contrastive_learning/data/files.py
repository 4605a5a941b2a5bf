"""Finds outside files and tells whether they have changed."""

import hashlib
import json
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path

from contrastive_learning.choices import did_you_mean

LFS_POINTER = b"version https://git-lfs.github.com/"


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
    """Raises ValueError if `path` cannot be read, or only points to its content (Git LFS)."""
    try:
        handle = path.open("rb")
    except OSError as error:
        raise ValueError(f"{path} must be a readable file: {error.strerror}") from error
    if handle.peek(len(LFS_POINTER)).startswith(LFS_POINTER):
        handle.close()
        raise ValueError(f"{path} is a Git LFS pointer, not the data: fetch them with git lfs pull")
    return handle


def digest(files: Mapping[str, Path], settings: Mapping[str, object]) -> str:
    """Hex SHA-256 over `settings` and, in the order of their names, the names and bytes of `files`."""
    total = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name in sorted(files):
        with open_bytes(files[name]) as handle:
            content = hashlib.file_digest(handle, "sha256").hexdigest()
        total.update(f"\n{content} {name}".encode("utf-8", "surrogateescape"))
    return total.hexdigest()
