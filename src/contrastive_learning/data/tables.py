"""Tables of rows on disk, whatever their format, and the place of each row for error messages."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from contrastive_learning.data.columnar import arrow_rows, parquet_rows
from contrastive_learning.data.delimited import delimited_rows
from contrastive_learning.data.encodings import encoding_remarks
from contrastive_learning.data.json_rows import json_lines, json_remarks, json_rows, place_in_json
from contrastive_learning.data.rows import Row, composed
from contrastive_learning.data.spreadsheets import sheet_remarks, xlsx_rows

Reader = Callable[[Path], Iterator[tuple[int, Row]]]
TEXT: Mapping[str, Reader] = {
    **dict.fromkeys((".jsonl", ".json", ".ndjson"), json_rows),
    **dict.fromkeys((".csv", ".tsv", ".txt"), delimited_rows),
}
READERS: Mapping[str, Reader] = {
    **TEXT,
    **{f"{suffix}.gz": reader for suffix, reader in TEXT.items()},
    ".parquet": parquet_rows,
    ".arrow": arrow_rows,
    ".xlsx": xlsx_rows,
}
READABLE = f"{', '.join(TEXT)}, one of these and .gz, .parquet, .arrow, .xlsx"


@dataclass(frozen=True)
class Shards:
    """One table in several files, which are read in this order; rows are numbered through all of them."""

    files: tuple[Path, ...]

    def __str__(self) -> str:
        return f"{self.files[0]} and {len(self.files) - 1} more"


@dataclass(frozen=True)
class Piped:
    """A table of JSON Lines that come once, such as those of standard input."""

    name: str
    lines: Iterable[str]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Traces:
    """A table of traces that an MLflow store holds; each row has `trace_id`."""

    name: str
    rows: Sequence[Row]

    def __str__(self) -> str:
        return self.name


Table = Path | Shards | Piped | Traces


def read_rows(table: Table) -> Iterator[tuple[int, Row]]:
    """Number and fields of each row, all texts and names composed (NFC); `place` says where the number is."""
    before = 0  # rows, or lines, of the shards that have been read
    for part in files_of(table) or [table]:
        number = 0
        for number, row in _rows(part):
            try:
                row = composed(row)
            except ValueError as error:
                raise ValueError(f"{place(part, number)}: {error}") from error
            yield before + number, row
        before += number


def _rows(part: Table) -> Iterable[tuple[int, Row]]:
    """Of a table that is not in shards."""
    if isinstance(part, Traces):
        return enumerate(part.rows, start=1)
    if isinstance(part, Piped):
        return json_lines(part.lines, part.name)
    assert isinstance(part, Path)
    return READERS[suffix_of(part)](part)


def place(table: Table, number: int) -> str:
    """Where a row is, for an error message: data.jsonl, line 3."""
    if isinstance(table, Piped):
        return f"{table}, line {number}"
    if isinstance(table, Traces):
        return f"{table}, trace {table.rows[number - 1]['trace_id']}"
    *others, last = files_of(table)
    for file in others:
        rows = _last_number(file)
        if number <= rows:
            return place(file, number)
        number -= rows
    suffix = suffix_of(last)
    if READERS[suffix] is json_rows:
        return place_in_json(last, number)
    return f"{last}, {'line' if _is_text(last) else 'row'} {number}"


def files_of(table: Table) -> tuple[Path, ...]:
    """The files that hold the table; none for one that is piped or in a store."""
    return (table,) if isinstance(table, Path) else table.files if isinstance(table, Shards) else ()


def suffix_of(file: Path) -> str:
    """The end of the name that tells the format, in small letters: .csv, or .csv.gz."""
    suffixes = file.suffixes[-2:] if file.suffix.lower() == ".gz" else file.suffixes[-1:]
    return "".join(suffixes).lower()


def table_remarks(table: Table) -> list[str]:
    """What the user should know about how the files were read: a guessed encoding, what was passed over."""
    remarks: list[str] = []
    for file in files_of(table):
        if suffix_of(file) == ".xlsx":
            remarks += sheet_remarks(file)
        elif _is_text(file):
            remarks += encoding_remarks(file)
            remarks += json_remarks(file) if READERS[suffix_of(file)] is json_rows else []
    return remarks


def _is_text(file: Path) -> bool:
    return suffix_of(file).removesuffix(".gz") in TEXT


@lru_cache(maxsize=256)
def _last_number(file: Path) -> int:
    last = deque(READERS[suffix_of(file)](file), maxlen=1)
    return last[0][0] if last else 0
