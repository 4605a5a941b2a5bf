"""Rows of JSON Lines, JSON, CSV and Parquet files, each with its line number for error messages."""

import codecs
import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from contrastive_learning.choices import did_you_mean
from contrastive_learning.data.files import open_bytes

Row = Mapping[str, Any]


def read_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Line number and fields of each row; in Parquet and in a JSON array the number counts rows, from 1."""
    yield from READERS[path.suffix.lower()](path)


def place(path: Path, line: int) -> str:
    """Where a row is, for an error message: data.jsonl, line 3."""
    suffix = path.suffix.lower()
    if READERS[suffix] is _json_rows and _is_array(path):
        return f"{path}, element {line} (the first is 1)"
    return f"{path}, {'row' if suffix == '.parquet' else 'line'} {line}"


def decoded(content: bytes, where: str) -> str:
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(content, error, where) from error


def _not_utf8(content: bytes, error: UnicodeDecodeError, where: str) -> ValueError:
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return ValueError(
        f"{where}: text must be UTF-8, got byte 0x{error.object[error.start]:02x} at byte {error.start + 1}; "
        f"convert the file, for example: iconv -f {'UTF-16' if utf16 else 'CP949'} -t UTF-8"
    )


def field(row: Row, name: str) -> Any:
    if name not in row:
        raise ValueError(f"{name} is missing; the row has {', '.join(row) or 'no fields'}{did_you_mean(name, row)}")
    return row[name]


def text(value: object, name: str) -> str:
    """`value` if it is text that UTF-8 can hold; half an emoji ("\\ud83d") would break a tokenizer much later."""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text, got {shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} must be valid Unicode, got half a surrogate pair in {shown(value)}") from error
    return value


def label(value: object, name: str) -> str:
    """Text, or a whole number as text: ids and groups are often numbers, in Parquet with gaps even floats."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text(value, name)


def is_missing(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def shown(value: object) -> str:
    """`value` on one line, short enough for a message."""
    line = repr(value)
    return line if len(line) <= 80 else f"{line[:77]}..."


def _text_lines(path: Path, handle: BinaryIO) -> Iterator[str]:
    for number, line in enumerate(handle, start=1):
        try:
            yield (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).decode()
        except UnicodeDecodeError as error:
            raise _not_utf8(line, error, place(path, number)) from error


def _json_rows(path: Path) -> Iterator[tuple[int, Row]]:
    return _array_rows(path) if _is_array(path) else _json_lines(path)


def _is_array(path: Path) -> bool:
    with open_bytes(path) as handle:
        return handle.read(4096).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")


def _array_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """The rows of a file that is one JSON array, which has to be read whole."""
    with open_bytes(path) as handle:
        content = decoded(handle.read(), str(path))
    try:
        rows = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: must be one JSON array of objects, or one object per line: {error}") from error
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"{place(path, number)}: must be a JSON object, got {shown(row)}")
        yield number, row


def _json_lines(path: Path) -> Iterator[tuple[int, Row]]:
    with open_bytes(path) as handle:
        for number, line in enumerate(_text_lines(path, handle), start=1):
            if line.isspace():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                got = f"got {shown(line.strip())} ({reason})"
                raise ValueError(f"{place(path, number)}: a line must be one JSON object, {got}") from error
            if not isinstance(row, dict):
                raise ValueError(f"{place(path, number)}: a line must be one JSON object, got {shown(row)}")
            yield number, row


def _csv_rows(path: Path) -> Iterator[tuple[int, Row]]:
    with open_bytes(path) as handle:
        reader = csv.reader(
            _text_lines(path, handle), strict=True
        )  # else an open quote would swallow the rest of the file
        try:
            header = next(reader, [])
            twice = sorted({name for name in header if header.count(name) > 1})
            if twice:
                raise ValueError(f"{place(path, 1)}: a column must have its own name, got {twice[0]!r} twice")
            if len(header) == 1 and header[0].count(";") > 1:
                raise ValueError(f"{place(path, 1)}: the columns must be separated by commas, got semicolons")
            for values in reader:
                if not values:
                    continue
                if len(values) != len(header):
                    where = place(path, reader.line_num)
                    raise ValueError(f"{where}: a row must have {len(header)} fields, as the header, got {len(values)}")
                yield reader.line_num, dict(zip(header, values, strict=True))
        except csv.Error as error:
            raise ValueError(f"{place(path, reader.line_num)}: not valid CSV: {error}") from error


def _parquet_rows(path: Path) -> Iterator[tuple[int, Row]]:
    number = 0
    with open_bytes(path) as handle:
        try:
            for batch in pq.ParquetFile(handle).iter_batches(batch_size=4096):
                columns = [column.to_pylist() for column in batch.columns]
                for values in zip(*columns, strict=True):
                    number += 1
                    yield number, dict(zip(batch.schema.names, values, strict=True))
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path}: not a readable Parquet file: {' '.join(str(error).split())}") from error


READERS: Mapping[str, Callable[[Path], Iterator[tuple[int, Row]]]] = {
    ".jsonl": _json_rows,
    ".json": _json_rows,
    ".ndjson": _json_rows,
    ".csv": _csv_rows,
    ".parquet": _parquet_rows,
}
