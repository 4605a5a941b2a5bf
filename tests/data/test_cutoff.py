"""Which tokens the second view of a response does not see."""

import numpy as np
import pytest
import torch

from contrastive_learning.data.cutoff import Cutoff, check_share

CLS, SEP = 1, 2
SAMPLES = [  # tokens of the turns of the context, then of the response
    [[8] * 3, [9] * 4, [5] * 13],
    [[5] * 20],
    [[9] * 30, [5] * 2],
    [[5]],
]


def batch_of(samples, rows):
    inputs = [[CLS, 7, *(token for piece in pieces for token in (*piece, SEP))] for pieces in samples]
    longest = max(map(len, inputs))
    return {
        "input_ids": torch.tensor([tokens + [0] * (longest - len(tokens)) for tokens in inputs]),
        "attention_mask": torch.tensor([[1] * len(tokens) + [0] * (longest - len(tokens)) for tokens in inputs]),
        "index": torch.tensor(rows),
    }


def cutoff(share):
    return Cutoff(share=share, separator=SEP, num_start=2, seed=3)  # CLS and a prefix of one token


@pytest.mark.parametrize("share", [0.05, 0.15, 0.5, 0.9])
def test_the_context_goes_first_and_of_the_response_never_more_than_the_share(share):
    """So many of all tokens but the special ones and the prefix, rounded down."""
    batch = batch_of(SAMPLES, [0, 1, 2, 3])
    mask = cutoff(share).second_mask(batch, epoch=0)
    for pieces, tokens, before, after in zip(SAMPLES, batch["input_ids"], batch["attention_mask"], mask, strict=True):
        cut = tokens[(before == 1) & (after == 0)]
        context, response = sum(map(len, pieces[:-1])), len(pieces[-1])
        assert len(cut) == int(share * (context + response))
        assert (cut == 5).sum() == max(0, len(cut) - context) <= share * response
        assert not torch.isin(cut, torch.tensor([CLS, SEP, 7, 0])).any()
        assert (after <= before).all()


def test_a_response_loses_the_same_tokens_whatever_batch_it_comes_in():
    whole = cutoff(0.15).second_mask(batch_of(SAMPLES, [40, 41, 42, 43]), epoch=1)
    some = cutoff(0.15).second_mask(batch_of([SAMPLES[1], SAMPLES[0]], [41, 40]), epoch=1)
    assert torch.equal(some, whole[[1, 0], : some.shape[1]])


def test_every_epoch_and_response_draws_anew_and_every_token_has_its_turn():
    seen = np.zeros(23)
    masks = [cutoff(0.15).second_mask(batch_of([SAMPLES[1]] * 20, range(20)), epoch) for epoch in range(5)]
    for mask in masks:
        assert len({tuple(row.tolist()) for row in mask}) > 15
        seen += (mask == 0).sum(0).numpy()
    assert not torch.equal(masks[0], masks[1])
    assert not seen[[0, 1, 22]].any()
    assert seen[2:22].min() > 3


@pytest.mark.parametrize(
    ("share", "views", "message"),
    [
        (1.0, 2, "data.view_cutoff must be at least 0 and less than 1, got 1"),
        (-0.1, 2, "data.view_cutoff must be at least 0 and less than 1, got -0.1"),
        (0.15, 1, "data.view_cutoff=0.15 masks tokens of the second view: set trainer.views=2"),
    ],
)
def test_what_it_cannot_do_is_named(share, views, message):
    with pytest.raises(ValueError, match=message):
        check_share(share, views)


def test_a_loader_must_tell_which_responses_it_yields():
    batch = batch_of(SAMPLES, [0, 1, 2, 3])
    del batch["index"]
    with pytest.raises(ValueError, match="needs batches with `index`"):
        cutoff(0.15).second_mask(batch, epoch=0)
