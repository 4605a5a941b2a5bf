from dataclasses import replace

from contrastive_learning.data.outline import outline
from contrastive_learning.data.responses import RatedResponse, Splits, VoteCount
from contrastive_learning.data.tokenized import tokenize
from contrastive_learning.model.encoders import ScratchEncoder


class Source:
    """40 training, 32 validation and `num_test` test responses; every fourth training one lacks a vote on `kind`."""

    def __init__(self, num_test, votes=3, more=()):
        self.num_test, self.votes, self.more = num_test, votes, more

    def fingerprint(self):
        return f"outline {self.num_test} {self.votes} {self.more}"

    def load(self):
        rows = [self._response(index) for index in range(72 + self.num_test)]
        return Splits(("clear", "kind", *self.more), rows[:40], rows[40:72], rows[72:], [], [])

    def _response(self, index):
        votes = {"clear": VoteCount(self.votes if index % 2 else 0, self.votes)}
        if index % 4 or index >= 40:
            votes["kind"] = VoteCount(1, 1)
        votes |= dict.fromkeys(self.more, VoteCount(1, 1))
        return RatedResponse(f"r{index}", "weather", (), f"맑고 따뜻해요 {index}", votes, f"g{index}")


FEW = "warning: too few judged responses for steady thresholds and figures"


def without_kind(response):
    return replace(response, votes={"clear": response.votes["clear"]})


def of(source, folder):
    encoder = ScratchEncoder(vocab_size=200, hidden_size=16, num_layers=1, num_heads=2, max_positions=64, dropout=0.0)
    return outline(tokenize(source, encoder, max_length=32, prefix="", cache_dir=folder))


def test_sizes_votes_and_yes_rates_take_two_lines(tmp_path):
    """40 + 32 + 30 responses have 3 votes of clear, 102 - 10 of them one of kind: (306 + 92) / 194 = 2.05 each."""
    assert of(Source(30), tmp_path) == [
        "data: train 40, valid 32, test 30 responses; 2 criteria; 2.1 (1-3) votes each",
        "yes in train: clear 50%, kind 100%",
    ]


def test_many_yes_rates_are_wrapped(tmp_path):
    names = [f"a criterion with a long name {index}" for index in range(9)]
    _, *lines = of(Source(30, more=tuple(names)), tmp_path)
    assert len(lines) > 3
    assert max(map(len, lines)) <= 100
    rates = ["clear 50%", "kind 100%", *(f"{name} 100%" for name in names)]
    assert " ".join(map(str.strip, lines)) == f"yes in train: {', '.join(rates)}"


def test_a_split_too_small_for_thresholds_is_named(tmp_path):
    first, _, warning = of(Source(29, votes=1), tmp_path)
    assert first.endswith("; 1 vote each")
    assert warning == f"{FEW}: test has 29 of each criterion"


def test_every_criterion_with_too_few_is_named(tmp_path):
    source = Source(40)
    source.load = lambda: replace(Source(40).load(), test=[*map(without_kind, Source(40).load().test)])
    assert of(source, tmp_path)[-1] == f"{FEW}: test has 0 of kind"
