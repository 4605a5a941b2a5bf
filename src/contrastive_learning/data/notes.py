"""Counts what a reader leaves out or changes, each kind with its first example, for the remarks to the user."""


class Notes:
    """Remarks about one split: nothing is dropped without a count and an example."""

    def __init__(self, split: str) -> None:
        self._split = split
        self._seen: dict[str, tuple[int, str]] = {}  # what -> how often, and the first example

    def add(self, what: str, example: str) -> None:
        count, first = self._seen.get(what, (0, example))
        self._seen[what] = (count + 1, first)

    def remarks(self) -> list[str]:
        return [f"{self._split}: {count:,} {what}, such as {example}" for what, (count, example) in self._seen.items()]
