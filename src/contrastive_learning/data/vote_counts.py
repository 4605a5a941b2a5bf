"""Turns votes as people write them (1, "yes", "[1, 0]", a count) into numbers of yes votes and of all votes."""

import ast
import json
import math
import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

from contrastive_learning.choices import did_you_mean
from contrastive_learning.data.responses import VoteCount
from contrastive_learning.data.rows import Row, field, is_missing, shown

YES = (1, "1", "1.0", "yes", "y", "true")  # 1 equals True and 1.0
NO = (0, "0", "0.0", "no", "n", "false")
NO_VOTE = (None, "", "nan", "null", "none")
ANSWERS: Mapping[object, bool | None] = {
    **dict.fromkeys(YES, True),
    **dict.fromkeys(NO, False),
    **dict.fromkeys(NO_VOTE),
}


class Counted(NamedTuple):
    """The cells `<criterion>_yes_count` and `<criterion>_no_count` of one row."""

    yes: Any
    no: Any


class VoteCounter:
    """Counts the votes of many rows. `found` lists every criterion in them, in order of first appearance.

    Only the criteria in `wanted` are read (None: all). If `known` is given, a criterion outside it is an error.
    """

    def __init__(self, wanted: Collection[str] | None, known: Collection[str] | None = None) -> None:
        self.found: dict[str, None] = {}
        self._wanted = wanted
        self._known = known
        self._shared: dict[tuple[tuple[str, VoteCount], ...], dict[str, VoteCount]] = {}  # few patterns, many rows

    def count(self, votes: Mapping[str, Any]) -> Mapping[str, VoteCount]:
        """The counts of each criterion that has votes; equal counts are one object.

        Raises ValueError that names the criterion.
        """
        if not votes.keys() <= self.found.keys():
            self._register(votes)
        counts = {}
        for criterion, value in votes.items():
            if self._wanted is None or criterion in self._wanted:
                try:
                    count = _from_votes(tuple(value)) if type(value) is list else _counted(value)
                except TypeError as error:  # a vote that is a list or an object
                    raise ValueError(f"votes.{criterion}: {_must_be_a_vote(value)}") from error
                except ValueError as error:
                    raise ValueError(f"votes.{criterion}: {error}") from error
                if count is not None:
                    counts[criterion] = count
        return self._shared.setdefault(tuple(counts.items()), counts)

    def _register(self, criteria: Iterable[str]) -> None:
        for criterion in criteria:
            if not isinstance(criterion, str) or not re.fullmatch(
                r"[\w .-]+", criterion
            ):  # it becomes part of a metric's name
                raise ValueError(f"a criterion must be made of letters, digits, '_', '-', '.', got {shown(criterion)}")
            if self._known is not None and criterion not in self._known:
                nearest = did_you_mean(criterion, self._known)
                raise ValueError(f"votes.{criterion}: train has no such criterion{nearest}")
            self.found[criterion] = None


def row_votes(row: Row) -> Mapping[str, Any]:
    """The cell of each criterion: from `votes`, from a column `votes.<criterion>`, or from two columns of counts."""
    columns = {} if "votes" in row else vote_columns(tuple(row))
    if columns:
        return {
            criterion: row[cells[0]] if len(cells) == 1 else Counted(row[cells[0]], row[cells[1]])
            for criterion, cells in columns.items()
        }
    votes = field(row, "votes")
    if isinstance(votes, str) and votes:
        votes = parsed(votes)
    if isinstance(votes, list) and all(isinstance(pair, tuple) for pair in votes):  # a Parquet map
        votes = dict(votes)
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


def parsed(value: str) -> Any:
    """`value` read as JSON, or as Python or pandas write the same; `value` itself if it is neither."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(value)
        except (ValueError, SyntaxError, TypeError, RecursionError):  # TypeError: {[1]: 2}
            continue
    return value


def _counted(value: Any) -> VoteCount | None:
    """Counts a cell that is not a list: two counts, a list written as text, or a single vote."""
    if isinstance(value, Counted):
        return _from_counts(*value)
    return _from_votes(tuple(re.split(r"[,|;\s]+", value.strip(" []()"))) if isinstance(value, str) else (value,))


@lru_cache(maxsize=4096)
def _from_votes(votes: tuple[Any, ...]) -> VoteCount | None:
    """None if there is no vote: an empty or missing vote is an annotator who gave none."""
    answers = [_answer(vote) for vote in votes]
    total = len(answers) - answers.count(None)
    return _vote_count(answers.count(True), total) if total else None


def _answer(vote: object) -> bool | None:
    if isinstance(vote, float) and math.isnan(vote):
        return None
    key = vote.strip(" '\"").lower() if isinstance(vote, str) else vote
    if key not in ANSWERS:
        raise ValueError(_must_be_a_vote(vote))
    return ANSWERS[key]


def _must_be_a_vote(vote: object) -> str:
    return f"a vote must be 1/0, true/false, yes/no or y/n, got {shown(vote)}"


@lru_cache(maxsize=4096)
def _from_counts(yes: Any, no: Any) -> VoteCount | None:
    if is_missing(yes) and is_missing(no):
        return None
    counts = [_whole(yes, "yes"), _whole(no, "no")]
    return _vote_count(counts[0], sum(counts)) if sum(counts) else None


def _whole(value: Any, answer: str) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if number < 0 or not number.is_integer():
        raise ValueError(f"the {answer} count must be a whole number, got {shown(value)}")
    return int(number)


@cache
def _vote_count(yes: int, total: int) -> VoteCount:
    return VoteCount(yes, total)
