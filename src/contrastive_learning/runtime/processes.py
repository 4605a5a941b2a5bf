"""Several processes, one batch: each encodes its rows, all see all embeddings, so that the losses stay exact.

Every process computes the loss of the joined batch. Its gradient reaches only the rows that the process encoded, so
the sum over processes is the gradient of one process on the joined batch; as the wrappers average over processes,
the rows' gradient is multiplied by their number.
"""

from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

T = TypeVar("T")


@dataclass(frozen=True)
class OnHost:
    """A tensor, as an argument of a wrapped model, that stays where it is, so that reading it makes no one wait.

    DistributedDataParallel moves tensors to its GPU, those in lists, dicts and named tuples too, but looks into no
    other object.
    """

    value: Tensor


def num_processes() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """0 is the main process, the one that writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def broadcast_from_main(value: T) -> T:
    """The value that the main process has, in all processes. The value must be picklable."""
    if num_processes() == 1:
        return value
    shared = [value]
    broadcast_object_list(shared)
    return shared[0]


def check_shardable(model: nn.Module) -> None:
    """Raises ValueError if a batch of this model cannot be divided among the processes."""
    if num_processes() > 1 and any(isinstance(module, nn.BatchNorm1d) for module in model.modules()):
        raise ValueError("model.normalization=batch_norm would see only the rows of one process; use layer_norm")


def gather_columns(columns: list[Tensor]) -> list[Tensor]:
    """The rows of all processes in the order of their ranks, on the CPU; one without rows gives an empty list."""
    if num_processes() == 1:
        return columns
    parts = [part for part in gather_object([columns]) if part]
    return [torch.cat(column) for column in zip(*parts, strict=True)]


def gather_rows(rows: Tensor) -> Tensor:
    """The rows of all processes in the order of their ranks; the numbers of rows may differ. Differentiable."""
    if num_processes() == 1:
        return rows
    gathered: Tensor = _GatherRows.apply(rows)  # type: ignore[no-untyped-call]
    return gathered


class _Context(FunctionCtx):
    own: slice


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, rows: Tensor) -> Tensor:
        counts = [torch.zeros((), dtype=torch.long, device=rows.device) for _ in range(num_processes())]
        dist.all_gather(counts, torch.tensor(len(rows), device=rows.device))
        sizes = [int(count) for count in counts]
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        start = sum(sizes[: rank()])
        ctx.own = slice(start, start + len(rows))
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, grad: Tensor) -> Tensor:
        return grad[ctx.own] * num_processes()
