from pathlib import Path

import numpy as np
import pytest

from contrastive_learning.data.disturbed import MOST_RESPONSES, disturbed
from contrastive_learning.data.sample import SampleData
from contrastive_learning.data.tokenized import tokenize
from contrastive_learning.model.encoders import ScratchEncoder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    encoder = ScratchEncoder(vocab_size=400, hidden_size=16, num_layers=1, num_heads=2, max_positions=400, dropout=0.1)
    source = SampleData(
        train_size=300, valid_size=80, test_size=20, test_ood_size=20, held_out_topic="여행, 여가, 취미", seed=0
    )
    folder = Path(tmp_path_factory.mktemp("cache"))
    return tokenize(source, encoder, max_length=400, prefix="", cache_dir=folder)


def test_the_rows_have_split_votes_and_are_spread_evenly(data):
    split = data.splits["train"]
    found = disturbed(split, data.tokenizer, max_length=400, prefix="")
    assert 0 < len(found.rows) <= MOST_RESPONSES
    assert len({int(row) * 4 // len(split) for row in found.rows}) == 4
    assert (((split.yes_votes > 0) & (split.yes_votes < split.num_votes)).any(1)[found.rows]).all()


def test_each_row_is_there_as_it_is_and_after_each_edit_that_changes_it(data):
    split = data.splits["valid"]
    found = disturbed(split, data.tokenizer, max_length=400, prefix="")
    as_it_is = inputs_by_row(found.rows, found.batches)
    assert as_it_is == {row: split.collate([row])["input_ids"][0].tolist() for row in found.rows}
    assert len(found.edits) == 4
    for rows, batches in found.edits:
        changed = inputs_by_row(rows, batches)
        assert set(changed) <= set(as_it_is)
        assert all(changed[row] != as_it_is[row] for row in changed)
        for batch in batches:
            places = batch["index"].numpy()
            assert batch["yes_votes"].tolist() == split.yes_votes[rows[places]].tolist()


def test_an_edit_that_max_length_cuts_off_is_none(data):
    """Of 16 tokens, those of the context and of the end of a long response are cut off."""
    found = disturbed(data.splits["valid"], data.tokenizer, max_length=16, prefix="")
    assert sum(len(rows) for rows, _ in found.edits) < len(found.rows)


def test_a_split_without_split_votes_has_nothing_to_disturb(data):
    split = data.splits["valid"]
    unanimous = split.of(np.flatnonzero(~((split.yes_votes > 0) & (split.yes_votes < split.num_votes)).any(1)))
    assert len(disturbed(unanimous, data.tokenizer, max_length=400, prefix="").rows) == 0


def inputs_by_row(rows, batches):
    found = {}
    for batch in batches:
        for place, tokens, mask in zip(batch["index"], batch["input_ids"], batch["attention_mask"], strict=True):
            found[rows[place]] = tokens[mask.bool()].tolist()
    return found
