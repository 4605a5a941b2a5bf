"""What the fields of a row must be, whichever file it comes from."""

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from contrastive_learning.choices import did_you_mean

Row = Mapping[str, Any]


def composed(value: Any) -> Any:
    """`value` with every text in it, names included, in Unicode's composed form (NFC).

    macOS and some editors write Hangul in pieces, which looks the same, is not equal and is unknown to most tokenizers.
    """
    if isinstance(value, str):
        return value if value.isascii() else unicodedata.normalize("NFC", value)
    if isinstance(value, dict):
        row = {composed(name): composed(inner) for name, inner in value.items()}
        if len(row) < len(value):
            twice = next(name for name in value if name not in row)
            raise ValueError(f"a name must occur once, got {shown(composed(twice))} in two Unicode forms")
        return row
    if isinstance(value, list | tuple):
        return type(value)(map(composed, value))
    return value


def check_columns(names: Sequence[str], where: str) -> None:
    """Raises ValueError that starts with `where` if two columns have one name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{where}: a column must have its own name, got {twice[0]!r} twice")


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
    """Text, or a number as text: ids, groups and names are often numbers, in Parquet with gaps even floats."""
    if isinstance(value, float):
        value = int(value) if value.is_integer() else str(value)
    if isinstance(value, bool):
        return str(value).lower()  # as JSON writes it
    if isinstance(value, int):
        return str(value)
    return text(value, name)


def is_missing(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def shown(value: object) -> str:
    """`value` on one line, short enough for a message."""
    line = repr(value)
    return line if len(line) <= 80 else f"{line[:77]}..."
