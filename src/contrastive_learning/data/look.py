"""What the first rows of a file look like: columns, values, and which of them can be answers."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from contrastive_learning.data.answers import Answers, as_number
from contrastive_learning.data.columns import PLACE, TEXT, key
from contrastive_learning.data.names import means
from contrastive_learning.data.rows import Row, is_missing, shown
from contrastive_learning.data.vote_counts import by_name, row_votes, split_cell

# in any spelling: see columns.key
ANNOTATOR = ("annotator", "annotator_id", "rater", "rater_id", "worker", "worker_id", "평가자", "작업자", "라벨러")
SCALE = range(-5, 11)  # numbers that can be points of a scale; a column of others is not taken for answers unasked


@dataclass(frozen=True)
class Look:
    """The first rows of a file and their columns, in order of appearance."""

    rows: Sequence[Row]
    columns: tuple[str, ...]
    wanted: Sequence[object] | None  # data.source.criteria
    answers: Answers

    def one_of(self, names: Sequence[str]) -> str | None:
        spelt = {key(column): column for column in self.columns}
        return next((spelt[key(name)] for name in names if key(name) in spelt), None)

    def values(self, column: str) -> list[Any]:
        return [row[column] for row in self.rows if not is_missing(row.get(column))]

    def vote_columns(self) -> tuple[str, ...]:
        """`votes`, or the columns of votes and of counts per criterion."""
        if "votes" in self.columns:
            return ("votes",)
        ends = ("_yes_count", "_no_count")
        return tuple(name for name in self.columns if name.startswith("votes.") or name.endswith(ends))

    def vote_cells(self) -> list[Any]:
        cells: list[Any] = []
        for row in self.rows:
            try:
                cells += row_votes(row).values()
            except ValueError:  # the reader will name this row with its line
                continue
        return [cell for cell in cells if not is_missing(cell)]

    def criteria(self, is_answer: Callable[[Any], bool] | None = None, besides: Iterable[str] = ()) -> tuple[str, ...]:
        """The columns that data.source.criteria names; without it those whose values are all answers."""
        taken = set(map(key, (*PLACE, *TEXT, *ANNOTATOR, *self.vote_columns(), "num_votes", *besides)))
        free = [name for name in self.columns if key(name) not in taken]
        if self.wanted is not None:
            return tuple(name for name in free if any(means(given, name) for given in self.wanted))
        is_answer = is_answer or self._are_answers
        held = {name: [value for value in self.values(name) if value not in ([], {})] for name in free}
        return tuple(name for name, values in held.items() if values and all(map(is_answer, values)))

    def is_by_annotator(self, value: Any) -> bool:
        votes = by_name(value)
        return isinstance(votes, dict) and all(map(self.answers.are, votes.values()))

    def hold_answers(self, columns: Iterable[str]) -> bool:
        values = [value for column in columns for value in self.values(column)]
        return bool(values) and all(map(self.answers.are, values))

    def few_valued(self) -> str:
        """The other columns that hold few different values, each with these: what may have been meant as votes."""
        counts = {name: Counter(map(shown, self.values(name))) for name in self.columns if name not in (*PLACE, *TEXT)}
        few = {name: values for name, values in counts.items() if 1 < len(values) <= len(SCALE)}
        return "; ".join(f"{name} holds {occurrences(values)}" for name, values in few.items())

    def _are_answers(self, value: Any) -> bool:
        """Whether a cell holds one answer, or a list of them, and nothing else."""
        return not isinstance(value, dict) and all(map(self._can_be_answer, split_cell(value)))

    def _can_be_answer(self, value: Any) -> bool:
        number = as_number(value) if self.answers.yes_from is not None else None
        return self.answers.are(value) if number is None else number in SCALE


def occurrences(values: Counter[str]) -> str:
    """The most frequent values with their counts: '1' (40 times), '5' (once), …"""
    frequent = values.most_common(12)
    listed = ", ".join(f"{value} ({'once' if count == 1 else f'{count:,} times'})" for value, count in frequent)
    return f"{listed}, …" if len(values) > 12 else listed
