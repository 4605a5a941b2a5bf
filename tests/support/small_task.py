"""A small learnable task: the yes share of each criterion is written in the tokens."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch.utils.data import DataLoader

from contrastive_learning import ContrastiveQualityModel, ContrastiveTrainer
from contrastive_learning.data.cutoff import Cutoff
from contrastive_learning.judging import LinearJudge
from contrastive_learning.losses import InstanceLoss, JointLoss, SupConLoss
from contrastive_learning.model.encoders import ScratchEncoder
from contrastive_learning.runtime.devices import seed_everything
from contrastive_learning.samplers import Examples, HardNegativeBatchSampler, WithUnjudgedBatchSampler, balanced
from contrastive_learning.training import Hooks, RunContext
from contrastive_learning.training.optimizers import adamw
from contrastive_learning.training.plain_config import DEFAULTS

GOOD, BAD = 7, 8  # tokens that decide criterion 0


def examples(num_examples, seed):
    """Token 1 decides criterion 0, token 2 (9 or 10) criterion 1; three votes, a tenth of them wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.random((num_examples, 2)) < 0.7
    input_ids = rng.integers(11, 40, (num_examples, 6))
    input_ids[:, 0] = 2
    input_ids[:, 1] = np.where(truth[:, 0], GOOD, BAD)
    input_ids[:, 2] = np.where(truth[:, 1], 9, 10)
    yes = rng.binomial(3, np.where(truth, 0.9, 0.1))
    return torch.as_tensor(input_ids), torch.as_tensor(yes).float()


class VotedBatches(torch.utils.data.Dataset):
    """Three votes on each criterion, but none on the last `unjudged` responses."""

    def __init__(self, num_examples, seed, unjudged=0):
        self.input_ids, self.yes_votes = examples(num_examples, seed)
        self.num_votes = torch.full((num_examples, 2), 3.0)
        for votes in (self.yes_votes, self.num_votes):
            votes[num_examples - unjudged :] = 0

    def __len__(self):
        return len(self.input_ids)

    def __getitem__(self, index):
        return index

    def collate(self, indices):
        return {
            "index": torch.tensor(indices),
            "domains": torch.tensor(indices) % 3,
            "input_ids": self.input_ids[indices],
            "attention_mask": torch.ones_like(self.input_ids[indices]),
            "yes_votes": self.yes_votes[indices],
            "num_votes": self.num_votes[indices],
        }


def tiny_model(dropout=0.1):
    scratch = ScratchEncoder(
        vocab_size=40, hidden_size=32, num_layers=1, num_heads=2, max_positions=16, dropout=dropout
    )
    tokenizer = scratch.tokenizer(["가 나 다 라 마 바 사 아 자 차 카 타 파 하"] * 3)
    tokenizer.add_tokens([f"[t{index}]" for index in range(40 - len(tokenizer))])
    encoder = scratch.encoder(tokenizer)
    return ContrastiveQualityModel("tiny", num_labels=2, projection_dim=16, dropout=dropout, encoder=encoder)


def hard_negative(votes, *, batch_size, seed, length_window):
    return HardNegativeBatchSampler(votes, batch_size=batch_size, seed=seed, pool_batches=6)


def build_trainer(
    folder,
    *,
    epochs=4,
    lambda_contrastive=0.1,
    dropout=0.1,
    sampler=balanced,
    batch_size=16,
    dtype=torch.float32,
    device="cpu",
    held_out=None,
    disturbed=None,
    hooks=None,
    judge=None,
    loss_changes=None,
    contrastive_changes=None,
    unjudged=0,
    cutoff=None,
    **changes,
):
    train, valid = VotedBatches(96 + unjudged, 0, unjudged), VotedBatches(64, 1)
    batches = sampler(votes_of(train, 96), batch_size=batch_size, seed=0, length_window=1)
    if unjudged:
        batches = WithUnjudgedBatchSampler(batches, votes_of(train, 96 + unjudged), share=0.5, seed=0)
    seed_everything(0)
    options = {"temperature": 0.1, "denominator": "all", "projection": "shared", "criterion_weights": None}
    contrastive = SupConLoss(**options | (contrastive_changes or {}))
    weights = {"targets": "soft", "criterion_weights": None, "pos_weight": None} | (loss_changes or {})
    settings = {"epochs": epochs, "device": device, "precision": "fp32", "monitor": "val/auroc"} | changes
    return ContrastiveTrainer(
        tiny_model(dropout).to(dtype),
        DataLoader(train, batch_sampler=batches, collate_fn=train.collate),
        DataLoader(valid, batch_size=32, collate_fn=valid.collate),
        device,
        replace(DEFAULTS, **settings),
        loss=JointLoss(contrastive=contrastive, lambda_contrastive=lambda_contrastive, **weights),
        optimizer=partial(
            adamw,
            lr=3e-3,
            head_lr=3e-3,
            weight_decay=0.01,
            layer_decay=1.0,
            betas=(0.9, 0.999),
            eps=1e-8,
            warmup_ratio=0.1,
            schedule="linear",
        ),
        context=RunContext(
            criteria=("first", "second"),
            held_out=held_out or {},
            disturbed=lambda: disturbed or {},
            checkpoint_dir=folder,
            hooks=hooks or Hooks(),
            judge=judge or LinearJudge(),
        ),
        cutoff=cutoff,
    )


def votes_of(data, num_examples):
    """What a sampler knows of the first `num_examples`."""
    yes, num = (votes[:num_examples].numpy().astype(int) for votes in (data.yes_votes, data.num_votes))
    return Examples(yes, num, np.full(num_examples, 6), np.arange(num_examples))


def terms_on_two_views():
    return {"instance": InstanceLoss(temperature=0.1), "instance_weight": 0.3, "consistency": 0.5}


def half_of_the_tokens():
    """Of all but the first; no token of the task separates a context from the response."""
    return Cutoff(share=0.5, separator=0, num_start=1, seed=0)


def losses_of(history):
    return [[epoch[f"train/{name}_loss"] for name in ("total", "bce", "contrastive")] for epoch in history]
