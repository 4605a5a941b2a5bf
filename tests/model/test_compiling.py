import pytest
import torch
from transformers import BertConfig, BertModel

from contrastive_learning.model.compiling import BREAK_EVEN, compile_blocks, pays_to_compile


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
