"""State of an unfinished epoch, so that a resumed run continues with the next batch. Only the trainer changes it."""

from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from accelerate.utils import send_to_device
from torch import Tensor

from contrastive_learning.losses import Losses
from contrastive_learning.runtime.processes import num_processes
from contrastive_learning.training.diagnostics import EpochStatistics
from contrastive_learning.training.step import BatchResult

NUM_SUMS = 6


@dataclass
class RunningEpoch:
    """One epoch between its first batch and its evaluation: which batches it has, how far it got, its sums so far."""

    epoch: int  # epochs finished before this one
    order: list[list[int]] | None  # the batches of all processes; None if the loader has no sampler of ours
    statistics: EpochStatistics
    sums: Tensor  # [NUM_SUMS]: total, bce, contrastive, gradient norm, instance, consistency; read once per epoch
    num_done: int = 0  # batches whose optimizer step is done
    evaluated_seconds: float = 0.0  # spent on reports and on_begun since the epoch began or was resumed
    num_examples: int = 0  # seen since the epoch began or was resumed, by all processes

    def place(self, index: int, rows: list[int]) -> str:
        """Name batch `index` and, if known, the training examples that stand in `rows` of it."""
        where = f"batch {index + 1} of epoch {self.epoch + 1}"
        if not rows or self.order is None or num_processes() > 1:  # several processes gather rows in another order
            return where
        examples = self.order[index]
        named = dict.fromkeys(examples[row % len(examples)] for row in rows)  # both views of one are named once
        return f"{where}, training examples {list(named)[:8]}"

    def add(self, index: int, result: BatchResult, norm: Tensor) -> None:
        """Count batch `index`, its losses and statistics in. `norm` is the gradient's, 0 without an optimizer step."""
        total, bce, contrastive, instance, consistency = result.losses
        self.sums += torch.stack([total, bce, contrastive, norm, instance, consistency])
        self.num_examples += len(result.embeddings) // result.views
        self.statistics.add(
            index,
            result.embeddings,
            result.yes_votes,
            result.num_votes,
            temperature=result.temperature,
            views=result.views,
            domains=result.domains,
        )

    def means(self, num_batches: int, num_steps: int) -> dict[str, float]:
        """The losses of all terms in nats per batch, `grad_norm` per step, and the statistics.

        `total_loss`, `bce_loss`, `contrastive_loss`, and `instance_loss` and `consistency_loss` if they are on.
        """
        total, bce, contrastive, norm, instance, consistency = (self.sums / num_batches).tolist()
        by_term = Losses(total, bce, contrastive, instance, consistency)._asdict()
        losses = {f"{term}_loss": by_term[term] for term in self.statistics.terms}
        return losses | {"grad_norm": norm * num_batches / num_steps} | self.statistics.means()

    def state(self) -> dict[str, Any]:
        """What a checkpoint saves of this epoch. Its keys are read again from files of earlier versions."""
        return {"order": self.order, "looks": self.statistics.measured, "sums": self.sums, "num_done": self.num_done}

    @classmethod
    def restored(cls, state: dict[str, Any], epoch: int, statistics: EpochStatistics, device: torch.device) -> Self:
        """The epoch whose `state` a checkpoint saved. `statistics` must be new; it takes over what was measured."""
        statistics.measured = send_to_device(state["looks"], device)
        sums = state["sums"].to(device)
        sums = F.pad(sums, (0, NUM_SUMS - len(sums)))  # earlier versions had only the first four
        return cls(epoch, state["order"], statistics, sums, state["num_done"])
