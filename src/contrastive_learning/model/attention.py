"""Attention over texts of several lengths that stand in one row, each token seeing only its own text.

query, key, value and what is returned: [tokens, heads, dim]. A token sees those fewer than `window` places away in its
text; None = all.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from contrastive_learning.model.dropout import kept
from contrastive_learning.runtime.devices import random_state, set_random_state
from contrastive_learning.runtime.precision import autocast_off, full_precision

HALF = (torch.bfloat16, torch.float16)
MOST_SCORES = 2**17  # at once, in float32: they and what is made of them stay in a core's cache
TRIED_LENGTHS = (5, 40, 1, 130)
TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}  # of numbers around 1
NO_KERNEL = "torch has no attention on CUDA with a sliding window and dropout, or in float32"


class Runs:
    """Texts of a row by their lengths: neighbours of one length, up to MOST_SCORES, are attended to together.

    lengths: tokens of each text, best sorted; tokens: of the row, which may end with some of no text.
    """

    def __init__(self, lengths: Sequence[int], heads: int, tokens: int | None = None) -> None:
        self.shapes: list[tuple[int, int]] = []  # of each run: texts, tokens of each
        for length, run in groupby(lengths):
            texts, most = len(list(run)), max(1, MOST_SCORES // (heads * length * length))
            self.shapes += [(min(most, texts - start), length) for start in range(0, texts, most)]
        real = sum(lengths)
        self.sizes = [texts * length for texts, length in self.shapes] + [(tokens or real) - real]
        self.heads = heads

    @cached_property
    def by_head(self) -> tuple[Tensor, Tensor]:
        """Where the parts [dim] of a row [tokens x heads, dim] come from when those of each head stand together in
        their text, and when they go back: [tokens x heads] each.
        """
        places = torch.arange(sum(self.sizes) * self.heads)
        *parts, rest = torch.split(places, [size * self.heads for size in self.sizes])
        shaped = [part.view(*shape, self.heads) for part, shape in zip(parts, self.shapes, strict=True)]
        there = torch.cat([*(each.transpose(1, 2).flatten() for each in shaped), rest])
        return there, torch.empty_like(there).scatter_(0, there, places)


def attend_on_cpu(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    runs: Runs,
    *,
    dropout: float = 0.0,
    scale: float | None = None,
    window: int | None = None,
) -> Tensor:
    """Tokens of no text get zeros. With dropout, torch has no fused kernel on CPUs and computes in float32; so does
    `_Dropped`, in half the time.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    with autocast_off(query.device):
        if dropout > 0:
            dropped: Tensor = _Dropped.apply(  # type: ignore[no-untyped-call]
                query, key, value, runs, dropout, scale, window
            )
            return dropped
        attended = []
        *parts, (rest, *_) = zip(*(torch.split(each, runs.sizes) for each in (query, key, value)), strict=True)
        for (texts, length), part in zip(runs.shapes, parts, strict=True):
            q, k, v = (each.view(texts, length, *query.shape[1:]).transpose(1, 2) for each in part)
            block = F.scaled_dot_product_attention(q, k, v, attn_mask=_near(q, window), scale=scale)
            attended.append(block.transpose(1, 2).flatten(0, 1))
        return torch.cat([*attended, torch.zeros_like(rest)])


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
    nested: bool = False,
) -> Tensor:
    """starts: [texts + 1], int32, where each text begins and the last one ends; longest: tokens.

    Of what torch ships, varlen_attn knows windows, but neither dropout nor float32, which nested tensors know. nested:
    take these in any case.
    """
    if dropout == 0 and query.dtype in HALF and not nested:
        from torch.nn.attention.varlen import varlen_attn

        near = (-1, -1) if window is None else (window - 1, window - 1)
        found = varlen_attn(query, key, value, starts, starts, longest, longest, scale=scale, window_size=near)
        assert isinstance(found, Tensor)
        return found
    if window is not None:
        raise ValueError(NO_KERNEL)
    offsets = starts.long()
    jagged = (
        torch.nested.nested_tensor_from_jagged(each.contiguous(), offsets, min_seqlen=1, max_seqlen=longest)
        for each in (query, key, value)
    )
    q, k, v = (each.transpose(1, 2) for each in jagged)  # [texts, heads, tokens of each, dim]
    values: Tensor = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scale).transpose(1, 2).values()
    return values


def why_not_on_cuda(
    heads: int, dim: int, device: torch.device, dtype: torch.dtype, *, dropout: float, window: int | None
) -> str | None:
    """Why `attend_on_cuda` cannot be used; None if each kernel that it takes, in training with `dropout` and without in
    an evaluation, gives what the CPU does, gradients too, and runs with dropout.
    """
    if window is not None and (dropout > 0 or dtype not in HALF):
        return NO_KERNEL
    angles = torch.arange(sum(TRIED_LENGTHS) * heads * dim)
    inputs = [torch.sin(angles * factor).view(-1, heads, dim).to(dtype) for factor in (1.0, 0.7, 1.3)]
    starts = F.pad(torch.tensor(TRIED_LENGTHS).cumsum(0), (1, 0)).int().to(device)
    runs = Runs(TRIED_LENGTHS, heads)
    expected = _with_gradients(lambda q, k, v: attend_on_cpu(q, k, v, runs, window=window), inputs)
    inputs = [each.to(device) for each in inputs]
    longest = max(TRIED_LENGTHS)
    attend = partial(attend_on_cuda, starts=starts, longest=longest)
    try:
        for nested in (True, False) if dropout > 0 else (False,):  # training under dropout takes the nested ones
            pairs = zip(_with_gradients(partial(attend, window=window, nested=nested), inputs), expected, strict=True)
            distance = torch.stack([(one.cpu() - two).abs().max() for one, two in pairs]).max().item()
            if not distance < TOLERANCES[dtype]:
                return f"torch's kernel differs from the CPU by {distance:.2g}"
        if dropout > 0:
            before = random_state(device)
            _with_gradients(partial(attend, dropout=dropout), inputs)
            set_random_state(before, device)
    except (RuntimeError, ValueError, ImportError) as error:
        return f"torch's kernel cannot be used: {str(error).strip().splitlines()[0]}"
    return None


def _with_gradients(attend: Any, inputs: Sequence[Tensor]) -> list[Tensor]:
    """What `attend` gives of these inputs, and the gradient of its squares by each: float32."""
    leaves = [each.clone().requires_grad_() for each in inputs]
    found = attend(*leaves).float()
    return [found.detach(), *(grad.float() for grad in torch.autograd.grad(found.square().sum(), leaves))]


class _Dropped(torch.autograd.Function):
    """scaled_dot_product_attention with dropout as it is defined, of so few texts that their scores stay in the cache.

    query, key, value and what is returned: [tokens, heads, dim].
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        runs: Runs,
        dropout: float,
        scale: float,
        window: int | None,
    ) -> Tensor:
        columns = [_by_head(each, runs) for each in (query, key, value)]
        columns[0] *= scale
        attended, saved = _rest_zero(columns[0], runs), []
        for q, k, v, out in _blocks(runs, *columns, attended):
            scores, near = torch.bmm(q, k.transpose(1, 2)), _near(q, window)  # [texts x heads, length, length]
            weights = (scores if near is None else scores.masked_fill_(~near, -torch.inf)).softmax(-1)
            dropped = kept(scores, dropout).mul_(weights)
            torch.bmm(dropped, v, out=out)
            saved += [weights, dropped]
        ctx.save_for_backward(*columns, *saved)
        ctx.runs, ctx.kept, ctx.scale, ctx.dtype = runs, 1 - dropout, scale, query.dtype
        return _in_row(attended.div_(1 - dropout), runs, query.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        saved_tensors: tuple[Tensor, ...] = ctx.saved_tensors  # once: gradient checkpointing allows no more
        columns = saved_tensors[:3]
        gradient = _by_head(gradients[0], ctx.runs).div_(ctx.kept)
        found = [_rest_zero(each, ctx.runs) for each in columns]
        blocks, saved = _blocks(ctx.runs, *columns, gradient, *found), iter(saved_tensors[3:])
        for (q, k, v, by_out, by_q, by_k, by_v), weights, dropped in zip(blocks, saved, saved, strict=False):
            by_scores = torch.bmm(by_out, v.transpose(1, 2)).mul_(dropped)
            by_scores.addcmul_(weights, by_scores.sum(-1, keepdim=True), value=-1)
            torch.bmm(by_scores, k, out=by_q)
            torch.bmm(by_scores.transpose(1, 2), q, out=by_k)
            torch.bmm(dropped.transpose(1, 2), by_out, out=by_v)
        found[0] *= ctx.scale
        return *(_in_row(each, ctx.runs, ctx.dtype) for each in found), None, None, None, None


def _by_head(row: Tensor, runs: Runs) -> Tensor:
    """[tokens, heads, dim] in the order of `Runs.by_head`, float32 or float64: [tokens x heads, dim]."""
    return full_precision(row.reshape(-1, row.shape[-1]).index_select(0, runs.by_head[0]))  # moved while it is small


def _rest_zero(like: Tensor, runs: Runs) -> Tensor:
    """Room for what `like` holds; the places of no text are zero."""
    room = torch.empty_like(like)
    room[len(room) - runs.sizes[-1] * runs.heads :] = 0
    return room


def _in_row(parts: Tensor, runs: Runs, dtype: torch.dtype) -> Tensor:
    """What `_by_head` was given."""
    return parts.to(dtype).index_select(0, runs.by_head[1]).view(-1, runs.heads, parts.shape[-1])


def _blocks(runs: Runs, *columns: Tensor) -> Iterator[list[Tensor]]:
    """For each run its part of each column [tokens x heads, dim], as views [texts x heads, length, dim]."""
    sizes = [size * runs.heads for size in runs.sizes]
    parts = zip(*(torch.split(column, sizes) for column in columns), strict=True)
    for (texts, length), part in zip(runs.shapes, parts, strict=False):
        yield [each.view(texts * runs.heads, length, -1) for each in part]


def _near(query: Tensor, window: int | None) -> Tensor | None:
    """Which tokens of a text each of them sees, [tokens, tokens]; None = all."""
    length = query.shape[-2]
    if window is None or length <= window:
        return None
    places = torch.arange(length, device=query.device)
    return (places - places.unsqueeze(1)).abs() < window
