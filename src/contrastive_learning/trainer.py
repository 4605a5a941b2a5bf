"""The training loop. It reads top to bottom: forward, loss, backward, clip, step, log."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import Tensor

from contrastive_learning import brief, optimizers
from contrastive_learning.checkpoints import load_state, load_weights, save_checkpoint
from contrastive_learning.choices import did_you_mean
from contrastive_learning.devices import accelerator, precision_of
from contrastive_learning.diagnostics import EpochStatistics
from contrastive_learning.evaluation import Evaluation, predict, votes_of
from contrastive_learning.grad_cache import backward_in_chunks
from contrastive_learning.losses import JointLoss, Losses
from contrastive_learning.models import ContrastiveQualityModel, ModelOutput
from contrastive_learning.processes import gather_rows, num_processes, sharded
from contrastive_learning.settings import TrainerSettings

Metrics = dict[str, float]
Loader = Iterable[Mapping[str, Tensor]]


class ContrastiveTrainer:
    """Trains a ContrastiveQualityModel on BCE + lambda_contrastive x contrastive.

    The loaders are iterables of dicts with `input_ids`, `attention_mask` [batch, tokens] and either `labels`
    [batch, criteria] in 0..1 (and `num_votes`, if known) or `yes_votes` and `num_votes`. `settings` is a
    TrainerSettings, or a plain dict with `learning_rate`, `lambda_contrastive`, `batch_size`, `epochs`.
    """

    def __init__(
        self,
        model: ContrastiveQualityModel,
        train_loader: Loader,
        val_loader: Loader,
        device: str | torch.device,
        settings: TrainerSettings | Mapping[str, Any],
        *,
        loss: JointLoss | None = None,
        optimizer: Callable[..., optimizers.Schedule] | None = None,
        criteria: Iterable[str] | None = None,
        held_out: Mapping[str, Loader] | None = None,
        checkpoint_dir: Path | None = None,
        on_step: Callable[[int, int, Metrics], None] = lambda step, num_steps, losses: None,
        log: Callable[[Metrics, int], None] = lambda metrics, step: None,
        on_evaluation: Callable[[Mapping[str, Evaluation], Metrics, int], None] = lambda held_out, metrics, epoch: None,
    ) -> None:
        if not isinstance(settings, TrainerSettings):
            loss = loss or brief.loss_of(settings, model.temperature)
            optimizer = optimizer or brief.optimizer_of(settings)
            settings = brief.settings_of(settings, train_loader)
        if loss is None or optimizer is None:
            raise ValueError("with TrainerSettings, loss and optimizer must be given")
        self.settings = settings
        self.loss = loss
        self.train_loader, self.val_loader = train_loader, val_loader
        self.held_out = dict(held_out or {})  # more sets to evaluate each epoch: metric prefix -> loader
        self.criteria = tuple(criteria) if criteria is not None else _numbered(model)
        loss.check_criteria(len(self.criteria))
        self.checkpoint_dir = checkpoint_dir
        self.on_step, self.log, self.on_evaluation = on_step, log, on_evaluation
        self.accelerator = accelerator(str(device), settings.precision)
        self.device = self.accelerator.device
        self.precision = precision_of(self.accelerator)
        self._whole_batches = train_loader  # of all processes
        if num_processes() > 1:
            self.train_loader = sharded(train_loader)  # type: ignore[arg-type]
        self.steps_per_epoch = math.ceil(len(train_loader) / settings.accumulation_steps)  # type: ignore[arg-type]
        schedule = optimizer(model, self.steps_per_epoch * settings.epochs)
        self.model, self.optimizer = self.accelerator.prepare(model, schedule[0])
        self.scheduler = schedule[1]
        self._first_temperature = loss.temperature
        self.epoch = 0  # epochs finished
        self.best: tuple[int, float] | None = None  # (epoch, monitored value)
        self._finished = False
        self._last_metrics: Metrics = {}
        self._last_evaluations: dict[str, Evaluation] = {}  # by metric prefix
        self._best_weights: dict[str, Tensor] = {}  # used without a checkpoint_dir

    def fit(self) -> list[Metrics]:
        """Train until `epochs` or out of patience; the best epoch's weights are in the model afterwards.

        Returns the metrics of each epoch, `train/…` and `val/…`.
        """
        if self.epoch == 0:
            self._report(self.evaluate_start())
        history = []
        while self.epoch < self.settings.epochs and not self._out_of_patience():
            started = time.perf_counter()
            train = {f"train/{name}": value for name, value in self.train_epoch().items()}
            train["train/epoch_seconds"] = time.perf_counter() - started
            metrics = train | self._evaluate_epoch()
            self._report(metrics)  # before the checkpoint: a kill between the two repeats an epoch, loses none
            self._remember(metrics[self.settings.monitor])
            history.append(metrics)
        if self.best is not None:
            self._restore_best()
        self._finished = True
        return history

    def evaluate_start(self) -> Metrics:
        """Metrics before training. Raises ValueError if `monitor` is not among them: this must not cost an epoch."""
        if not self._last_metrics:
            self._last_metrics = self._evaluate_epoch()
            self._check_monitor(self._last_metrics)
        return self._last_metrics

    def result(self) -> tuple[Metrics, dict[str, Evaluation], int]:
        """Metrics and evaluations after `fit`, and the epoch they belong to: the best; where it was broken off, the
        last.
        """
        if self._finished and self.best is not None:
            return *self.evaluate_all(), self.best[0]
        return self._last_metrics, self._last_evaluations, self.epoch

    def train_epoch(self) -> Metrics:
        """One pass over the training loader. Returns the mean `total_loss`, `bce_loss`, `contrastive_loss` in nats,
        and the diagnostics of the contrastive loss, see EpochStatistics.
        """
        self._prepare_sampler()
        self.model.train()
        num_batches = len(self.train_loader)  # type: ignore[arg-type]
        if num_batches == 0:
            raise ValueError("the training loader must have a batch, got none")
        sums = torch.zeros(4, device=self.device)  # total, bce, contrastive, gradient norm; read once an epoch
        statistics = EpochStatistics(self.loss, self.criteria, num_batches)
        for index, batch in enumerate(self.train_loader):
            self._set_schedules(self.epoch + index / num_batches)
            losses = self._backward(send_to_device(dict(batch), self.device), index, num_batches, statistics)
            total_loss = losses.total.item()  # waits for the device
            if not math.isfinite(total_loss):
                raise FloatingPointError(f"the loss is {total_loss} in epoch {self.epoch + 1}, batch {index + 1}")
            norm = self._update() if self._ends_group(index, num_batches) else torch.zeros((), device=self.device)
            sums += torch.stack([losses.total.detach(), losses.bce.detach(), losses.contrastive.detach(), norm])
            self.on_step(index + 1, num_batches, {"total_loss": total_loss})
        self.epoch += 1
        total, bce, contrastive, norm = (sums / num_batches).tolist()
        return {
            "total_loss": total,
            "bce_loss": bce,
            "contrastive_loss": contrastive,
            "grad_norm": norm * num_batches / self.steps_per_epoch,
            "lr": self.scheduler.get_last_lr()[0],
            **statistics.means(),
        }

    def _prepare_sampler(self) -> None:
        sampler: Any = getattr(self._whole_batches, "batch_sampler", None)
        if hasattr(sampler, "refresh"):  # hard negatives are looked for with the present weights
            sampler.refresh(self.predict(self._whole_batches).embeddings)
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(self.epoch)

    def _set_schedules(self, epochs_done: float) -> None:
        self._lambda_scale = self.settings.lambda_scale(epochs_done)
        self._encoder_share = self.settings.encoder_share(epochs_done)
        if self._first_temperature is not None:
            self.loss.temperature = self.settings.temperature(self._first_temperature, epochs_done)

    def _backward(
        self, batch: Mapping[str, Tensor], index: int, num_batches: int, statistics: EpochStatistics
    ) -> Losses:
        """Forward, loss, backward."""
        votes = tuple(map(gather_rows, votes_of(batch)))

        def losses_of(output: ModelOutput) -> Losses:
            embeddings = gather_rows(output.embeddings)
            losses: Losses = self.loss(gather_rows(output.logits), embeddings, *votes, lambda_scale=self._lambda_scale)
            statistics.add(index, embeddings.detach(), *votes)
            return losses

        chunk_size = self.settings.grad_cache_chunk
        if chunk_size is not None:
            model = self.accelerator.unwrap_model(self.model)
            share = self._encoder_share
            return backward_in_chunks(
                model, batch, losses_of, self.accelerator, chunk_size=chunk_size, encoder_share=share
            )
        ends_group = self._ends_group(index, num_batches)
        with nullcontext() if ends_group else self.accelerator.no_sync(self.model):
            with self.accelerator.autocast():
                output = self.model(batch["input_ids"], batch["attention_mask"], encoder_share=self._encoder_share)
            losses = losses_of(output)
            self.accelerator.backward(losses.total / self._group_size(index, num_batches))
        return losses

    def _group_size(self, index: int, num_batches: int) -> int:
        """Batches that share the optimizer step of batch `index`; the last group may be smaller."""
        steps = self.settings.accumulation_steps
        return min(steps, num_batches - index // steps * steps)

    def _ends_group(self, index: int, num_batches: int) -> bool:
        return index + 1 == num_batches or (index + 1) % self.settings.accumulation_steps == 0

    def _update(self) -> Tensor:
        """Clip, step. Returns the gradient norm."""
        norm: Tensor = self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm)
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        return norm.detach()

    def evaluate(self) -> Metrics:
        """Metrics on the validation loader, without a prefix, at the thresholds that suit it best."""
        valid = self.predict(self.val_loader)
        return valid.metrics(self.criteria, valid.thresholds())

    def evaluate_all(self) -> tuple[Metrics, dict[str, Evaluation]]:
        """`val/…` and the metrics of every held-out set, at the thresholds chosen on the validation loader.

        The evaluations come by metric prefix.
        """
        return self._evaluate(self.held_out)

    def _evaluate(self, held_out: Mapping[str, Loader]) -> tuple[Metrics, dict[str, Evaluation]]:
        valid = self.predict(self.val_loader)
        thresholds = valid.thresholds()
        evaluations = {"val": valid} | {name: self.predict(loader) for name, loader in held_out.items()}
        metrics = {
            f"{prefix}/{name}": value
            for prefix, evaluation in evaluations.items()
            for name, value in evaluation.metrics(self.criteria, thresholds).items()
        }
        return metrics, evaluations

    def _evaluate_epoch(self) -> Metrics:
        held_out = self.held_out if self.settings.held_out_each_epoch else {}
        metrics, self._last_evaluations = self._evaluate(held_out)
        return metrics

    def _report(self, metrics: Metrics) -> None:
        self._last_metrics = metrics
        self.on_evaluation(self._last_evaluations, metrics, self.epoch)
        self.log(metrics, self.epoch)  # last, as it may end the run

    def predict(self, loader: Loader) -> Evaluation:
        with self.accelerator.autocast():
            return predict(self.model, loader, self.device)

    def resume(self, checkpoint_dir: Path) -> None:
        """Continue from the last checkpoint, with its optimizer, schedule, random state and best epoch."""
        load_weights(checkpoint_dir, "last", self.accelerator.unwrap_model(self.model))
        state = load_state(checkpoint_dir)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.epoch, self.best = state["epoch"], tuple(state["best"])
        torch.set_rng_state(state["torch_rng"])
        if state["cuda_rng"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda_rng"])

    def _check_monitor(self, metrics: Metrics) -> None:
        monitor = self.settings.monitor
        if monitor == "val/macro_f1" and "val/auroc" not in metrics:
            raise ValueError("val/macro_f1 needs a criterion with both yes and no in the validation set, found none")
        if monitor not in metrics:
            names = (name for name in metrics if name.startswith("val/"))
            raise ValueError(f"trainer.monitor must be a val/ metric, got {monitor}{did_you_mean(monitor, names)}")

    def _remember(self, value: float) -> None:
        sign = 1 if self.settings.direction == "maximize" else -1
        better = self.best is None or sign * value > sign * self.best[1]
        if better:
            self.best = (self.epoch, value)
        if self.checkpoint_dir is not None:
            model = self.accelerator.unwrap_model(self.model)
            save_checkpoint(self.checkpoint_dir, f"epoch_{self.epoch:03d}", model, self._state(), best=better)
        elif better:
            self._best_weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def _state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "best": list(self.best or ()),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def _restore_best(self) -> None:
        if self.checkpoint_dir is not None:
            load_weights(self.checkpoint_dir, "best", self.accelerator.unwrap_model(self.model))
        else:
            self.model.load_state_dict(self._best_weights)

    def _out_of_patience(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.best is not None and self.epoch - self.best[0] >= patience


def _numbered(model: ContrastiveQualityModel) -> tuple[str, ...]:
    return tuple(f"criterion_{index}" for index in range(model.classification_head.out_features))
