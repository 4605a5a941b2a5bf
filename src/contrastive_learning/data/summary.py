"""What a person wants to know of judged responses before anything is trained on them, in numbers."""

import sys
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import krippendorff
import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from contrastive_learning.data.inputs import encode
from contrastive_learning.data.responses import METRIC_PREFIXES, RatedResponse, Splits

AT_A_TIME = 4096  # responses tokenised together


class VoteFacts(NamedTuple):
    """The votes of some responses on one criterion. Rates are shares, NaN if nothing defines them."""

    num_judged: int  # responses with a vote
    num_votes: tuple[int, float, int]  # per judged response: fewest, mean, most; zeros if none is judged
    yes_rate: float  # of the votes
    num_minority: int  # judged responses with more votes for the side, yes or no, that has fewer such responses
    split_rate: float  # of the responses with two votes or more: how many have votes of both sides
    agreement: float  # Krippendorff's alpha (nominal): 1 = always the same vote, 0 = as by chance


class InputLengths(NamedTuple):
    """Tokens of the inputs of some responses, had `data.max_length` no limit."""

    tokens: NDArray[np.int64]  # [responses]
    num_cut: int  # inputs longer than the limit: the oldest context is cut off
    num_cut_responses: int  # of these, those whose response does not fit even without context: its end is cut off


@dataclass(frozen=True, slots=True)
class Overlap:
    """Responses of a held-out split that share something with responses of train."""

    split: str
    what: str
    count: int
    example: tuple[str, str]  # ids: the first of these responses, and one of train


def vote_facts(responses: Sequence[RatedResponse], criterion: str) -> VoteFacts:
    """The votes on one criterion.

    >>> from contrastive_learning.data.responses import RatedResponse, VoteCount
    >>> rated = [RatedResponse(str(yes), "d", (), "r", {"clear": VoteCount(yes, 3)}, "g") for yes in (0, 1, 3, 3)]
    >>> facts = vote_facts(rated, "clear")
    >>> facts.num_votes, round(facts.yes_rate, 2), facts.split_rate, round(facts.agreement, 2)
    ((3, 3.0, 3), 0.58, 0.25, 0.69)
    """
    votes = np.array([item.votes[criterion] for item in responses if criterion in item.votes], dtype=np.int64)
    if len(votes) == 0:
        return VoteFacts(0, (0, 0.0, 0), np.nan, 0, np.nan, np.nan)
    yes, total = votes.T
    several = votes[total > 1]
    is_split = (several[:, 0] > 0) & (several[:, 0] < several[:, 1])
    return VoteFacts(
        num_judged=len(votes),
        num_votes=(int(total.min()), float(total.mean()), int(total.max())),
        yes_rate=float(yes.sum() / total.sum()),
        num_minority=int(min(np.sum(2 * yes > total), np.sum(2 * yes < total))),
        split_rate=float(is_split.mean()) if len(several) else np.nan,
        agreement=krippendorff_alpha(several[:, 0], several[:, 1] - several[:, 0]),
    )


def krippendorff_alpha(yes: NDArray[np.int64], no: NDArray[np.int64]) -> float:
    """Of responses with so many votes for yes and for no, two or more together; each [responses].

    NaN if all votes are the same: chance would then agree as well.

    >>> round(krippendorff_alpha(np.array([3, 0, 2]), np.array([0, 3, 1])), 2)
    0.6
    """
    if not yes.any() or not no.any():
        return float("nan")
    return float(krippendorff.alpha(value_counts=np.stack([yes, no], axis=1), level_of_measurement="nominal"))


def input_lengths(
    responses: Sequence[RatedResponse], tokenizer: PreTrainedTokenizerFast, *, max_length: int, prefix: str
) -> InputLengths:
    """How long the inputs of `responses` are, and how many of them `max_length` cuts."""
    lengths: list[int] = []
    num_cut_responses = 0
    for start in range(0, len(responses), AT_A_TIME):
        some = responses[start : start + AT_A_TIME]
        here = [len(row) for row in encode(some, tokenizer, max_length=sys.maxsize, prefix=prefix)]
        long = [replace(item, context=()) for item, length in zip(some, here, strict=True) if length > max_length]
        alone = encode(long, tokenizer, max_length=sys.maxsize, prefix=prefix)
        num_cut_responses += sum(len(row) > max_length for row in alone)
        lengths += here
    tokens = np.array(lengths, dtype=np.int64)
    return InputLengths(tokens, int(np.sum(tokens > max_length)), num_cut_responses)


def num_repeats(responses: Sequence[RatedResponse]) -> int:
    """How many responses have the context and text of an earlier one."""
    return len(responses) - len({(item.context, item.response) for item in responses})


def overlaps(splits: Splits) -> Iterator[Overlap]:
    """What responses of valid, test and test_ood share with responses of train: a judge may know it by heart."""
    keys: dict[str, Callable[[RatedResponse], Hashable]] = {
        "their group": lambda item: item.group,
        "their whole context": lambda item: item.context or None,
        "their text": lambda item: item.response,
    }
    for what, key in keys.items():
        known = {key(item): item.id for item in reversed(splits.train)}
        known.pop(None, None)
        for split in METRIC_PREFIXES:
            shared = [item for item in getattr(splits, split) if key(item) in known]
            if shared:
                yield Overlap(split, what, len(shared), (shared[0].id, known[key(shared[0])]))


def domain_counts(splits: Splits, names: Sequence[str]) -> dict[str, list[int]]:
    """Domain -> number of its responses in each of the splits `names`; the largest domain first."""
    counts = [Counter(item.domain for item in getattr(splits, name)) for name in names]
    total = sum(counts, Counter[str]())
    return {domain: [count[domain] for count in counts] for domain, _ in total.most_common()}


def telling_examples(responses: Sequence[RatedResponse]) -> list[RatedResponse]:
    """Up to three responses: with the largest share of yes over all criteria, then of the others the one with the
    smallest, then the one with the most even votes. Among equals the one with the most votes, then the first.
    """

    def share(item: RatedResponse) -> float:
        return sum(vote.yes for vote in item.votes.values()) / _num_votes(item)

    voted = sorted((item for item in responses if item.votes), key=_num_votes, reverse=True)
    chosen = []
    for distance in (lambda item: -share(item), share, lambda item: abs(share(item) - 0.5)):
        if voted:
            chosen.append(min(voted, key=distance))
            voted.remove(chosen[-1])
    return chosen


def _num_votes(item: RatedResponse) -> int:
    return sum(vote.total for vote in item.votes.values())
