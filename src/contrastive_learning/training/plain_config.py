"""Turns the plain dict that ContrastiveTrainer accepts into settings, loss and optimizer."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from contrastive_learning.choices import check_choice
from contrastive_learning.losses import JointLoss, SupConLoss
from contrastive_learning.training import optimizers
from contrastive_learning.training.settings import TrainerSettings

logger = logging.getLogger(__name__)

KEYS = ("learning_rate", "lambda_contrastive", "batch_size", "epochs", "padding_free")
DEFAULTS = TrainerSettings(
    epochs=5,
    precision="auto",
    device="auto",
    max_grad_norm=1.0,
    accumulation_steps=1,
    tokens_per_pass=None,
    grad_cache_chunk=None,
    compile=False,
    lambda_warmup_epochs=0.0,
    encoder_share_warmup_epochs=0.0,
    temperature_schedule="constant",
    temperature_end=None,
    monitor="val/macro_f1",
    direction="maximize",
    patience=None,
    held_out_each_epoch=True,
    seed=0,
    views=1,
    padding_free=None,
)


def resolved(
    settings: TrainerSettings | Mapping[str, Any],
    loss: JointLoss | None,
    optimizer: Callable[..., optimizers.Schedule] | None,
    *,
    temperature: float,
    train_loader: object,
) -> tuple[TrainerSettings, JointLoss, Callable[..., optimizers.Schedule]]:
    """What ContrastiveTrainer trains with: for a plain dict, the loss and the optimizer have defaults."""
    if not isinstance(settings, TrainerSettings):
        loss, optimizer = loss or loss_of(settings, temperature), optimizer or optimizer_of(settings)
        settings = settings_of(settings, train_loader)
    if loss is None or optimizer is None:
        raise ValueError("with TrainerSettings, loss and optimizer must be given")
    return settings, loss, optimizer


def settings_of(config: Mapping[str, Any], train_loader: object) -> TrainerSettings:
    for key in config:
        check_choice("a key of the trainer's config", key, KEYS)
    batch_size = getattr(train_loader, "batch_size", None)
    if batch_size is not None and config.get("batch_size", batch_size) != batch_size:
        logger.warning("batch_size is %s in the config, but the loader decides: %s", config["batch_size"], batch_size)
    given = {name: config[name] for name in ("epochs", "padding_free") if name in config}
    return replace(DEFAULTS, **given)


def loss_of(config: Mapping[str, Any], temperature: float) -> JointLoss:
    return JointLoss(
        contrastive=SupConLoss(temperature=temperature, denominator="all", projection="shared", criterion_weights=None),
        lambda_contrastive=config.get("lambda_contrastive", 0.1),
        targets="soft",
        criterion_weights=None,
        pos_weight=None,
    )


def optimizer_of(config: Mapping[str, Any]) -> Callable[..., optimizers.Schedule]:
    lr = config.get("learning_rate", 2e-5)
    return partial(
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
