"""Keeps what is scored on disk until all is: a command that was interrupted, even killed, continues there."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

Item = TypeVar("Item")
POLL_SECONDS = 0.1
ABOUT = "about.json"
ROWS_PER_PART = 1024  # scored in batches by length, then kept: an interruption costs at most these


class Unfinished:
    """The folder OUT.part beside the file OUT that is to be written. It holds one Parquet file per part of the rows.

    A file is there only when it is whole, so each row is scored once, whoever was killed when; several processes share
    the parts. about: what the parts depend on. Raises ValueError if those in the folder depend on something else.
    """

    def __init__(self, out: Path, about: Mapping[str, Any]) -> None:
        self.out = out
        self.folder = out.with_name(f"{out.name}.part")
        self._about = dict(about)
        self.num_rows: int | None = None  # None: nobody has counted them yet
        if (self.folder / ABOUT).exists():
            found = json.loads((self.folder / ABOUT).read_text(encoding="utf-8"))
            self.num_rows = found.pop("num_rows")
            differing = [name for name in self._about if found.get(name) != self._about[name]]
            if differing:
                raise ValueError(
                    f"{self.folder} was begun with another {', '.join(differing)}: repeat that command to continue, "
                    "remove the folder, or choose another --out"
                )

    def begin(self, num_rows: int) -> None:
        self.num_rows = num_rows
        self.folder.mkdir(exist_ok=True)
        content = json.dumps(self._about | {"num_rows": num_rows}, ensure_ascii=False)
        self.replace(self.folder / ABOUT, lambda path: path.write_text(content, encoding="utf-8"))

    def missing(self) -> list[int]:
        """The numbers of the parts that are not there yet."""
        return [number for number in range(self._num_parts) if not self._part(number).exists()]

    def write(self, number: int, table: pa.Table) -> None:
        self.replace(self._part(number), lambda path: pq.write_table(table, path))

    def wait(self) -> None:
        """Until the other processes have written their parts; the launcher ends this one if one of them fails."""
        while self.missing():
            time.sleep(POLL_SECONDS)

    def tables(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        for number in range(self._num_parts):
            yield pq.read_table(self._part(number), columns=columns)

    def finish(self, write: Callable[[Path], None]) -> None:
        """`write` is called with a path; what it has written there gets the final name, and the folder goes."""
        self.replace(self.out, write)
        shutil.rmtree(self.folder)

    @property
    def _num_parts(self) -> int:
        return -(-(self.num_rows or 0) // ROWS_PER_PART)

    def _part(self, number: int) -> Path:
        return self.folder / f"{number:06}.parquet"

    def replace(self, path: Path, write: Callable[[Path], object]) -> None:
        """Like `finish`, for a further file: it is never there in part."""
        temporary = self.folder / f".writing-{os.getpid()}-{path.name}"
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # else a power failure could leave an empty file under the final name
        temporary.replace(path)


def parts(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Lists of ROWS_PER_PART, the last one of what is left."""
    waiting = iter(items)
    while part := list(islice(waiting, ROWS_PER_PART)):
        yield part
