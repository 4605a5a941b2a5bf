"""A batch in passes by length against the same batch at once."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from contrastive_learning.model.passes import cut, encode_in_passes, passes_of, positions
from support.small_task import build_trainer, losses_of, tiny_model

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=60)
LIMITS = st.one_of(st.none(), st.integers(1, 200))


@given(LENGTHS, LIMITS, LIMITS)
def test_each_row_is_in_one_pass_and_no_pass_is_too_large(lengths, max_rows, max_tokens):
    passes = passes_of(lengths, max_rows=max_rows, max_tokens=max_tokens)
    assert sorted(row for each in passes for row in each.rows.tolist()) == list(range(len(lengths)))
    for each in passes:
        assert each.num_tokens == max(lengths[row] for row in each.rows.tolist())
        assert max_rows is None or len(each.rows) <= max_rows
        assert max_tokens is None or len(each.rows) == 1 or len(each.rows) * each.num_tokens <= max_tokens
    if max_rows is None and max_tokens is None:
        assert len(passes) == 1
    rows = torch.cat([each.rows for each in passes])
    assert rows[positions(passes)].tolist() == list(range(len(lengths)))


def test_long_rows_are_not_padded_by_longer_ones():
    passes = passes_of([3, 9, 3, 8, 3], max_rows=None, max_tokens=18)
    assert [(each.rows.tolist(), each.num_tokens) for each in passes] == [([1, 3], 9), ([0, 2, 4], 3)]


@pytest.mark.parametrize("max_tokens", [1, 20, 37, 1000])
def test_the_encoder_gives_the_same_in_passes(max_tokens):
    torch.manual_seed(0)
    model = tiny_model(dropout=0.0).double()
    lengths = [5, 16, 1, 9, 9, 12, 3]
    is_token = torch.arange(16) < torch.tensor(lengths)[:, None]
    input_ids = torch.randint(5, 40, (7, 16)) * is_token
    passes = passes_of(lengths, max_rows=None, max_tokens=max_tokens)
    found = encode_in_passes(model.encode, input_ids, is_token.long(), passes)
    torch.testing.assert_close(found, model.encode(input_ids, is_token.long()), rtol=0, atol=1e-12)
    assert all(cut(each, input_ids)[0].shape == (len(each.rows), each.num_tokens) for each in passes)


@pytest.mark.parametrize("changes", [{"tokens_per_pass": 40}, {"tokens_per_pass": 40, "grad_cache_chunk": 5}])
def test_trains_as_without_it_where_there_is_no_dropout(tmp_path, device, changes):
    common = {"epochs": 2, "dropout": 0.0, "device": device, "precision": "fp32"}
    plain = losses_of(build_trainer(tmp_path / "plain", **common).fit())
    trainer, sizes = build_trainer(tmp_path / "passes", **common, **changes), set()
    trainer.model.encoder.register_forward_pre_hook(
        lambda module, arguments, inputs: sizes.add(inputs["input_ids"].numel() if module.training else 0),
        with_kwargs=True,
    )
    in_passes = losses_of(trainer.fit())
    assert max(sizes) <= 40 < 16 * 6
    torch.testing.assert_close(torch.tensor(in_passes), torch.tensor(plain), rtol=1e-4, atol=1e-5)


def test_a_batch_that_must_be_padded_exceeds_no_pass_and_loses_no_token(tmp_path):
    """Padded on the left it does not fit in a row: a pass of 12 tokens holds two responses of six places."""
    mask = torch.arange(6).flip(0) < torch.tensor([6, 3, 2, 6, 1, 4, 5, 2])[:, None]
    votes = {"yes_votes": torch.tensor([[3.0, 0.0], [0.0, 3.0]] * 4), "num_votes": torch.full((8, 2), 3.0)}
    input_ids = torch.randint(5, 40, mask.shape, generator=torch.Generator().manual_seed(0))
    batch = {"input_ids": input_ids * mask, "attention_mask": mask.long(), **votes}
    found, shapes = {}, []
    for most in (None, 12):
        trainer = build_trainer(tmp_path, dropout=0.0, tokens_per_pass=most)
        assert trainer.model.padding_free
        trainer.model.encoder.register_forward_pre_hook(
            lambda *event: shapes.append(event[2]["input_ids"].shape), with_kwargs=True
        )
        found[most] = trainer._step.backward(batch, 0, 0, 1).embeddings
    assert shapes == [(8, 6), *[(2, 6)] * 4]
    torch.testing.assert_close(found[12], found[None])
