"""Attention over texts of several lengths that stand in one row, each token seeing only its own text.

query, key, value and what is returned: [tokens, heads, dim]. A token sees those fewer than `window` places away in its
text; None = all.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from contrastive_learning.runtime.devices import random_state, set_random_state
from contrastive_learning.runtime.precision import autocast_off, full_precision

HALF = (torch.bfloat16, torch.float16)
TRIED_LENGTHS = (5, 40, 1, 130)
TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}  # of numbers around 1
NO_KERNEL = "torch has no attention on CUDA with a sliding window and dropout, or in float32"


def attend_on_cpu(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lengths: Sequence[int],
    *,
    dropout: float = 0.0,
    scale: float | None = None,
    window: int | None = None,
) -> Tensor:
    """lengths: tokens of each text. One text after the other: its scores fit the cache, so that this takes less time
    than padding all to one block, groups of similar lengths, or nested tensors.

    With dropout, torch has no fused kernel on CPUs and computes in float32; so does this, in a third of the operations.
    """
    attend = partial(F.scaled_dot_product_attention, scale=scale) if dropout == 0 else partial(_dropped, dropout, scale)
    rows = (query, key, value) if dropout == 0 else (full_precision(each) for each in (query, key, value))
    by_head = (each.transpose(0, 1).unsqueeze(0) for each in rows)  # [1, heads, tokens, dim]
    texts = zip(*(torch.split(each, list(lengths), dim=2) for each in by_head), strict=True)
    with autocast_off(query.device):
        parts = [attend(q, k, v, attn_mask=_near(q, window)) for q, k, v in texts]
        return torch.cat(parts, dim=2)[0].transpose(0, 1).to(query.dtype)


def attend_on_cuda(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    starts: Tensor,
    longest: int,
    *,
    dropout: float = 0.0,
    scale: float | None = None,
    window: int | None = None,
) -> Tensor:
    """starts: [texts + 1], int32, where each text begins and the last one ends; longest: tokens.

    Of what torch ships, varlen_attn knows windows, but neither dropout nor float32, which nested tensors know.
    """
    if dropout == 0 and query.dtype in HALF:
        from torch.nn.attention.varlen import varlen_attn

        near = (-1, -1) if window is None else (window - 1, window - 1)
        found = varlen_attn(query, key, value, starts, starts, longest, longest, scale=scale, window_size=near)
        assert isinstance(found, Tensor)
        return found
    if window is not None:
        raise ValueError(NO_KERNEL)
    offsets = starts.long()
    nested = (
        torch.nested.nested_tensor_from_jagged(each.contiguous(), offsets, min_seqlen=1, max_seqlen=longest)
        for each in (query, key, value)
    )
    q, k, v = (each.transpose(1, 2) for each in nested)  # [texts, heads, tokens of each, dim]
    values: Tensor = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scale).transpose(1, 2).values()
    return values


def why_not_on_cuda(
    heads: int, dim: int, device: torch.device, dtype: torch.dtype, *, dropout: float, window: int | None
) -> str | None:
    """Why `attend_on_cuda` cannot be used; None if it gives what the CPU does, gradients too, and takes dropout."""
    if window is not None and (dropout > 0 or dtype not in HALF):
        return NO_KERNEL
    angles = torch.arange(sum(TRIED_LENGTHS) * heads * dim)
    inputs = [torch.sin(angles * factor).view(-1, heads, dim).to(dtype) for factor in (1.0, 0.7, 1.3)]
    starts = F.pad(torch.tensor(TRIED_LENGTHS).cumsum(0), (1, 0)).int().to(device)
    expected = _with_gradients(lambda q, k, v: attend_on_cpu(q, k, v, TRIED_LENGTHS, window=window), inputs)
    inputs = [each.to(device) for each in inputs]
    longest = max(TRIED_LENGTHS)
    try:
        found = _with_gradients(lambda q, k, v: attend_on_cuda(q, k, v, starts, longest, window=window), inputs)
        if dropout > 0:
            before = random_state(device)
            _with_gradients(lambda q, k, v: attend_on_cuda(q, k, v, starts, longest, dropout=dropout), inputs)
            set_random_state(before, device)
    except (RuntimeError, ValueError, ImportError) as error:
        return f"torch's kernel cannot be used: {str(error).strip().splitlines()[0]}"
    distance = max((one.cpu() - two).abs().max().item() for one, two in zip(found, expected, strict=True))
    return None if distance < TOLERANCES[dtype] else f"torch's kernel differs from the CPU by {distance:.2g}"


def _with_gradients(attend: Any, inputs: Sequence[Tensor]) -> list[Tensor]:
    """What `attend` gives of these inputs, and the gradient of its squares by each: float32."""
    leaves = [each.clone().requires_grad_() for each in inputs]
    found = attend(*leaves).float()
    return [found.detach(), *(grad.float() for grad in torch.autograd.grad(found.square().sum(), leaves))]


def _dropped(
    dropout: float, scale: float | None, query: Tensor, key: Tensor, value: Tensor, *, attn_mask: Tensor | None
) -> Tensor:
    """scaled_dot_product_attention as it is defined. query, key, value: [1, heads, tokens, dim]."""
    scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.transpose(2, 3)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    return F.dropout(scores.softmax(-1), dropout) @ value


def _near(query: Tensor, window: int | None) -> Tensor | None:
    """Which tokens of a text each of them sees, [tokens, tokens]; None = all."""
    length = query.shape[2]
    if window is None or length <= window:
        return None
    places = torch.arange(length, device=query.device)
    return (places - places.unsqueeze(1)).abs() < window
