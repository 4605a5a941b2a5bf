"""Text files as people have them: UTF-8, UTF-16 or UTF-32 by the mark at their start, CP949, also in gzip."""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from contrastive_learning.data.files import open_bytes

MARKS = {  # UTF-32 first: its mark begins with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}
CHUNK_BYTES = 1 << 20


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """The lines of `path`, each with the line end that it has there."""
    with unpacked(path) as content, io.TextIOWrapper(content, encoding=encoding_of(path), newline="") as handle:
        yield handle


@contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """The bytes of `path`; if its name ends in .gz, what is packed in it."""
    with open_bytes(path) as handle:
        if path.suffix.lower() != ".gz":
            yield handle
            return
        try:
            with gzip.GzipFile(fileobj=handle) as content:
                yield cast("BinaryIO", content)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path} must be a whole gzip file: {error}") from error


def encoding_of(path: Path) -> str:
    """The encoding that the mark at the start names; without a mark UTF-8, or CP949 if only that fits the whole file.

    No other encoding is guessed: ValueError names the line that is not UTF-8.
    """
    status = path.stat()
    return _encoding(path, status.st_size, status.st_mtime_ns)


def encoding_remarks(path: Path) -> list[str]:
    """What the reader of a text file should know about its encoding; usually nothing."""
    return [f"{path.name}: read as CP949, because it is not UTF-8"] if encoding_of(path) == "cp949" else []


def decoded(content: bytes, where: str) -> str:
    """UTF-8, with or without a mark. Raises ValueError that starts with `where`."""
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(error, where, "UTF-16" if content.startswith(tuple(MARKS)) else "CP949") from error


@lru_cache(maxsize=64)
def _encoding(path: Path, size: int, modified: int) -> str:
    """`size` and `modified` tell the cache whether the file is still the same."""
    with unpacked(path) as content:
        start = content.read(1024)
    marked = next((encoding for mark, encoding in MARKS.items() if start.startswith(mark)), None)
    if not marked and b"\0" in start:  # UTF-8 allows it, no text has it
        raise ValueError(
            f"{path}: text must not hold NUL bytes; if it is UTF-16 without its mark, convert it, for example: "
            "iconv -f UTF-16LE -t UTF-8"
        )
    for encoding in [marked] if marked else ["utf-8", "cp949"]:
        if _fits(path, encoding):
            return encoding
    if marked in ("utf-16", "utf-32"):
        raise ValueError(f"{path}: text must be whole {marked.upper()}, as the mark at its start says")
    raise _bad_line(path)


def _fits(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    with unpacked(path) as content:
        try:
            while chunk := content.read(CHUNK_BYTES):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _bad_line(path: Path) -> ValueError:
    with unpacked(path) as content:
        for number, line in enumerate(content, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return _not_utf8(error, f"{path}, line {number}", "ENCODING")
    raise AssertionError(f"{path} has changed while it was read")


def _not_utf8(error: UnicodeDecodeError, where: str, encoding: str) -> ValueError:
    return ValueError(
        f"{where}: text must be UTF-8, got byte 0x{error.object[error.start]:02x} at byte {error.start + 1}; "
        f"convert the file, for example: iconv -f {encoding} -t UTF-8"
    )
