"""One training step: forward, loss, backward, clip, step."""

import math
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from contrastive_learning.data.batches import Batch
from contrastive_learning.data.cutoff import Cutoff
from contrastive_learning.losses import JointLoss, Losses
from contrastive_learning.losses.checks import checks_put_off
from contrastive_learning.model.model import ModelOutput
from contrastive_learning.model.packed import why_not_in_a_row
from contrastive_learning.model.passes import Pass, extents, passes_of
from contrastive_learning.runtime.processes import OnHost
from contrastive_learning.training.grad_cache import backward_in_passes
from contrastive_learning.training.prepared import Prepared
from contrastive_learning.training.settings import TrainerSettings
from contrastive_learning.training.views import gather_views, repeated


class BatchResult(NamedTuple):
    """What one batch of all processes adds to the epoch. No tensor of it is attached to the graph."""

    losses: Losses
    total_loss: float  # losses.total, read from the device
    embeddings: Tensor  # [batch, dim]
    yes_votes: Tensor  # [batch, criteria]
    num_votes: Tensor  # [batch, criteria]
    temperature: float | None  # of this step; None without a loss that has one
    views: int  # of each response; 2: the rows are those of all first views, then of all second ones
    domains: Tensor | None = None  # [batch]


class TrainingStep:
    """Changes the parameters by one batch, or by several that share an optimizer step; keeps no state of the epoch."""

    def __init__(self, ready: Prepared, loss: JointLoss, settings: TrainerSettings, cutoff: Cutoff | None) -> None:
        self.model, self.accelerator = ready.model, ready.accelerator
        self.optimizer, self.scheduler = ready.optimizer, ready.scheduler
        self.loss, self.settings, self.cutoff = loss, settings, cutoff

    def backward(self, batch: Mapping[str, Tensor], epoch: int, index: int, num_batches: int) -> BatchResult:
        """Forward, loss and backward of batch `index` of `num_batches`, after `epoch` whole epochs.

        batch: what `Batch.of` reads. Raises FloatingPointError if the loss is not finite, NotFiniteError if embeddings
        are not.
        """
        second_mask = None if self.cutoff is None else self.cutoff.second_mask(batch, epoch)
        on_device = repeated(Batch.of(batch).on(self.accelerator.device), self.settings.views, second_mask)
        passes = self._passes(on_device.attention_mask)
        epochs_done = epoch + index / num_batches
        evaluate = partial(self._evaluate, batch=on_device, epochs_done=epochs_done)
        share = self.settings.encoder_share(epochs_done)
        if self.settings.grad_cache_chunk is not None:
            assert passes is not None
            model = self.accelerator.unwrap_model(self.model)
            return backward_in_passes(model, on_device, evaluate, self.accelerator, passes=passes, encoder_share=share)
        ends_group = self.ends_group(index, num_batches)
        with nullcontext() if ends_group else self.accelerator.no_sync(self.model):
            with self.accelerator.autocast():
                mask = OnHost(on_device.attention_mask)
                output = self.model(on_device.input_ids, mask, encoder_share=share, passes=passes)
            total, result = evaluate(output)
            self.accelerator.backward(total / self._group_size(index, num_batches))
        return result

    def _evaluate(self, output: ModelOutput, *, batch: Batch, epochs_done: float) -> tuple[Tensor, BatchResult]:
        """The total loss of the rows of all processes, to go backward from, and what the batch adds to the epoch."""
        gather = partial(gather_views, views=self.settings.views)
        logits, embeddings = gather(output.logits), gather(output.embeddings)
        votes = gather(batch.yes_votes), gather(batch.num_votes)
        domains = None if batch.domains is None else gather(batch.domains)
        start = self.loss.temperature
        temperature = None if start is None else self.settings.temperature(start, epochs_done)
        compute = partial(
            self.loss,
            logits,
            embeddings,
            *votes,
            lambda_scale=self.settings.lambda_scale(epochs_done),
            temperature=temperature,
            views=self.settings.views,
            domains=domains,
        )
        with checks_put_off() as flags:
            losses: Losses = compute()
        # The one time that a step waits for a GPU. Before backward, which it then runs while the CPU prepares the next
        # batch.
        total_loss, *fine = torch.stack([losses.total.detach(), *(flag.to(losses.total) for flag in flags)]).tolist()
        if not all(fine):
            compute()  # raises what is wrong
        if not math.isfinite(total_loss):
            raise FloatingPointError(f"the loss is {total_loss}")
        detached = Losses(*(loss.detach() for loss in losses))
        shown = embeddings.detach(), *votes, temperature, self.settings.views, domains
        result = BatchResult(detached, total_loss, *shown)
        return losses.total, result

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

    def _passes(self, mask: Tensor) -> list[Pass] | None:
        max_rows, max_tokens = self.settings.grad_cache_chunk, self.settings.tokens_per_pass
        if max_rows is None and max_tokens is None:
            return None
        model = self.accelerator.unwrap_model(self.model)
        padded = not model.padding_free or why_not_in_a_row(model.encoder, mask) is not None
        return passes_of(extents(mask).tolist(), max_rows=max_rows, max_tokens=max_tokens, padded=padded)
