"""The responses that the pictures show: the same ones in every epoch and in every run on the same data."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from contrastive_learning.data.tokenized import TokenizedSplit

IntArray = NDArray[np.integer[Any]]
FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ShownResponses:
    """The part of a split that pictures show, with its texts and votes."""

    rows: IntArray  # [responses], the row of each in its split
    ids: list[str]
    domains: list[str]
    contexts: list[list[str]]  # turns, oldest first
    responses: list[str]
    criteria: tuple[str, ...]
    yes_votes: IntArray  # [responses, criteria]
    num_votes: IntArray  # [responses, criteria], 0 = no votes

    @classmethod
    def of(cls, split: TokenizedSplit, criteria: Sequence[str], size: int) -> Self:
        """At most `size` responses: those with the smallest SHA-256 of the id, whatever the file order and the seed."""
        if size < 3:
            raise ValueError(f"pictures.sample_size must be at least 3, got {size}")
        ids = split.column("id")
        order = sorted(range(len(ids)), key=lambda row: hashlib.sha256(ids[row].encode()).digest())
        rows = np.sort(np.array(order[:size], dtype=np.intp))
        picked = {name: split.column(name, rows) for name in ("id", "domain", "context", "response")}
        return cls(
            rows,
            picked["id"],
            picked["domain"],
            picked["context"],
            picked["response"],
            tuple(criteria),
            split.yes_votes[rows],
            split.num_votes[rows],
        )


def main_criterion(criteria: Sequence[str], yes_votes: IntArray, num_votes: IntArray) -> str:
    """The criterion whose majorities are most evenly yes and no, so that there is most to see; the first of equals."""
    num_rated = np.maximum((num_votes > 0).sum(0), 1)
    yes = (2 * yes_votes > num_votes).sum(0) / num_rated
    return criteria[int(np.argmin(np.abs(yes - 0.5)))]


def vote_shares(yes_votes: IntArray, num_votes: IntArray) -> FloatArray:
    """Share of yes votes, of the same shape; NaN without votes."""
    shares: FloatArray = np.where(num_votes > 0, yes_votes / np.maximum(num_votes, 1), np.nan)
    return shares
