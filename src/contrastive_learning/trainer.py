"""The training loop. It reads top to bottom: forward, loss, backward, clip, step, log."""

import logging
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import send_to_device
from torch import Tensor

from contrastive_learning import optimizers
from contrastive_learning.checkpoints import load_state, load_weights, save_checkpoint
from contrastive_learning.choices import check_choice, did_you_mean
from contrastive_learning.evaluation import Evaluation, predict, votes_of
from contrastive_learning.losses import JointLoss, SupConLoss
from contrastive_learning.models import ContrastiveQualityModel

logger = logging.getLogger(__name__)
Metrics = dict[str, float]
Loader = Iterable[Mapping[str, Tensor]]
PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """A `trainer` config."""

    epochs: int
    precision: str  # auto, fp32, bf16, fp16
    device: str  # auto, cpu, cuda, mps
    max_grad_norm: float
    accumulation_steps: int
    lambda_warmup_epochs: float  # lambda_contrastive rises linearly from 0 over so many epochs
    monitor: str  # the metric that picks the best epoch
    direction: str  # of monitor: maximize, minimize
    patience: int | None  # epochs without a better monitor before training stops; None = never
    seed: int
    resume_from: str | None = None  # output folder of an interrupted run

    def __post_init__(self) -> None:
        check_choice("trainer.precision", self.precision, ("auto", *PRECISIONS))
        check_choice("trainer.direction", self.direction, ("maximize", "minimize"))
        for name, least in (("epochs", 1), ("accumulation_steps", 1), ("lambda_warmup_epochs", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"trainer.{name} must be at least {least}, got {getattr(self, name)}")
        if not self.max_grad_norm > 0:
            raise ValueError(f"trainer.max_grad_norm must be positive, got {self.max_grad_norm}")


BRIEF_DEFAULTS = TrainerSettings(
    epochs=5,
    precision="auto",
    device="auto",
    max_grad_norm=1.0,
    accumulation_steps=1,
    lambda_warmup_epochs=0.0,
    monitor="val/macro_f1",
    direction="maximize",
    patience=None,
    seed=0,
)
BRIEF_KEYS = ("learning_rate", "lambda_contrastive", "batch_size", "epochs")


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
            settings, loss, optimizer = _from_brief(dict(settings), model, train_loader, loss, optimizer)
        if loss is None or optimizer is None:
            raise ValueError("with TrainerSettings, loss and optimizer must be given")
        self.settings = settings
        self.loss = loss
        self.train_loader, self.val_loader = train_loader, val_loader
        self.held_out = dict(held_out or {})  # more sets to evaluate each epoch: metric prefix -> loader
        self.criteria = tuple(criteria) if criteria is not None else _numbered(model)
        self.checkpoint_dir = checkpoint_dir
        self.on_step, self.log, self.on_evaluation = on_step, log, on_evaluation
        self.accelerator = _accelerator(str(device), settings)
        self.device = self.accelerator.device
        self.steps_per_epoch = math.ceil(len(train_loader) / settings.accumulation_steps)  # type: ignore[arg-type]
        schedule = optimizer(model, self.steps_per_epoch * settings.epochs)
        self.model, self.optimizer = self.accelerator.prepare(model, schedule[0])
        self.scheduler = schedule[1]
        self.epoch = 0  # epochs finished
        self.best: tuple[int, float] | None = None  # (epoch, monitored value)
        self._best_weights: dict[str, Tensor] = {}  # used without a checkpoint_dir

    def fit(self) -> list[Metrics]:
        """Train until `epochs` or out of patience; the best epoch's weights are in the model afterwards.

        Returns the metrics of each epoch, `train/…` and `val/…`.
        """
        if self.epoch == 0:
            start, evaluations = self.evaluate_all()
            self._check_monitor(start)  # a misspelt name must not cost an epoch
            self.log(start, 0)
            self.on_evaluation(evaluations, start, 0)
        history = []
        while self.epoch < self.settings.epochs and not self._out_of_patience():
            started = time.perf_counter()
            train = {f"train/{name}": value for name, value in self.train_epoch().items()}
            train["train/epoch_seconds"] = time.perf_counter() - started
            held_out, evaluations = self.evaluate_all()
            metrics = train | held_out
            self.log(metrics, self.epoch)  # before the checkpoint: a kill between the two repeats an epoch, loses none
            self.on_evaluation(evaluations, metrics, self.epoch)
            self._remember(metrics[self.settings.monitor])
            history.append(metrics)
        if self.best is not None:
            self._restore_best()
        return history

    def train_epoch(self) -> Metrics:
        """One pass over the training loader. Returns the mean `total_loss`, `bce_loss`, `contrastive_loss` in nats."""
        self.model.train()
        set_epoch = getattr(getattr(self.train_loader, "batch_sampler", None), "set_epoch", None)
        if set_epoch is not None:
            set_epoch(self.epoch)
        num_batches = len(self.train_loader)  # type: ignore[arg-type]
        sums = torch.zeros(4, device=self.device)  # total, bce, contrastive, gradient norm; read once an epoch
        for index, batch in enumerate(self.train_loader):
            losses, grad_norm = self._step(batch, index, last=index + 1 == num_batches)
            sums += torch.stack([losses.total.detach(), losses.bce.detach(), losses.contrastive.detach(), grad_norm])
            self.on_step(index + 1, num_batches, {"total_loss": losses.total.item()})
        self.epoch += 1
        total, bce, contrastive, norm = (sums / num_batches).tolist()
        return {
            "total_loss": total,
            "bce_loss": bce,
            "contrastive_loss": contrastive,
            "grad_norm": norm * num_batches / self.steps_per_epoch,
            "lr": self.scheduler.get_last_lr()[0],
        }

    def _step(self, batch: Mapping[str, Tensor], index: int, *, last: bool) -> tuple[Any, Tensor]:
        batch = send_to_device(dict(batch), self.device)
        with self.accelerator.autocast():
            output = self.model(batch["input_ids"], batch["attention_mask"])
        scale = self._lambda_scale(index)
        losses = self.loss(output.logits, output.embeddings, *votes_of(batch), lambda_scale=scale)
        if not torch.isfinite(losses.total):
            raise FloatingPointError(f"the loss is {losses.total.item()} in epoch {self.epoch + 1}, batch {index + 1}")
        self.accelerator.backward(losses.total / self.settings.accumulation_steps)
        norm = torch.zeros((), device=self.device)
        if last or (index + 1) % self.settings.accumulation_steps == 0:
            norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm)
            self.optimizer.step()
            self.scheduler.step()
            self.optimizer.zero_grad()
        return losses, norm.detach()

    def evaluate(self) -> Metrics:
        """Metrics on the validation loader, without a prefix, at the thresholds that suit it best."""
        valid = self.predict(self.val_loader)
        return valid.metrics(self.criteria, valid.thresholds())

    def evaluate_all(self) -> tuple[Metrics, dict[str, Evaluation]]:
        """`val/…` and the metrics of every held-out set, at the thresholds chosen on the validation loader.

        The evaluations come by metric prefix.
        """
        valid = self.predict(self.val_loader)
        thresholds = valid.thresholds()
        evaluations = {"val": valid} | {name: self.predict(loader) for name, loader in self.held_out.items()}
        metrics = {
            f"{prefix}/{name}": value
            for prefix, evaluation in evaluations.items()
            for name, value in evaluation.metrics(self.criteria, thresholds).items()
        }
        return metrics, evaluations

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

    def _lambda_scale(self, index: int) -> float:
        epochs_done = self.epoch + index / len(self.train_loader)  # type: ignore[arg-type]
        warmup = self.settings.lambda_warmup_epochs
        return min(1.0, epochs_done / warmup) if warmup > 0 else 1.0


def seed_everything(seed: int) -> None:
    random.seed(seed)
    torch.manual_seed(seed)


def _accelerator(device: str, settings: TrainerSettings) -> Accelerator:
    # accelerate keeps one global state a process; a second trainer may want another device or precision
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    device = _resolve_device(device)
    precision = _resolve_precision(settings.precision, device)
    return Accelerator(cpu=device == "cpu", mixed_precision=PRECISIONS[precision])


def _resolve_device(device: str) -> str:
    kind = check_choice("trainer.device", device.split(":")[0], ("auto", "cpu", "cuda", "mps"))
    if kind == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError("trainer.device=cuda needs a CUDA device, and torch finds none; use trainer.device=auto")
    return kind


def _resolve_precision(precision: str, device: str) -> str:
    if precision != "auto":
        return precision
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "fp32"


def _from_brief(
    config: dict[str, Any],
    model: ContrastiveQualityModel,
    train_loader: Loader,
    loss: JointLoss | None,
    optimizer: Callable[..., optimizers.Schedule] | None,
) -> tuple[TrainerSettings, JointLoss, Callable[..., optimizers.Schedule]]:
    for key in config:
        check_choice("a key of the trainer's config", key, BRIEF_KEYS)
    batch_size = getattr(train_loader, "batch_size", None)
    if batch_size is not None and config.get("batch_size", batch_size) != batch_size:
        logger.warning("batch_size is %s in the config, but the loader decides: %s", config["batch_size"], batch_size)
    loss = loss or JointLoss(
        contrastive=SupConLoss(temperature=model.temperature, denominator="all", criterion_weights=None),
        lambda_contrastive=config.get("lambda_contrastive", 0.1),
        targets="soft",
        criterion_weights=None,
        pos_weight=None,
    )
    lr = config.get("learning_rate", 2e-5)
    optimizer = optimizer or partial(
        optimizers.adamw,
        lr=lr,
        head_lr=10 * lr,
        weight_decay=0.01,
        layer_decay=1.0,
        betas=(0.9, 0.999),
        eps=1e-8,
        warmup_ratio=0.1,
        schedule="linear",
    )
    return replace(BRIEF_DEFAULTS, epochs=config.get("epochs", BRIEF_DEFAULTS.epochs)), loss, optimizer


def _numbered(model: ContrastiveQualityModel) -> tuple[str, ...]:
    return tuple(f"criterion_{index}" for index in range(model.classification_head.out_features))
