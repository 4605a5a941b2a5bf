"""The unit of outside data: one chatbot response, judged by several annotators on several criteria."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class VoteCount(NamedTuple):
    """Votes on one criterion. Annotators are anonymous, so only counts are kept, never positions."""

    yes: int
    total: int


@dataclass(frozen=True, slots=True)
class RatedResponse:
    """One judged response. Every criterion is positive: a yes vote says the response is good."""

    id: str
    domain: str
    context: tuple[str, ...]  # turns, oldest first
    response: str
    votes: Mapping[str, VoteCount]  # a criterion that nobody judged is absent
    group: str  # responses of one conversation share a group; a group never spans two splits


@dataclass(frozen=True, slots=True)
class Splits:
    """Checked data, ready to tokenise. `test_ood` holds domains that `train` never saw; it and `test` may be empty."""

    criteria: tuple[str, ...]
    train: list[RatedResponse]
    valid: list[RatedResponse]
    test: list[RatedResponse]
    test_ood: list[RatedResponse]
    remarks: list[str] = field(default_factory=list)  # plain sentences a person should read: what was dropped, and why


class DataSource(Protocol):
    """What every `data` config builds."""

    def fingerprint(self) -> str:
        """Hex SHA-256 of everything that decides what `load` returns: file bytes and settings. Cheaper than `load`."""
        ...

    def load(self) -> Splits:
        """Read and check everything. Raises ValueError with one line that names file, line and field."""
        ...
