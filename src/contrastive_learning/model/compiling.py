"""torch.compile on an encoder, whether it pays, and CUDA graphs of the compiled blocks.

A small batch takes a GPU less time than its launches take the CPU. A CUDA graph is launched once for all kernels of a
block, but fits one shape only: batches are then padded to a few lengths.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LENGTH_STEP = 16  # tokens
GRAPHS = {"triton.cudagraphs": True, "triton.cudagraph_dynamic_shape_warn_limit": None}  # one per shape is what we want
BREAK_EVEN = 1.5e17  # FLOP in training: 11 minutes of an H100, of which compiled blocks save the minute that they cost


def compile_blocks(encoder: nn.Module, *, graphs: bool = False) -> None:
    """torch.compile in place: the weights keep their names. Blocks that are alike are compiled once.

    graphs: with CUDA graphs, which a CPU ignores; call `begin_graphs` before each call of the encoder.
    """
    for block in _blocks(encoder):
        block.compile(dynamic=True, options=GRAPHS if graphs else None)


def begin_graphs(encoder: Any, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Both [batch, tokens], padded to a multiple of LENGTH_STEP tokens if the encoder has so many positions.

    What the graphs of the last call returned is no longer valid.
    """
    torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
    missing = -input_ids.shape[1] % LENGTH_STEP
    if input_ids.shape[1] + missing > getattr(encoder.config, "max_position_embeddings", torch.inf):
        missing = 0
    padding = getattr(encoder.config, "pad_token_id", None) or 0
    return F.pad(input_ids, (0, missing), value=padding), F.pad(attention_mask, (0, missing))


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
