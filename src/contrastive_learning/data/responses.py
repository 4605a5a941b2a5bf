"""The unit of outside data: one chatbot response with the votes of several annotators on several criteria."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

SPLITS = ("train", "valid", "test", "test_ood")
UNJUDGED = "unjudged"  # what the responses that nobody judged are called beside the splits
METRIC_PREFIXES = {"valid": "val", "test": "test", "test_ood": "test_ood"}  # held-out split -> "val" of val/macro_f1


class VoteCount(NamedTuple):
    """Votes on one criterion. The position of a vote in a list does not tell who voted, so it is not kept."""

    yes: int
    total: int


Judgements = Mapping[str, tuple[tuple[str, bool], ...]]  # criterion -> annotator and whether they said yes


@dataclass(frozen=True, slots=True)
class RatedResponse:
    """One response with its votes. Every criterion is positive: a yes vote says that the response is good."""

    id: str
    domain: str
    context: tuple[str, ...]  # turns, oldest first
    response: str
    votes: Mapping[str, VoteCount]  # a criterion without votes is absent
    group: str  # responses of one conversation share a group; a group never spans two splits
    judgements: Judgements | None = field(default=None, compare=False)  # if the data name annotators; not trained on


@dataclass(frozen=True, slots=True)
class Splits:
    """Checked data, ready to tokenise. `test_ood` holds domains that `train` never saw; it and `test` may be empty."""

    criteria: tuple[str, ...]
    train: list[RatedResponse]
    valid: list[RatedResponse]
    test: list[RatedResponse]
    test_ood: list[RatedResponse]
    remarks: list[str] = field(default_factory=list)  # sentences for the user: what was left out, and why
    rows: Mapping[str, int] = field(
        default_factory=dict
    )  # part, as delivered -> rows read; empty if there are no files
    unjudged: list[RatedResponse] = field(default_factory=list)  # without votes, to train on beside `train`


class DataSource(Protocol):
    """What every `data` config builds: it reads responses from somewhere and divides them into splits."""

    def fingerprint(self) -> str:
        """Hex SHA-256 of everything that decides what `load` returns: file bytes and settings. Cheaper than `load`."""
        ...

    def load(self) -> Splits:
        """Read and check everything. Raises ValueError with one line that names file, line and field."""
        ...
