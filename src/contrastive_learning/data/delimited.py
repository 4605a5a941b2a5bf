"""Rows of tables in text: commas, semicolons, tabs or bars between the columns, found by looking."""

import csv
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from contrastive_learning.data.encodings import open_text
from contrastive_learning.data.rows import check_columns

SEPARATORS = (",", "\t", ";", "|")
LINES_TO_LOOK_AT = 50
LONGEST_CELL = 2**31 - 1  # characters; csv stops at 131,072 unless told otherwise


def delimited_rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Each row with the number of its last line. Empty rows, as spreadsheets leave at the end, are passed over."""
    separator = separator_of(path)
    with open_text(path) as handle:
        # strict: else an open quote would swallow the rest of the file
        reader = csv.reader(handle, delimiter=separator, strict=True)
        try:
            records = _records(reader)
            header = [name.strip() for name in next(records, [])]
            check_columns(header, f"{path}, line 1")
            for values in records:
                if not any(values):
                    continue
                if len(values) != len(header):
                    where = f"{path}, line {reader.line_num}"
                    raise ValueError(f"{where}: a row must have {len(header)} fields, as the header, got {len(values)}")
                yield reader.line_num, dict(zip(header, values, strict=True))
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: not valid CSV: {error}") from error


def separator_of(path: Path) -> str:
    """The separator by which the most of the first rows have as many fields as the header, and the header several."""
    with open_text(path) as handle:
        lines = list(islice(handle, LINES_TO_LOOK_AT))

    def evidence(separator: str) -> tuple[bool, float, int]:
        widths = _widths(lines, separator)
        return widths[0] > 1, widths.count(widths[0]) / len(widths), widths[0]

    return max(SEPARATORS, key=evidence)  # of equals, the first


def _widths(lines: list[str], separator: str) -> list[int]:
    """The number of fields of each row that is whole in `lines`."""
    widths = []
    try:
        for values in _records(csv.reader(lines, delimiter=separator, strict=True)):
            if any(values):
                widths.append(len(values))
    except csv.Error:  # a quote that is open where the lines end, or that `separator` puts in a wrong place
        pass
    return widths or [0]


def _records(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """The records of a csv.reader, whose cells may be of any length.

    csv knows only one limit for the whole process, so it is lifted for each record and put back.
    """
    while True:
        limit = csv.field_size_limit(LONGEST_CELL)
        try:
            values = next(reader, None)
        finally:
            csv.field_size_limit(limit)
        if values is None:
            return
        yield values
