"""Rows of the first sheet of an Excel workbook."""

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contrastive_learning.data.files import open_bytes
from contrastive_learning.data.rows import check_columns, shown


def xlsx_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each row with its number in the sheet. Empty rows and columns without a name and values are passed over."""
    with _workbook(path) as workbook:
        sheet = workbook.worksheets[0]
        sheet.reset_dimensions()  # some programs write wrong ones, and openpyxl believes them
        header: list[str] | None = None
        for number, values in enumerate(sheet.iter_rows(values_only=True), start=1):
            if all(value in (None, "") for value in values):
                continue
            if header is None:
                header = _header(values, f"{path}, row {number}")
                continue
            nameless = [value for value in values[len(header) :] if value not in (None, "")]
            if nameless:
                raise ValueError(
                    f"{path}, row {number}: a value must have a column with a name, got {shown(nameless[0])}"
                )
            missing = [None] * (len(header) - len(values))
            yield number, dict(zip(header, [*values[: len(header)], *missing], strict=True))


def sheet_remarks(path: Path) -> list[str]:
    """Names the sheets that are not read, if there are any."""
    with _workbook(path) as workbook:
        first, *others = workbook.sheetnames
    return [f"{path.name}: only the sheet {first} is read, not {', '.join(others)}"] if others else []


@contextmanager
def _workbook(path: Path) -> Iterator[Any]:
    try:
        import openpyxl
    except ImportError as error:
        extra = "an .xlsx file needs openpyxl: pip install 'contrastive-quality[xlsx]', or save it as CSV UTF-8"
        raise ValueError(f"{path}: {extra}") from error
    with open_bytes(path) as handle:
        try:
            workbook = openpyxl.load_workbook(handle, read_only=True, data_only=True)
        except (zipfile.BadZipFile, KeyError, openpyxl.utils.exceptions.InvalidFileException) as error:
            raise ValueError(f"{path}: not a readable .xlsx file: {error}") from error
        try:
            yield workbook
        finally:
            workbook.close()


def _header(values: tuple[Any, ...], where: str) -> list[str]:
    names = ["" if value is None else str(value).strip() for value in values]
    while not names[-1]:
        names.pop()
    check_columns(names, where)
    return names
