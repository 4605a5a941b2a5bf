"""The first of the responses that a run lists to ask again about, and of those whose votes may be wrong."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from contrastive_app.judge.lists import SCORES
from contrastive_app.record import REVIEW_FOLDER
from contrastive_app.report.cases import Case, case_of, votes_of
from contrastive_app.report.tables import Row, Table

MOST_SHOWN = 5  # of each list
WORDS = {  # kind of list -> title, what it means, what its order is called
    "ask_again": (
        "One more vote tells most",
        "Here one more vote most lowers the chance to take a minority of all annotators for their majority.",
        "lowers it by",
    ),
    "label_errors": (
        "Votes that may be wrong",
        "Here most of all annotators that could be asked would, by the judge, say otherwise than those who were.",
        "how likely",
    ),
}


class Review(NamedTuple):
    title: str
    meaning: str
    file: str  # among the run's files
    cases: Sequence[Case]


def reviews(folder: Path) -> Iterator[Review]:
    """One per list that there is. folder: the output folder of a run."""
    for kind, (title, meaning, order) in WORDS.items():
        path = folder / REVIEW_FOLDER / f"{kind}.jsonl"
        if path.is_file():
            with path.open(encoding="utf-8") as lines:
                cases = [_case(json.loads(line), kind, order) for line in islice(lines, MOST_SHOWN)]
            yield Review(title, meaning, f"{REVIEW_FOLDER}/{path.name}", cases)


def _case(row: Mapping[str, Any], kind: str, order: str) -> Case:
    numbers = row["probability"], row["vote_share_with_votes"], row[SCORES[kind]]
    cells = [votes_of(row), *(f"{number:.2f}" for number in numbers)]
    heading = ["", "yes votes", "probability of yes", "expected share, given the votes", order]
    return case_of(row, Table(heading, [Row(row["criterion"], cells)]))
