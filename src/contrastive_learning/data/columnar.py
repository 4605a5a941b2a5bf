"""Rows of Parquet files and of Arrow files, as Hugging Face `datasets` writes both."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contrastive_learning.data.files import open_bytes

ROWS_AT_A_TIME = 1024
Naming = Callable[[Any], Any]


def parquet_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each row with its number, from 1."""
    with open_bytes(path) as handle:
        try:
            file = pq.ParquetFile(handle)
            yield from _rows(file.schema_arrow, file.iter_batches(batch_size=ROWS_AT_A_TIME))
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path}: not a readable Parquet file: {' '.join(str(error).split())}") from error


def arrow_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each row with its number, from 1. `datasets` writes Arrow streams, others also Arrow files (Feather)."""
    with open_bytes(path) as handle:
        is_file = handle.peek(6)[:6] == b"ARROW1"
        try:
            if is_file:
                file = pa.ipc.open_file(handle)
                yield from _rows(file.schema, (file.get_batch(index) for index in range(file.num_record_batches)))
            else:
                stream = pa.ipc.open_stream(handle)
                yield from _rows(stream.schema, stream)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path}: not a readable Arrow file: {' '.join(str(error).split())}") from error


def _rows(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    namings = _namings(schema)
    number = 0
    for whole in batches:
        for start in range(0, whole.num_rows, ROWS_AT_A_TIME):
            batch = whole.slice(start, ROWS_AT_A_TIME)
            columns = [column.to_pylist() for column in batch.columns]
            for index, name in enumerate(schema.names):
                if name in namings:
                    columns[index] = list(map(namings[name], columns[index]))
            for values in zip(*columns, strict=True):
                number += 1
                yield number, dict(zip(schema.names, values, strict=True))


def _namings(schema: pa.Schema) -> Mapping[str, Naming]:
    """Column -> what puts the names of its ClassLabels for their numbers; `datasets` keeps them in the metadata."""
    about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = about.get("info", {}).get("features") or {}
    found = {column: _naming(feature) for column, feature in features.items()}
    return {column: naming for column, naming in found.items() if naming is not None}


def _naming(feature: Any) -> Naming | None:
    """None if there is no ClassLabel in `feature`."""
    if isinstance(feature, list):
        return _in_list(_naming(feature[0]))
    kind = feature.get("_type")
    if kind == "ClassLabel":
        names = feature["names"]
        return lambda value: None if value is None or value < 0 else names[value]  # -1: no label
    if not isinstance(kind, str):  # a struct
        return _in_struct({name: _naming(inner) for name, inner in feature.items()})
    inner = feature.get("feature")
    if kind == "Sequence" and isinstance(inner, dict) and not isinstance(inner.get("_type"), str):
        return _in_struct({name: _in_list(_naming(of_name)) for name, of_name in inner.items()})  # stored so
    return None if inner is None else _in_list(_naming(inner))


def _in_list(naming: Naming | None) -> Naming | None:
    return naming and (lambda values: values and [naming(value) for value in values])


def _in_struct(namings: Mapping[str, Naming | None]) -> Naming | None:
    wanted = {name: naming for name, naming in namings.items() if naming}
    if not wanted:
        return None
    return lambda value: value and value | {name: naming(value[name]) for name, naming in wanted.items()}
