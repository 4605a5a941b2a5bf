"""One training step: forward, loss, backward, clip, step."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from contrastive_learning.data.batches import votes_of
from contrastive_learning.losses import JointLoss, Losses, NotFiniteError
from contrastive_learning.model.model import ModelOutput
from contrastive_learning.model.passes import Pass, passes_of
from contrastive_learning.runtime.processes import gather_rows
from contrastive_learning.training.epoch import RunningEpoch
from contrastive_learning.training.grad_cache import backward_in_passes
from contrastive_learning.training.settings import TrainerSettings


class TrainingStep:
    """Moves the parameters by a batch, or by several that share an optimizer step.

    `model` and `optimizer` are those that `accelerator` prepared.
    """

    def __init__(
        self,
        model: Any,
        loss: JointLoss,
        optimizer: Optimizer,
        scheduler: LRScheduler,
        *,
        accelerator: Accelerator,
        settings: TrainerSettings,
    ) -> None:
        self.model, self.loss, self.accelerator, self.settings = model, loss, accelerator, settings
        self.optimizer, self.scheduler = optimizer, scheduler
        self._first_temperature = loss.temperature

    def set_schedules(self, epochs_done: float) -> None:
        self._lambda_scale = self.settings.lambda_scale(epochs_done)
        self._encoder_share = self.settings.encoder_share(epochs_done)
        if self._first_temperature is not None:
            self.loss.temperature = self.settings.temperature(self._first_temperature, epochs_done)

    def backward(self, batch: Mapping[str, Tensor], running: RunningEpoch, *, index: int, num_batches: int) -> Losses:
        """Forward, loss, backward of batch `index` of `num_batches`. Raises FloatingPointError for a loss or embeddings
        that are not finite.

        batch: `input_ids`, `attention_mask` [batch, tokens] and the votes that `votes_of` reads. The losses in nats.
        """
        passes = self._passes(batch)  # before the batch leaves for the device
        device = self.accelerator.device
        batch = send_to_device(dict(batch), device, non_blocking=device.type == "cuda")
        votes, share = tuple(map(gather_rows, votes_of(batch))), self._encoder_share

        def losses_of(output: ModelOutput) -> Losses:
            embeddings = gather_rows(output.embeddings)
            logits, scale = gather_rows(output.logits), self._lambda_scale
            try:
                losses: Losses = self.loss(logits, embeddings, *votes, lambda_scale=scale)
            except NotFiniteError as error:
                raise FloatingPointError(f"{error}; {running.place(index, error.rows)}") from error
            # read before the way back, which a GPU then has in its queue while the next batch is made
            running.read(losses, index)
            running.num_examples += len(embeddings)
            running.statistics.add(index, embeddings.detach(), *votes)
            return losses

        if self.settings.grad_cache_chunk is not None:
            assert passes is not None
            model = self.accelerator.unwrap_model(self.model)
            return backward_in_passes(model, batch, losses_of, self.accelerator, passes=passes, encoder_share=share)
        ends_group = self.ends_group(index, num_batches)
        with nullcontext() if ends_group else self.accelerator.no_sync(self.model):
            with self.accelerator.autocast():
                output = self.model(batch["input_ids"], batch["attention_mask"], encoder_share=share, passes=passes)
            losses = losses_of(output)
            self.accelerator.backward(losses.total / self._group_size(index, num_batches))
        return losses

    def ends_group(self, index: int, num_batches: int) -> bool:
        """Whether the optimizer steps after batch `index`."""
        return index + 1 == num_batches or (index + 1) % self.settings.accumulation_steps == 0

    def update(self) -> Tensor:
        """Clip, step. Returns the norm that the gradient had before it was clipped, a scalar."""
        norm: Tensor = self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm)
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        return norm.detach()

    def _group_size(self, index: int, num_batches: int) -> int:
        """Batches that share the optimizer step of batch `index`; the last group may be smaller."""
        steps = self.settings.accumulation_steps
        return min(steps, num_batches - index // steps * steps)

    def _passes(self, batch: Mapping[str, Tensor]) -> list[Pass] | None:
        max_rows, max_tokens = self.settings.grad_cache_chunk, self.settings.tokens_per_pass
        if max_rows is None and max_tokens is None:
            return None
        return passes_of(batch["attention_mask"].sum(1).tolist(), max_rows=max_rows, max_tokens=max_tokens)
