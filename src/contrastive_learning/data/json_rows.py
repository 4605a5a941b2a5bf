"""Rows of JSON Lines, and of a JSON array of objects."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from contrastive_learning.data.encodings import open_text
from contrastive_learning.data.rows import shown


def json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each object with its number: in an array that of the element, else that of the line, from 1."""
    return _array_rows(path) if is_array(path) else _json_lines(path)


def is_array(path: Path) -> bool:
    with open_text(path) as handle:
        return handle.read(4096).lstrip().startswith("[")


def element(path: Path, number: int) -> str:
    return f"{path}, element {number} (the first is 1)"


def _array_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows of a file that is one JSON array, which has to be read whole."""
    with open_text(path) as handle:
        content = handle.read()
    try:
        rows = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: must be one JSON array of objects, or one object per line: {error}") from error
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"{element(path, number)}: must be a JSON object, got {shown(row)}")
        yield number, row


def _json_lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with open_text(path) as handle:
        for number, line in enumerate(handle, start=1):
            if line.isspace():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                got = f"got {shown(line.strip())} ({reason})"
                raise ValueError(f"{path}, line {number}: a line must be one JSON object, {got}") from error
            if not isinstance(row, dict):
                raise ValueError(f"{path}, line {number}: a line must be one JSON object, got {shown(row)}")
            yield number, row
