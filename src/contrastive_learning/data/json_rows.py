"""Rows of JSON: one object per line, an array of objects, or an object that holds such an array."""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from contrastive_learning.data.encodings import open_text
from contrastive_learning.data.rows import shown

ROW_LISTS = (
    "context",
    "messages",
    "conversations",
    "annotations",
    "responses",
    "options",
    "votes",
)  # lists that a row may hold
ONE_OF = "must be one JSON array of objects, or one object per line"


class Listed(NamedTuple):
    """Where in a file that is one JSON value the rows are: in its field `name`; None: the file is the array itself."""

    name: str | None
    others: tuple[str, ...]  # the fields besides


def json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each object with its number: in an array that of the element, else that of the line, from 1."""
    listed = listed_in(path)
    return _lines_of(path) if listed is None else _array_rows(path, listed)


def listed_in(path: Path) -> Listed | None:
    """None for a file with one object per line. Raises ValueError if several lists in it may be the rows."""
    status = path.stat()
    return _listed_in(path, status.st_size, status.st_mtime_ns)


def place_in_json(path: Path, number: int) -> str:
    listed = listed_in(path)
    if listed is None:
        return f"{path}, line {number}"
    return f"{path}, {'' if listed.name is None else f'{listed.name}, '}element {number} (the first is 1)"


def json_remarks(path: Path) -> list[str]:
    """Names the list that is read and what stands beside it, if the file is an object."""
    listed = listed_in(path)
    if listed is None or listed.name is None:
        return []
    others = f", not {', '.join(listed.others)}" if listed.others else ""
    return [f"{path.name}: the rows are those of its list {listed.name}{others}"]


@lru_cache(maxsize=256)
def _listed_in(path: Path, size: int, modified: int) -> Listed | None:
    """`size` and `modified` tell the cache whether the file is still the same."""
    with open_text(path) as handle:
        lines = (line for line in handle if not line.isspace())
        first, is_only = next(lines, "").lstrip(), next(lines, None) is None
    if first.startswith("["):
        return Listed(None, ())
    if not first.startswith("{") or (not is_only and _is_whole(first)):
        return None
    content = _loaded(path)
    if _is_of_pandas(content):
        raise ValueError(
            f"{path} {ONE_OF}, got a table as pandas writes it by default; write it with "
            'table.to_json("file.jsonl", orient="records", lines=True, force_ascii=False)'
        )
    lists = [
        name for name, value in content.items() if isinstance(value, list) and value and isinstance(value[0], dict)
    ]
    if set(lists) & set(ROW_LISTS) or "response" in content:
        lists = []  # it is a row itself
    if len(lists) > 1:
        raise ValueError(
            f"{path}: one list must hold the rows, got {', '.join(lists)}; write that of the responses to a file"
        )
    if lists:
        return Listed(lists[0], tuple(name for name in content if name != lists[0]))
    if not is_only:
        fields = ", ".join(f"{name}: {shown(value)}" for name, value in list(content.items())[:5])
        raise ValueError(f"{path} {ONE_OF}, got one object without a list of objects ({fields})")
    return None


def _is_of_pandas(content: Any) -> bool:
    """Whether DataFrame.to_json has written it by columns or by rows, {"response": {"0": …, "1": …}}, or split."""
    if content.keys() == {"columns", "index", "data"}:
        return True
    first, *others = content.values() or [None]
    return (
        isinstance(first, dict)
        and all(isinstance(other, dict) and other.keys() == first.keys() for other in others)
        and ("0" in first or "0" in content)
    )


def _is_whole(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _loaded(path: Path) -> Any:
    with open_text(path) as handle:
        content = handle.read()
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {ONE_OF}: {error}") from error


def _array_rows(path: Path, listed: Listed) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows of a file that is one JSON value, which has to be read whole."""
    content = _loaded(path)
    rows = content if listed.name is None else content[listed.name]
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"{place_in_json(path, number)}: must be a JSON object, got {shown(row)}")
        yield number, row


def json_lines(lines: Iterable[str], name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The object of each line with its number, from 1. `name` says in an error where the lines are from."""
    for number, line in enumerate(lines, start=1):
        if line.isspace():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            got = f"got {shown(line.strip())} ({reason})"
            raise ValueError(f"{name}, line {number}: a line must be one JSON object, {got}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{name}, line {number}: a line must be one JSON object, got {shown(row)}")
        yield number, row


def _lines_of(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with open_text(path) as handle:
        yield from json_lines(handle, str(path))
