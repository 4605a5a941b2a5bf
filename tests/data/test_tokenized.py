import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from contrastive_learning.data import token_files
from contrastive_learning.data.inputs import encode
from contrastive_learning.data.responses import RatedResponse, Splits, VoteCount
from contrastive_learning.data.tokenized import tokenize
from contrastive_learning.data.with_unjudged import WithUnjudged
from contrastive_learning.model.encoders import ScratchEncoder

TEXTS = ("id", "domain", "context", "response")


def response(index, *, context=("안녕하세요 오늘 날씨 어때요",), text="맑고 따뜻해요"):
    votes = {"clear": VoteCount(index % 4, 3)} | ({"kind": VoteCount(1, 2)} if index % 2 else {})
    return RatedResponse(f"r{index}", "weather", tuple(context), f"{text} {index}", votes, f"g{index}")


class FewResponses:
    """A DataSource of a dozen rows that counts how often it is read."""

    def __init__(self, text="맑고 따뜻해요"):
        self.text, self.loads = text, 0

    def fingerprint(self):
        return f"few {self.text}"

    def load(self):
        self.loads += 1
        rows = [response(index, text=self.text) for index in range(12)]
        return Splits(("clear", "kind"), rows[:8], rows[8:], [], [], ["read anew"])


def scratch():
    return ScratchEncoder(vocab_size=200, hidden_size=16, num_layers=1, num_heads=2, max_positions=64, dropout=0.0)


def tokenized(tmp_path, source, **changes):
    return tokenize(source, scratch(), **({"max_length": 32, "prefix": "", "cache_dir": tmp_path} | changes))


def test_rows_come_back_as_written(tmp_path):
    data = tokenized(tmp_path, FewResponses())
    train = data.splits["train"]
    assert data.criteria == ("clear", "kind")
    assert set(data.splits) == {"train", "valid"}
    assert train.column("id") == [f"r{index}" for index in range(8)]
    assert train.yes_votes.tolist() == [[index % 4, index % 2] for index in range(8)]
    assert train.num_votes.tolist() == [[3, 2 * (index % 2)] for index in range(8)]
    assert data.yes_rates == pytest.approx([12 / 24, 4 / 8])


def test_unjudged_responses_stand_beside_the_splits_and_join_the_batches(tmp_path):
    class More(FewResponses):
        def fingerprint(self):
            return "more"

        def load(self):
            nobody = [replace(response(index), votes={}) for index in (20, 3, 21)]
            nobody[0] = replace(nobody[0], domain="news")
            return replace(super().load(), unjudged=nobody)

    data = tokenized(tmp_path, More())
    assert set(data.splits) == {"train", "valid"}
    assert tokenized(tmp_path, FewResponses()).unjudged is None
    assert data.unjudged.column("id") == ["r20", "r3", "r21"]
    both = WithUnjudged(data.splits["train"], data.unjudged)
    batch = both.collate([1, 9, 5, 10])
    assert batch["index"].tolist() == [1, 5, 9, 10]
    assert batch["num_votes"].tolist() == [[3, 2], [3, 2], [0, 0], [0, 0]]
    domains = both.examples().domains
    assert torch.equal(batch["domains"], torch.from_numpy(domains)[[1, 5, 9, 10]])
    assert len(set(domains.tolist())) == 2  # numbered alike in both
    assert np.flatnonzero(domains != domains[0]).tolist() == [8]  # the only response about news
    for row, (split, index) in enumerate(((both.judged, 1), (both.judged, 5), (both.unjudged, 1), (both.unjudged, 2))):
        alone = split.collate([index])["input_ids"][0].tolist()
        padding = batch["input_ids"].shape[1] - len(alone)
        assert batch["input_ids"][row].tolist() == alone + [both.judged.pad_token_id] * padding
        assert batch["attention_mask"][row].tolist() == [1] * len(alone) + [0] * padding
    assert both.collate([9])["index"].tolist() == [9]
    assert both.collate([2])["index"].tolist() == [2]
    examples = both.examples()
    assert len(both) == len(examples) == 11
    assert examples.texts[9] == examples.texts[3]
    assert len(set(examples.texts.tolist())) == 10
    assert examples.num_votes[8:].sum() == 0


class KnowsOnlyLatin(ScratchEncoder):
    """An encoder whose vocabulary was trained on another script."""

    def tokenizer(self, train_texts):
        return super().tokenizer(["read 0 1 2 3 4 5 6 7 8 9"])


def test_a_split_that_the_encoder_cannot_read_is_remarked_for_later_runs_too(tmp_path):
    encoder = KnowsOnlyLatin(vocab_size=90, hidden_size=16, num_layers=1, num_heads=2, max_positions=64, dropout=0.0)
    settings = {"max_length": 32, "prefix": "", "cache_dir": tmp_path}
    for source in (FewResponses(), FewResponses()):
        first, train, valid = tokenize(source, encoder, **settings).remarks
        assert first == "read anew"
        assert train.startswith("train: ")
        assert "of the tokens are unknown to the encoder ([UNK]), so it cannot read them" in train
        assert valid.startswith("valid: ")
    assert source.loads == 0
    assert tokenized(tmp_path / "own", FewResponses()).remarks == ["read anew"]


def test_collate_pads_on_the_right_to_the_longest(tmp_path):
    train = tokenized(tmp_path, FewResponses()).splits["train"]
    batch = train.collate([3, 0])
    lengths = train.lengths[[3, 0]]
    assert batch["attention_mask"].sum(1).tolist() == lengths.tolist()
    assert batch["input_ids"].shape == (2, lengths.max())
    assert (batch["input_ids"][batch["attention_mask"] == 0] == train.pad_token_id).all()
    assert batch["num_votes"].tolist() == [[3, 2], [3, 0]]


@pytest.mark.parametrize(
    ("num_tokens", "expected"),
    [(12, [[1], [3], [0, 2], [4]]), (20, [[1], [3, 0], [2, 4]]), (1000, [[1, 3, 0, 2, 4]])],
)
def test_batches_of_an_evaluation_hold_so_many_tokens_from_the_longest_response_on(tmp_path, num_tokens, expected):
    """Lengths: 6, 15, 6, 8, 5. The one of 15 tokens is a batch by itself, even where it does not fit."""
    data = tokenized(tmp_path, FewResponses())
    lengths = np.array([6, 15, 6, 8, 5])
    split = data.splits["train"].with_inputs(np.arange(5), [[7] * length for length in lengths])
    found = split.batches_by_length(max_tokens=num_tokens)
    assert [sorted(batch) for batch in found] == [sorted(batch) for batch in expected]
    seen = [
        index
        for batch in replace(data, splits={"valid": split}).held_out_loader("valid", num_tokens)
        for index in batch["index"].tolist()
    ]
    assert seen == [index for batch in found for index in batch]


def test_second_use_maps_the_cache_and_a_change_makes_another(tmp_path):
    source = FewResponses()
    first, second = tokenized(tmp_path, source), tokenized(tmp_path, source)
    assert source.loads == 1
    assert second.remarks == first.remarks == ["read anew"]
    assert second.splits["train"].collate([0])["input_ids"].equal(first.splits["train"].collate([0])["input_ids"])
    tokenized(tmp_path, source, prefix="질문: ")
    tokenized(tmp_path, source, max_length=16)
    assert source.loads == 3


def cut(file):
    os.truncate(file, 100)


def zero(file):
    file.write_bytes(bytes(file.stat().st_size))


@pytest.mark.parametrize("name", ["train.arrow", "train.tokens", "meta.json"])
@pytest.mark.parametrize("damage", [cut, zero, os.remove])
def test_a_damaged_cache_is_made_again(tmp_path, name, damage):
    source = FewResponses()
    before = tokenized(tmp_path, source).splits["train"].collate([5, 2])
    damage(next(tmp_path.glob(f"*/{name}")))
    after = tokenized(tmp_path, source).splits["train"].collate([5, 2])
    assert source.loads == 2
    assert all(after[column].equal(before[column]) for column in before)


def test_what_a_killed_process_was_writing_is_cleared_away(tmp_path):
    tokenized(tmp_path, FewResponses())
    folder = next(path for path in tmp_path.iterdir() if path.is_dir())
    folder.rename(tmp_path / f".writing-{folder.name}")
    assert len(tokenized(tmp_path, FewResponses()).splits["train"]) == 8
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [folder.name]


def test_writing_in_many_pieces_changes_nothing(tmp_path, monkeypatch):
    whole = tokenized(tmp_path / "whole", FewResponses()).splits["train"]
    monkeypatch.setattr(token_files, "ROWS_AT_A_TIME", 3)
    pieces = tokenized(tmp_path / "pieces", FewResponses()).splits["train"]
    assert {name: pieces.column(name) for name in TEXTS} == {name: whole.column(name) for name in TEXTS}
    expected, found = (split.collate(range(8)) for split in (whole, pieces))
    assert all(found[column].equal(expected[column]) for column in expected)


def test_equal_inputs_have_equal_numbers(tmp_path):
    source = FewResponses()
    source.load = lambda: Splits(("clear",), [response(1), response(2), response(1)], [response(3)], [], [])
    first, other, again = tokenized(tmp_path, source).splits["train"].examples().texts
    assert first == again != other


def _load_in_process(folder):
    return len(tokenize(FewResponses(), scratch(), max_length=32, prefix="", cache_dir=folder).splits["train"])


def test_two_processes_share_one_cache(tmp_path):
    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(_load_in_process, [tmp_path, tmp_path])) == [8, 8]
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1


def test_oldest_context_goes_first_and_the_response_last(tmp_path):
    tokenizer = tokenized(tmp_path, FewResponses()).tokenizer
    item = response(1, context=("가장 오래된 말", "오늘 날씨 어때요"))
    whole = encode([item], tokenizer, max_length=64, prefix="")[0]
    separators = [position for position, token in enumerate(whole) if token == tokenizer.sep_token_id]
    assert whole[0] == tokenizer.cls_token_id
    assert len(separators) == 3
    only_newest = encode([item], tokenizer, max_length=len(whole) - separators[0], prefix="")[0]
    assert only_newest == [whole[0], *whole[separators[0] + 1 :]]
    response_length = separators[2] - separators[1]
    no_context = encode([item], tokenizer, max_length=response_length + 1, prefix="")[0]
    assert no_context == [whole[0], *whole[separators[1] + 1 :]]
    cut = encode([item], tokenizer, max_length=len(no_context) - 1, prefix="")[0]
    assert cut == [*no_context[:-2], no_context[-1]]


def test_prefix_stands_after_the_start_token(tmp_path):
    tokenizer = tokenized(tmp_path, FewResponses()).tokenizer
    prefix = tokenizer("오늘", add_special_tokens=False)["input_ids"]
    assert encode([response(0)], tokenizer, max_length=64, prefix="오늘")[0][1 : 1 + len(prefix)] == prefix


def test_votes_fit_their_matrix(tmp_path):
    valid = tokenized(tmp_path, FewResponses()).splits["valid"]
    assert valid.yes_votes.dtype == np.int64
    assert valid.yes_votes.shape == (4, 2)


def test_max_length_has_a_floor(tmp_path):
    with pytest.raises(ValueError, match=r"max_length must be at least 8, got 4"):
        tokenized(tmp_path, FewResponses(), max_length=4)


def test_a_training_sample_is_part_of_any_larger_one(tmp_path):
    whole = tokenized(tmp_path, FewResponses())
    small, larger = (whole.with_training_subset(size, seed=3).splits["train"] for size in (2, 4))
    assert set(small.column("id")) < set(larger.column("id")) <= set(whole.splits["train"].column("id"))
    first = whole.splits["train"].column("id").index(small.column("id")[0])
    assert small.collate([0])["input_ids"].tolist() == whole.splits["train"].collate([first])["input_ids"].tolist()
    assert whole.with_training_subset(None, seed=3) is whole
    with pytest.raises(ValueError, match=r"data.train_examples must be 2..\d+, got 1000"):
        whole.with_training_subset(1000, seed=3)


def test_a_cache_that_cannot_be_made_is_one_line_before_data_are_read(tmp_path):
    notes, source = tmp_path / "notes.txt", FewResponses()
    notes.write_text("not a folder")
    for folder in (notes, notes / "below"):
        with pytest.raises(ValueError, match=f"^data.cache_dir must be a folder, got {folder}: "):
            tokenized(folder, source)
    assert source.loads == 0
    assert notes.read_text() == "not a folder"


@pytest.mark.skipif(os.getuid() == 0, reason="root can write everywhere")
def test_a_cache_that_cannot_be_written_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="^data.cache_dir must be a folder that can be written, got "):
        tokenized(tmp_path, FewResponses())
