"""Writes rows of judged data to files, in the format that the name's ending tells."""

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq

SETTINGS = {  # of VotesData, besides its path and its rules: everything in one file, split by default
    "valid_path": None,
    "test_path": None,
    "test_ood_path": None,
    "criteria": None,
    "valid_fraction": 0.1,
    "test_fraction": 0.1,
    "held_out_domains": [],
    "split_seed": 0,
}


def as_jsonl(rows):
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)


def as_table(rows, separator=","):
    """The rows may have different columns; lists and objects are written as JSON."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, dict.fromkeys(name for row in rows for name in row), delimiter=separator)
    writer.writeheader()
    writer.writerows({name: as_cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def as_cell(value):
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def write_rows(path, rows):
    """Write `rows` to `path`, whose folder is made if need be, and return `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    texts = {".jsonl": as_jsonl, ".json": lambda rows: json.dumps(rows, ensure_ascii=False), ".csv": as_table}
    path.write_text(texts[path.suffix](rows), encoding="utf-8", newline="")
    return path
