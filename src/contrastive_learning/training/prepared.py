"""What a run makes of its model before the first step: device, precision, padding, average, compiling, optimizer."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from contrastive_learning.model.compiling import pays_to_compile
from contrastive_learning.model.model import ContrastiveQualityModel
from contrastive_learning.runtime.devices import DTYPES, accelerator, precision_of
from contrastive_learning.runtime.processes import check_shardable
from contrastive_learning.training.averages import WeightAverage, weight_average
from contrastive_learning.training.optimizers import Schedule
from contrastive_learning.training.settings import TrainerSettings


@dataclass(frozen=True)
class Prepared:
    """A model that is ready to train."""

    accelerator: Accelerator
    precision: str  # fp32, bf16, fp16
    model: nn.Module  # on the device; with several processes wrapped
    optimizer: Optimizer
    scheduler: LRScheduler
    average: WeightAverage | None
    padded_because: str | None  # why batches are padded although the settings want none
    compiled: bool


def prepared(
    model: ContrastiveQualityModel,
    settings: TrainerSettings,
    optimizer: Callable[..., Schedule],
    *,
    device: str,
    num_steps: int,
    num_tokens: int | None,
) -> Prepared:
    """num_steps, num_tokens: of all epochs; None: it is not known how many tokens.

    Raises ValueError for a device that is not there, and for what it cannot do.
    """
    used = accelerator(device, settings.precision)
    settings.check_device(used.device.type)
    precision = precision_of(used)
    padded_because = None
    wants_none = settings.padding_free
    if wants_none is None:
        wants_none = used.device.type == "cpu"  # the GPU's kernels have not been timed yet
    model.padding_free = False  # perhaps another trainer, or another device, wanted none
    if wants_none:
        padded_because = model.leave_out_padding(used.device, DTYPES[precision])
    check_shardable(model)
    average = weight_average(settings.weight_average, model, num_steps, used.device)  # a copy: before what follows
    compiled = _is_to_compile(settings, model, used.device, num_tokens)
    if compiled:
        model.compile_encoder(graphs=settings.compile == "graphs")
    schedule = optimizer(model, num_steps)
    ready, stepping = used.prepare(model, schedule[0])
    return Prepared(used, precision, ready, stepping, schedule[1], average, padded_because, compiled)


def _is_to_compile(
    settings: TrainerSettings, model: ContrastiveQualityModel, device: torch.device, num_tokens: int | None
) -> bool:
    """With auto, if it pays."""
    if settings.compile != "auto":
        return bool(settings.compile)
    if num_tokens is None or settings.grad_cache_chunk is not None:
        return False
    return pays_to_compile(model.encoder, device, num_tokens)
