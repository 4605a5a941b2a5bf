"""An epoch in its middle: what a checkpoint needs so that training goes on with the next batch."""

import math
from dataclasses import dataclass
from typing import Any, Self

import torch
from accelerate.utils import send_to_device
from torch import Tensor

from contrastive_learning.losses import Losses
from contrastive_learning.runtime.processes import num_processes
from contrastive_learning.training.diagnostics import EpochStatistics


@dataclass
class RunningEpoch:
    epoch: int  # epochs finished before it
    order: list[list[int]] | None  # the batches of all processes; None where the loader does not tell
    statistics: EpochStatistics
    sums: Tensor  # total, bce, contrastive, gradient norm; read once an epoch
    num_done: int = 0  # batches whose optimizer step is done
    total_loss: float = math.nan  # of the last batch
    num_examples: int = 0  # seen since the epoch began or was resumed, by all processes

    def read(self, losses: Losses, index: int) -> None:
        """Wait for the total loss of batch `index`. Raises FloatingPointError if it is not finite."""
        self.total_loss = losses.total.item()
        if not math.isfinite(self.total_loss):
            raise FloatingPointError(f"the loss is {self.total_loss} in epoch {self.epoch + 1}, batch {index + 1}")

    def place(self, index: int, rows: list[int]) -> str:
        """Where rows of batch `index` come from, in words."""
        where = f"batch {index + 1} of epoch {self.epoch + 1}"
        if self.order is None or num_processes() > 1:  # the rows of several processes stand in another order
            return where
        return f"{where}, training examples {[self.order[index][row] for row in rows[:8]]}"

    def add(self, losses: Losses, norm: Tensor) -> None:
        self.sums += torch.stack([losses.total.detach(), losses.bce.detach(), losses.contrastive.detach(), norm])

    def means(self, num_batches: int, num_steps: int) -> dict[str, float]:
        total, bce, contrastive, norm = (self.sums / num_batches).tolist()
        losses = {"total_loss": total, "bce_loss": bce, "contrastive_loss": contrastive}
        return losses | {"grad_norm": norm * num_batches / num_steps} | self.statistics.means()

    def state(self) -> dict[str, Any]:
        return {"order": self.order, "looks": self.statistics.looks, "sums": self.sums, "num_done": self.num_done}

    @classmethod
    def restored(cls, state: dict[str, Any], epoch: int, statistics: EpochStatistics, device: torch.device) -> Self:
        statistics.looks = send_to_device(state["looks"], device)
        return cls(epoch, state["order"], statistics, state["sums"].to(device), state["num_done"])
