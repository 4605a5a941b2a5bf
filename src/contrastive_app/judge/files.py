"""Writes scores as JSON Lines, CSV or Parquet."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

DIGITS = 6
HIDDEN = ("domain", "yes_votes", "num_votes")  # columns that the judge is measured by, and that are not written


def beside(file: Path, ending: str, kind: str = "scores") -> Path:
    """Where what is found of `file`, whose name ends in `ending`, goes by default: responses.scores.jsonl beside it."""
    written = {".parquet": ".parquet", ".arrow": ".parquet"} | dict.fromkeys((".csv", ".tsv", ".txt", ".xlsx"), ".csv")
    stem = file.name[: len(file.name) - len(ending)]
    return file.with_name(f"{stem}.{kind}{written.get(ending.removesuffix('.gz'), '.jsonl')}")


def list_beside(out: Path, kind: str, tool: str | None) -> Path:
    """Where a list of cells goes, beside the scores `out`: responses.ask_again.jsonl, or for a tool a .json file."""
    stem = out.name.removesuffix(out.suffix).removesuffix(".scores")
    return out.with_name(f"{stem}.{kind}{out.suffix}" if tool is None else f"{stem}.{kind}.{tool}.json")


def check_suffix(out: Path) -> None:
    if out.suffix not in WRITERS:
        raise ValueError(f"--out must end in {', '.join(WRITERS)}; got {out}")


def shown(table: pa.Table) -> pa.Table:
    """The columns of scores that are written."""
    return table.drop_columns(list(HIDDEN))


def write_lines(table: pa.Table, file: TextIO) -> None:
    for row in _rows(table):
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _write_jsonl(tables: Iterable[pa.Table], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for table in tables:
            write_lines(table, file)


def _write_csv(tables: Iterable[pa.Table], path: Path) -> None:
    """Cells that are lists are written as JSON."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        for number, table in enumerate(tables):
            if number == 0:
                writer.writerow(table.column_names)
            for row in _rows(table):
                cells = (
                    json.dumps(cell, ensure_ascii=False) if isinstance(cell, list) else cell for cell in row.values()
                )
                writer.writerow(cells)


def _write_parquet(tables: Iterable[pa.Table], path: Path) -> None:
    writer: pq.ParquetWriter | None = None
    for table in tables:
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None  # there is at least one response
    writer.close()


WRITERS: Mapping[str, Callable[[Iterable[pa.Table], Path], None]] = {
    ".jsonl": _write_jsonl,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for row in table.to_pylist():
        yield {name: round(cell, DIGITS) if isinstance(cell, float) else cell for name, cell in row.items()}
