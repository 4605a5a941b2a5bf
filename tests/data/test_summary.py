"""The numbers of the report on judged data."""

from itertools import permutations

import pytest

from contrastive_learning.data.inputs import encode
from contrastive_learning.data.responses import RatedResponse, Splits, VoteCount
from contrastive_learning.data.summary import (
    domain_counts,
    input_lengths,
    num_repeats,
    overlaps,
    telling_examples,
    vote_facts,
)
from contrastive_learning.model import ScratchEncoder


def rated(name, yes=1, total=2, *, context=("오늘 날씨 어때요",), response="맑아요", group=None, domain="d"):
    votes = {"clear": VoteCount(yes, total)} if total else {}
    return RatedResponse(name, domain, tuple(context), response, votes, group or name)


def alpha_by_pairs(counts):
    """1 - observed / expected disagreement, each counted over ordered pairs of votes (Krippendorff 2011)."""
    units = [[1] * yes + [0] * (total - yes) for yes, total in counts if total > 1]
    values = [vote for unit in units for vote in unit]
    observed = sum(sum(a != b for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in units) / len(values)
    expected = sum(a != b for a, b in permutations(values, 2)) / (len(values) * (len(values) - 1))
    return 1 - observed / expected


def test_agreement_is_krippendorffs_alpha_also_with_unequal_numbers_of_votes():
    counts = [(3, 3), (2, 3), (0, 2), (1, 2), (4, 5), (0, 3), (1, 1)]
    facts = vote_facts([rated(str(index), *count) for index, count in enumerate(counts)], "clear")
    assert facts.agreement == pytest.approx(alpha_by_pairs(counts))
    assert facts.num_judged == 7
    assert facts.num_votes == (1, pytest.approx(19 / 7), 5)
    assert facts.yes_rate == pytest.approx(11 / 19)
    assert facts.split_rate == 3 / 6  # a single vote cannot be split
    assert facts.num_minority == 2  # (0, 2) and (0, 3); (1, 2) is on neither side


@pytest.mark.parametrize("counts", [[(1, 1), (0, 1)], [(3, 3), (2, 2)], []])
def test_agreement_is_undefined_without_pairs_or_if_all_votes_are_the_same(counts):
    facts = vote_facts([rated(str(index), *count) for index, count in enumerate(counts)], "clear")
    assert facts.agreement != facts.agreement  # NaN
    assert vote_facts([rated("a")], "kind").num_judged == 0


def test_lengths_are_those_without_a_limit():
    responses = [rated("short"), rated("long", context=("안녕 " * 9, "오늘")), rated("text", response="맑아요 " * 40)]
    scratch = ScratchEncoder(vocab_size=90, hidden_size=16, num_layers=1, num_heads=2, max_positions=32, dropout=0.0)
    tokenizer = scratch.tokenizer(["안녕 오늘 날씨 어때요 맑아요"])
    whole = [len(row) for row in encode(responses, tokenizer, max_length=10_000, prefix="q: ")]
    limit = whole[0] + 1
    lengths = input_lengths(responses, tokenizer, max_length=limit, prefix="q: ")
    assert lengths.tokens.tolist() == whole
    assert whole[0] < limit < min(whole[1:])
    assert (lengths.num_cut, lengths.num_cut_responses) == (2, 1)


def test_what_held_out_responses_share_with_train_is_named():
    train = [rated("t1", response="눈"), rated("t2", context=(), response="비"), rated("t3", context=("a", "b"))]
    valid = [rated("v1", context=("a", "b"), response="해"), rated("v2", context=(), response="비", group="t2")]
    test = [rated("w1", context=(), response="달"), rated("w2", context=("a",), response="별")]
    found = list(overlaps(Splits(("clear",), train, valid, test, [])))
    assert [(item.split, item.what, item.count, item.example) for item in found] == [
        ("valid", "their group", 1, ("v2", "t2")),
        ("valid", "their whole context", 1, ("v1", "t3")),
        ("valid", "their text", 1, ("v2", "t2")),
    ]  # no context at all is not shared


def test_repeats_and_domains_are_counted():
    train = [rated("a"), rated("b"), rated("c", response="비"), rated("d", domain="e", context=())]
    assert num_repeats(train) == 1
    splits = Splits(("clear",), train, [rated("f", domain="e")], [], [])
    assert domain_counts(splits, ["train", "valid"]) == {"d": [3, 0], "e": [1, 1]}


def test_the_examples_are_the_best_the_worst_and_the_most_disputed():
    responses = [
        rated("a", 1, 2),
        rated("b", 2, 2),
        rated("c", 2, 4),
        rated("d", 3, 3),
        rated("e", 0, 1),
        rated("f", 0, 0),
    ]
    assert [item.id for item in telling_examples(responses)] == ["d", "e", "c"]
    assert [item.id for item in telling_examples(responses[:1])] == ["a"]
    assert telling_examples(responses[-1:]) == []
