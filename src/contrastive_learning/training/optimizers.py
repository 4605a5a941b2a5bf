"""Optimizers with parameter groups and a learning-rate schedule for fine-tuning.

Each function builds (optimizer, scheduler) for `num_steps` optimizer steps.
"""

import re
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import Adafactor, get_scheduler

from contrastive_learning.choices import check_choice

SCHEDULES = ("linear", "cosine", "constant_with_warmup")
Schedule = tuple[Optimizer, LRScheduler]


def adamw(
    model: nn.Module,
    num_steps: int,
    *,
    lr: float,
    head_lr: float,
    weight_decay: float,
    layer_decay: float,
    betas: tuple[float, float],
    eps: float,
    warmup_ratio: float,
    schedule: str,
) -> Schedule:
    """Fused AdamW (Loshchilov & Hutter 2019)."""
    groups = parameter_groups(model, lr=lr, head_lr=head_lr, weight_decay=weight_decay, layer_decay=layer_decay)
    optimizer = torch.optim.AdamW(groups, betas=(betas[0], betas[1]), eps=eps, fused=True)
    return optimizer, _scheduler(optimizer, num_steps, warmup_ratio, schedule)


def adafactor(
    model: nn.Module,
    num_steps: int,
    *,
    lr: float,
    head_lr: float,
    weight_decay: float,
    layer_decay: float,
    warmup_ratio: float,
    schedule: str,
) -> Schedule:
    """Adafactor (Shazeer & Stern 2018) with an external schedule: second moments in O(rows + columns) memory."""
    groups = parameter_groups(model, lr=lr, head_lr=head_lr, weight_decay=weight_decay, layer_decay=layer_decay)
    optimizer = Adafactor(groups, lr=lr, scale_parameter=False, relative_step=False, warmup_init=False)
    return optimizer, _scheduler(optimizer, num_steps, warmup_ratio, schedule)


def sgd(
    model: nn.Module,
    num_steps: int,
    *,
    lr: float,
    head_lr: float,
    weight_decay: float,
    layer_decay: float,
    momentum: float,
    warmup_ratio: float,
    schedule: str,
) -> Schedule:
    groups = parameter_groups(model, lr=lr, head_lr=head_lr, weight_decay=weight_decay, layer_decay=layer_decay)
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum)
    return optimizer, _scheduler(optimizer, num_steps, warmup_ratio, schedule)


def parameter_groups(
    model: nn.Module, *, lr: float, head_lr: float, weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Encoder parameters at `lr`, all others at `head_lr`; no decay on vectors (biases, norms).

    `layer_decay` multiplies the encoder's lr once per layer from the top down (Howard & Ruder 2018); 1 = off.
    """
    check_rates(lr, head_lr, layer_decay)
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    num_layers = 1 + max((_layer(name) for name in names), default=0)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            in_encoder = name.startswith("encoder.")
            rate = lr * layer_decay ** (num_layers - 1 - _layer(name)) if in_encoder else head_lr
            decay = weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]


def check_rates(lr: float, head_lr: float, layer_decay: float) -> None:
    """Raises ValueError for options that `parameter_groups` cannot take; needs no model, and loads nothing slow."""
    for name, value in (("lr", lr), ("head_lr", head_lr)):
        if not value > 0:
            raise ValueError(f"optimizer.{name} must be positive, got {value}")
    if not 0 < layer_decay <= 1:
        raise ValueError(f"optimizer.layer_decay must be in (0, 1], got {layer_decay}")


def check_schedule(schedule: str, warmup_ratio: float) -> None:
    """Raises ValueError for options that no schedule can have."""
    check_choice("optimizer.schedule", schedule, SCHEDULES)
    if not 0 <= warmup_ratio < 1:
        raise ValueError(f"optimizer.warmup_ratio must be in [0, 1), got {warmup_ratio}")


def _layer(name: str) -> int:
    """0 for token embeddings, k + 1 for transformer layer k."""
    found = re.search(r"\blayers?\.(\d+)\.", name)
    return int(found.group(1)) + 1 if found else 0


def _scheduler(optimizer: Optimizer, num_steps: int, warmup_ratio: float, schedule: str) -> LRScheduler:
    check_schedule(schedule, warmup_ratio)
    scheduler: LRScheduler = get_scheduler(schedule, optimizer, int(warmup_ratio * num_steps), num_steps)
    return scheduler
