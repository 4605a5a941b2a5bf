"""The mean of the weights over training steps: what is then evaluated, chosen and exported instead of the last weights.

ema    after each step, average = d average + (1 - d) weights, with d = 1 - 10 / steps of the whole run: about the last
       tenth of the run counts, the later the more. The first step's weights are the first average.
tail   the plain mean of the weights after each step of the second half of the run (SWA, Izmailov et al. 2018, but of
       each step, as in SWAD, Cha et al. 2021). In the first half there is none.

Buffers, such as the statistics of batch normalisation, are those of the last step.

Izmailov et al. 2018: https://arxiv.org/abs/1803.05407, Cha et al. 2021: https://arxiv.org/abs/2102.08604
"""

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

WEIGHT_AVERAGES = ("none", "ema", "tail")
EMA_SHARE = 0.1  # of the run's steps: the memory of the moving average


class WeightAverage:
    """A copy of a model whose weights are the average of those that `update` has seen."""

    def __init__(self, kind: str, model: nn.Module, num_steps: int, device: torch.device) -> None:
        """kind: ema or tail; num_steps: optimizer steps of the whole run; device: of the copy."""
        decay = max(0.0, 1 - 1 / (EMA_SHARE * num_steps))
        self._first_step = 1 if kind == "ema" else num_steps // 2 + 1
        average: Any = get_ema_multi_avg_fn(decay) if kind == "ema" else get_swa_multi_avg_fn()  # type: ignore[no-untyped-call]
        self._averaged = AveragedModel(model, multi_avg_fn=average)
        self._averaged.module.to(device)  # its count stays on the CPU, where to read it waits for nothing

    @property
    def num_averaged(self) -> int:
        """How many steps are in the average."""
        return int(self._averaged.n_averaged)

    @property
    def model(self) -> nn.Module | None:
        """The model with the averaged weights; None before the first step that counts."""
        averaged: nn.Module = self._averaged.module
        return averaged if self.num_averaged else None

    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after optimizer step `step`, counted from 1 over the whole run."""
        if step >= self._first_step:
            self._averaged.update_parameters(model)

    def begin_again(self, num_averaged: int) -> nn.Module:
        """Set how many steps are in the average. Returns the model, for the averaged weights to be loaded into."""
        self._averaged.n_averaged.fill_(num_averaged)
        averaged: nn.Module = self._averaged.module
        return averaged


def weight_average(kind: str, model: nn.Module, num_steps: int, device: torch.device) -> WeightAverage | None:
    """None if `kind` is none."""
    return None if kind == "none" else WeightAverage(kind, model, num_steps, device)
