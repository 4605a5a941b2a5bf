"""Turns votes as people write them (1, "yes", "[1, 0]", a count, a share) into numbers of yes and of all votes."""

import ast
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

from contrastive_learning.choices import did_you_mean
from contrastive_learning.data.answers import WORDS, Answers, as_number
from contrastive_learning.data.names import means
from contrastive_learning.data.responses import VoteCount
from contrastive_learning.data.rows import Row, field, is_missing, label, shown

ROUNDED = 0.005  # a share may be rounded to two digits


class VoteError(ValueError):
    """A cell of votes that cannot be read."""

    def __init__(self, criterion: str, reason: object) -> None:
        super().__init__(f"votes.{criterion}: {reason}")
        self.criterion = criterion


class Counted(NamedTuple):
    """The cells `<criterion>_yes_count` and `<criterion>_no_count` of one row."""

    yes: Any
    no: Any


class Judgement(NamedTuple):
    """What one annotator said of one response on one criterion."""

    criterion: str
    annotator: str | None  # None if nobody is named
    answer: Any


class Share(NamedTuple):
    """The share of yes among a number of votes."""

    yes: Any
    votes: Any


class VoteCounter:
    """Counts the votes of many rows. `found` lists every criterion in them, in order of first appearance.

    Only the criteria in `wanted` are read (None: all). If `known` is given, a criterion outside it is an error.
    """

    def __init__(
        self, wanted: Sequence[object] | None, known: Iterable[str] | None = None, answers: Answers | None = None
    ) -> None:
        self.found: dict[str, None] = {}
        self._wanted = wanted
        self._known = None if known is None else list(known)
        self._read: set[str] = set()  # those of `found` that are wanted
        self._shared: dict[tuple[tuple[str, VoteCount], ...], dict[str, VoteCount]] = {}  # few patterns, many rows
        self._from_votes = _cell_reader(answers or Answers(None))

    def count(self, votes: Mapping[str, Any]) -> Mapping[str, VoteCount]:
        """The counts of each criterion that has votes; equal counts are one object.

        Raises VoteError that names the criterion, ValueError if its name cannot be one.
        """
        if not votes.keys() <= self.found.keys():
            for criterion in votes:
                self.reads(criterion)
        counts = {}
        for criterion, value in votes.items():
            if criterion in self._read:
                try:
                    count = self._from_votes(tuple(value)) if type(value) is list else self._counted(value)
                except (TypeError, ValueError) as error:  # TypeError: a vote that is a list or an object
                    raise VoteError(
                        criterion, error if isinstance(error, ValueError) else _unreadable(value)
                    ) from error
                if count is not None:
                    counts[criterion] = count
        return self.shared(counts)

    def reads(self, criterion: str) -> bool:
        """Whether votes on `criterion` are wanted; it is noted as found."""
        if criterion not in self.found:
            self._register(criterion)
        return criterion in self._read

    def shared(self, counts: dict[str, VoteCount]) -> Mapping[str, VoteCount]:
        """`counts`, or the first mapping that was equal to it."""
        return self._shared.setdefault(tuple(counts.items()), counts)

    def _register(self, criterion: str) -> None:
        # it becomes part of a metric's name
        if not isinstance(criterion, str) or not re.fullmatch(r"[\w .-]+", criterion):
            raise ValueError(f"a criterion must be made of letters, digits, '_', '-', '.', got {shown(criterion)}")
        if self._known is not None and criterion not in self._known:
            nearest = did_you_mean(criterion, self._known)
            raise ValueError(f"votes.{criterion}: train has no such criterion{nearest}")
        self.found[criterion] = None
        if self._wanted is None or any(means(given, criterion) for given in self._wanted):
            self._read.add(criterion)

    def _counted(self, value: Any) -> VoteCount | None:
        """Counts a cell that is not a list: counts, a share, votes by annotator, a list as text, or a single vote."""
        if isinstance(value, Counted):
            return _from_counts(*value)
        if isinstance(value, Share):
            return _from_share(*value)
        return self._from_votes(split_cell(value))


def split_cell(value: Any) -> tuple[Any, ...]:
    """The votes of a cell that may be a list, one written as text such as "1,0" or "[1 0]", or a single vote."""
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict):
        return tuple(value.values())
    if not isinstance(value, str) or value in WORDS:  # one of the words holds a space
        return (value,)
    return tuple(re.split(r"[,|;\s]+", value.strip(" []()")))


def row_votes(row: Row) -> Mapping[str, Any]:
    """The cell of each criterion: from `votes`, from a column `votes.<criterion>`, or from two columns of counts."""
    columns = {} if "votes" in row else vote_columns(tuple(row))
    if columns:
        return {
            criterion: row[cells[0]] if len(cells) == 1 else Counted(row[cells[0]], row[cells[1]])
            for criterion, cells in columns.items()
        }
    if not any("vote" in name.lower() for name in row):  # nobody judged this row; a misspelt name is an error
        return {}
    votes = field(row, "votes")
    if not isinstance(votes, dict):
        votes = by_name(votes)
    if is_missing(votes):
        return {}
    if not isinstance(votes, dict):
        raise ValueError(f"votes must be {{criterion: [1, 0, ...]}}, got {shown(votes)}")
    return votes


@lru_cache(maxsize=64)
def vote_columns(columns: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """Criterion -> its column of votes, or its two columns of counts."""
    found: dict[str, tuple[str, ...]] = {}
    for column in columns:
        criterion = column.removeprefix("votes.")
        cells: tuple[str, ...] = (column,)
        if column.endswith(("_yes_count", "_no_count")):
            criterion = column.removesuffix("_yes_count").removesuffix("_no_count")
            cells = (f"{criterion}_yes_count", f"{criterion}_no_count")
        elif criterion == column:
            continue
        for cell in cells:
            if cell not in columns:
                raise ValueError(f"{cell} is missing; {column} needs it")
        if found.setdefault(criterion, cells) != cells:
            raise ValueError(f"votes on a criterion must be in one place, got {column} and {found[criterion][0]}")
    return found


def by_name(value: Any) -> Any:
    """A dict written as text, or what Parquet makes of a map, as a dict whose keys are text; else `value`."""
    if isinstance(value, str) and value:
        value = parsed(value)
    if isinstance(value, list) and value and all(isinstance(pair, tuple) for pair in value):  # a Parquet map
        value = dict(value)
    return {label(key, "a name"): cell for key, cell in value.items()} if isinstance(value, dict) else value


def parsed(value: str) -> Any:
    """`value` read as JSON, or as Python or pandas write the same; `value` itself if it is neither."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(value)
        except (ValueError, SyntaxError, TypeError, RecursionError):  # TypeError: {[1]: 2}
            continue
    return value


def _cell_reader(answers: Answers) -> Callable[[tuple[Any, ...]], VoteCount | None]:
    """What counts the votes of one cell: None if there is none, as a missing vote is an annotator who gave none."""

    def count(votes: tuple[Any, ...]) -> VoteCount | None:
        found = [answers.read(vote) for vote in votes]
        total = len(found) - found.count(None)
        return vote_count(found.count(True), total) if total else None

    # on a scale, 1 and True differ, which a cache could not tell
    return lru_cache(maxsize=4096)(count) if answers.yes_from is None else count


def _unreadable(value: object) -> str:
    return Answers(None).must_be(value)


@lru_cache(maxsize=4096)
def _from_counts(yes: Any, no: Any) -> VoteCount | None:
    if is_missing(yes) and is_missing(no):
        return None
    counts = [_whole(yes, "the yes count"), _whole(no, "the no count")]
    return vote_count(counts[0], sum(counts)) if sum(counts) else None


def _whole(value: Any, name: str) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if number < 0 or not number.is_integer():
        raise ValueError(f"{name} must be a whole number, got {shown(value)}")
    return int(number)


@lru_cache(maxsize=4096)
def _from_share(yes: Any, votes: Any) -> VoteCount | None:
    if is_missing(yes) or is_missing(votes):
        return None
    share, total = as_number(yes), _whole(votes, "num_votes")
    if share is None or not 0 <= share <= 1:
        is_percentage = "%" in str(yes) or (share is not None and 1 < share <= 100)
        advice = "; divide percentages by 100" if is_percentage else ""
        raise ValueError(f"a share of yes must be 0 to 1, got {shown(yes)}{advice}")
    if not total:
        return None
    if abs(round(share * total) / total - share) > ROUNDED:
        raise ValueError(f"a share of {total} votes must be a number of them, got {shown(yes)}")
    return vote_count(round(share * total), total)


@cache
def vote_count(yes: int, total: int) -> VoteCount:
    return VoteCount(yes, total)
