"""torch.compile on an encoder, and whether it pays."""

import torch
from torch import nn

BREAK_EVEN = 1.5e17  # FLOP in training: 11 minutes of an H100, of which compiled blocks save the minute that they cost


def compile_blocks(encoder: nn.Module) -> None:
    """torch.compile in place: the weights keep their names. Blocks that are alike are compiled once."""
    for block in _blocks(encoder):
        block.compile(dynamic=True)


def pays_to_compile(encoder: nn.Module, device: torch.device, num_tokens: int) -> bool:
    """Whether training on `num_tokens`, those of all epochs, is long enough. Never on CPUs, where steps get slower.

    6 FLOP per weight of the blocks and token (Kaplan et al. 2020, https://arxiv.org/abs/2001.08361).

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> encoder = BertModel(BertConfig())  # 12 x 768
        >>> pays_to_compile(encoder, torch.device("cuda"), 1_000_000 * 128)
        False
        >>> pays_to_compile(encoder, torch.device("cuda"), 3_000_000 * 128)
        True
    """
    weights = sum(parameter.numel() for block in _blocks(encoder) for parameter in block.parameters())
    return device.type == "cuda" and 6 * weights * num_tokens > BREAK_EVEN


def _blocks(encoder: nn.Module) -> list[nn.Module]:
    stacks = [module for module in encoder.modules() if isinstance(module, nn.ModuleList)]
    return [block for stack in stacks for block in stack] or [encoder]
