"""Responses as the report shows them: the texts, shortened, and what is said of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from contrastive_app.report.tables import NONE, Table

MOST_TURNS = 4  # of a context, the latest
MOST_LETTERS = 500  # of a turn or response


class Case(NamedTuple):
    domain: str
    num_left_out: int  # turns before those of `context`
    context: Sequence[str]
    response: str
    said: Table


def case_of(row: Mapping[str, Any], said: Table) -> Case:
    """row: with domain, context and response."""
    context = list(map(_shortened, row["context"][-MOST_TURNS:]))
    return Case(row["domain"], len(row["context"]) - len(context), context, _shortened(row["response"]), said)


def votes_of(row: Mapping[str, Any]) -> str:
    """How many say yes: "2 of 3"; a dash without votes."""
    return f"{row['yes_votes']} of {row['num_votes']}" if row["num_votes"] else NONE


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}…"
