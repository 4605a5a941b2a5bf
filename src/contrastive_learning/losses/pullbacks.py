"""Functions that return their value together with its pullback, as one node of the autograd graph.

A pullback takes the gradient of the value and returns that of the input. The few steps of a contrastive loss are
chained by hand: one autograd node for each would cost more than their arithmetic at usual batch sizes.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from contrastive_learning.runtime.precision import autocast_off

Pullback = Callable[[Tensor], Tensor]
SMALLEST_NORM = 1e-8


def differentiable(function: Callable[[Tensor], tuple[Tensor, Pullback]], x: Tensor) -> Tensor:
    """The value of function(x), as one node whose gradient is the pullback that the function returns with it."""
    value: Tensor = _Node.apply(x, function)  # type: ignore[no-untyped-call]
    return value


def normalise(x: Tensor, norms: Tensor) -> tuple[Tensor, Pullback]:
    """Rows of x [batch, dim] divided by their norms [batch, 1], at least by 1e-8."""
    scale = norms.clamp_min(SMALLEST_NORM)
    z = x / scale

    def pullback(grad: Tensor) -> Tensor:
        along = (z * grad).sum(1, keepdim=True).where(norms >= SMALLEST_NORM, 0.0)
        return torch.addcmul(grad, z, along, value=-1).div_(scale)

    return z, pullback


class _Context(FunctionCtx):
    pullback: Pullback


class _Node(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, x: Tensor, function: Callable[[Tensor], tuple[Tensor, Pullback]]) -> Tensor:
        value, ctx.pullback = function(x.detach())
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor, None]:
        with autocast_off(grad.device):
            return ctx.pullback(grad), None
