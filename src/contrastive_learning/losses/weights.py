"""Weights per criterion: checked once, applied as weighted means over what takes part."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor


def check_weights(name: str, weights: Sequence[float] | None) -> tuple[float, ...] | None:
    if weights is None:
        return None
    try:
        checked = tuple(float(weight) for weight in weights)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a list with one number per criterion, got {weights}") from None
    if not all(math.isfinite(weight) and weight >= 0 for weight in checked) or not any(checked):
        raise ValueError(f"{name} must be >= 0 and not all 0, got {list(checked)}")
    return checked


def mean_weights(taking_part: Tensor, weights: Sequence[float] | None, dtype: torch.dtype) -> Tensor:
    """Turn a sum over [..., criteria] into the weighted mean over what takes part; all 0 if nothing does."""
    weight = taking_part.to(dtype)
    if weights is not None:
        weight = weight * criterion_tensor("criterion_weights", weights, weight)
    return weight / weight.sum().clamp_min(torch.finfo(dtype).tiny)


def criterion_tensor(name: str, weights: Sequence[float], values: Tensor) -> Tensor:
    """The weights as a tensor [criteria] of the type and device of `values`, whose last dimension they must fit."""
    if len(weights) != values.shape[-1]:
        raise ValueError(
            f"{name} must have one weight per criterion, got {len(weights)} for {values.shape[-1]} criteria"
        )
    return constant(tuple(weights), values.dtype, values.device)


@cache
def constant(values: tuple[Any, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """The numbers, or tuples of numbers, as a tensor, not to be changed: made once, as each copy waits for a GPU."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)
