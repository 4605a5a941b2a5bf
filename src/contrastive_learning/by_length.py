"""Rows of similar length together: less padding, less memory."""

from collections.abc import Sequence


def cut_by_length(
    lengths: Sequence[int], *, max_rows: int | None = None, max_tokens: int | None = None, padded: bool = True
) -> list[list[int]]:
    """The rows from the longest to the shortest, cut so that no part has more rows or tokens.

    lengths: tokens in each row. A row longer than `max_tokens` is a part of its own. padded: padding counts as tokens.

    Example:
        >>> cut_by_length([2, 9, 3, 2], max_tokens=9)
        [[1], [2, 0, 3]]
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    parts: list[list[int]] = [[]]
    real = 0  # tokens of the last part, without padding
    for row in order:
        rows = len(parts[-1]) + 1
        longest = lengths[(parts[-1] or [row])[0]]
        tokens = rows * longest if padded else real + lengths[row]
        if rows > 1 and (rows > (max_rows or rows) or tokens > (max_tokens or tokens)):
            parts.append([])
            real = 0
        parts[-1].append(row)
        real += lengths[row]
    return [rows for rows in parts if rows]
