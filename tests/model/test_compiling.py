import pytest
import torch
from transformers import BertConfig, BertModel

from contrastive_learning import ContrastiveQualityModel
from contrastive_learning.model.compiling import (
    BREAK_EVEN,
    LENGTH_STEP,
    begin_graphs,
    compile_blocks,
    pays_to_compile,
)


@pytest.fixture
def encoder():
    return BertModel(BertConfig(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32))


def test_it_pays_on_a_gpu_from_the_break_even_on(encoder):
    weights = sum(parameter.numel() for parameter in encoder.encoder.parameters())
    enough = int(BREAK_EVEN / (6 * weights)) + 1
    assert pays_to_compile(encoder, torch.device("cuda"), enough)
    assert not pays_to_compile(encoder, torch.device("cuda"), enough - 2)


def test_it_never_pays_on_a_cpu(encoder):
    assert not pays_to_compile(encoder, torch.device("cpu"), 10**18)


def test_each_block_is_compiled_and_nothing_else(encoder):
    compile_blocks(encoder)
    compiled = [name for name, module in encoder.named_modules() if module._compiled_call_impl is not None]
    assert compiled == ["encoder.layer.0", "encoder.layer.1", "encoder.layer.2"]


@pytest.mark.parametrize(("tokens", "padded"), [(1, 16), (16, 16), (17, 32), (40, 40), (41, 41)])
def test_for_graphs_batches_get_few_lengths(encoder, tokens, padded):
    """But none that is longer than the encoder's positions."""
    encoder.config.update({"max_position_embeddings": 41, "pad_token_id": 7})
    input_ids, mask = begin_graphs(encoder, torch.full((2, tokens), 9), torch.ones(2, tokens, dtype=torch.long))
    assert (LENGTH_STEP, input_ids.shape, mask.shape) == (16, (2, padded), (2, padded))
    assert input_ids.tolist() == [[9] * tokens + [7] * (padded - tokens)] * 2
    assert mask.sum(1).tolist() == [tokens] * 2


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_features_of_longer_batches_are_the_same(encoder, pooling):
    """The blocks are compiled when they are called first: not here, where there is no CUDA device."""
    model = ContrastiveQualityModel(num_labels=2, projection_dim=8, pooling=pooling, encoder=encoder).eval()
    batches = [(torch.randint(5, 99, (2, tokens)), torch.ones(2, tokens, dtype=torch.long)) for tokens in (16, 20)]
    expected = [model.encode(*batch) for batch in batches]
    model.compile_encoder(graphs=True)
    for block in model.encoder.encoder.layer:
        block._compiled_call_impl = None
    for batch, features in zip(batches, expected, strict=True):
        torch.testing.assert_close(model.encode(*batch), features, rtol=1e-4, atol=1e-5)
