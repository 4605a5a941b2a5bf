"""The loop on a small learnable task: the yes share of each criterion is written in the tokens."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from contrastive_learning import ContrastiveQualityModel, ContrastiveTrainer
from contrastive_learning.encoders import ScratchEncoder
from contrastive_learning.losses import JointLoss, SupConLoss
from contrastive_learning.optimizers import adamw
from contrastive_learning.samplers import Examples, balanced
from contrastive_learning.trainer import BRIEF_DEFAULTS, seed_everything

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
    def __init__(self, num_examples, seed):
        self.input_ids, self.yes_votes = examples(num_examples, seed)

    def __len__(self):
        return len(self.input_ids)

    def __getitem__(self, index):
        return index

    def collate(self, indices):
        return {
            "input_ids": self.input_ids[indices],
            "attention_mask": torch.ones_like(self.input_ids[indices]),
            "yes_votes": self.yes_votes[indices],
            "num_votes": torch.full((len(indices), 2), 3.0),
        }


def tiny_model(dropout=0.1):
    scratch = ScratchEncoder(
        vocab_size=40, hidden_size=32, num_layers=1, num_heads=2, max_positions=16, dropout=dropout
    )
    tokenizer = scratch.tokenizer(["가 나 다 라 마 바 사 아 자 차 카 타 파 하"] * 3)
    tokenizer.add_tokens([f"[t{index}]" for index in range(40 - len(tokenizer))])
    return ContrastiveQualityModel("tiny", num_labels=2, projection_dim=16, encoder=scratch.encoder(tokenizer))


def build_trainer(folder, *, epochs=4, lambda_contrastive=0.1, **changes):
    train, valid = VotedBatches(96, 0), VotedBatches(64, 1)
    votes = Examples(train.yes_votes.numpy().astype(int), np.full((96, 2), 3), np.full(96, 6), np.arange(96))
    sampler = balanced(votes, batch_size=16, seed=0, length_window=1)
    seed_everything(0)
    settings = {"epochs": epochs, "device": "cpu", "monitor": "val/auroc"} | changes
    return ContrastiveTrainer(
        tiny_model(),
        DataLoader(train, batch_sampler=sampler, collate_fn=train.collate),
        DataLoader(valid, batch_size=32, collate_fn=valid.collate),
        "cpu",
        replace(BRIEF_DEFAULTS, **settings),
        loss=JointLoss(
            contrastive=SupConLoss(temperature=0.1, denominator="all", projection="shared", criterion_weights=None),
            lambda_contrastive=lambda_contrastive,
            targets="soft",
            criterion_weights=None,
            pos_weight=None,
        ),
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
        criteria=("first", "second"),
        checkpoint_dir=folder,
    )


def losses_of(history):
    return [[epoch[f"train/{name}_loss"] for name in ("total", "bce", "contrastive")] for epoch in history]


def test_training_learns(tmp_path):
    trainer = build_trainer(tmp_path, epochs=8)
    before = trainer.evaluate()["auroc"]
    history = trainer.fit()
    assert history[-1]["train/bce_loss"] < history[0]["train/bce_loss"]
    assert trainer.evaluate()["auroc"] > max(0.85, before)


def test_total_is_bce_plus_lambda_times_contrastive(tmp_path):
    epoch = build_trainer(tmp_path, lambda_contrastive=0.3).train_epoch()
    assert epoch["total_loss"] == pytest.approx(epoch["bce_loss"] + 0.3 * epoch["contrastive_loss"], rel=1e-5)


def test_lambda_warms_up_from_zero(tmp_path):
    trainer = build_trainer(tmp_path, lambda_contrastive=1.0, lambda_warmup_epochs=2.0)
    first, second, third = (trainer.train_epoch() for _ in range(3))
    share = [(epoch["total_loss"] - epoch["bce_loss"]) / epoch["contrastive_loss"] for epoch in (first, second, third)]
    assert share[0] < 0.3 < share[1] < share[2]
    assert share[2] == pytest.approx(1, rel=1e-4)


def test_resume_gives_the_losses_of_an_uninterrupted_run(tmp_path):
    whole = losses_of(build_trainer(tmp_path / "whole").fit())
    interrupted = build_trainer(tmp_path / "parts")

    def stop_in_the_third(metrics, epoch):
        if epoch == 3:  # epoch 3 has no checkpoint yet
            raise KeyboardInterrupt

    interrupted.log = stop_in_the_third
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit()
    seed_everything(123)  # the resumed process starts from another random state
    resumed = build_trainer(tmp_path / "parts")
    torch.rand(5)
    resumed.resume(tmp_path / "parts")
    assert losses_of(resumed.fit()) == whole[2:]


def test_accumulation_steps_once_for_several_batches(tmp_path):
    """Six batches at four a step are two optimizer steps, the second with what is left."""
    trainer = build_trainer(tmp_path, lambda_contrastive=0.0, accumulation_steps=4)
    assert trainer.steps_per_epoch == 2
    trainer.train_epoch()
    steps = {int(state["step"]) for state in trainer.optimizer.state_dict()["state"].values()}
    assert steps == {2}


def test_stops_when_out_of_patience_and_keeps_the_best(tmp_path):
    trainer = build_trainer(tmp_path, epochs=30, patience=2)
    history = trainer.fit()
    best = max(epoch["val/auroc"] for epoch in history)
    assert len(history) < 30
    assert trainer.evaluate()["auroc"] == pytest.approx(best)


def test_best_weights_return_without_a_checkpoint_folder(tmp_path):
    trainer = build_trainer(None, epochs=6)
    history = trainer.fit()
    assert trainer.evaluate()["auroc"] == pytest.approx(max(epoch["val/auroc"] for epoch in history))


def test_the_test_sets_can_wait_for_the_end(tmp_path):
    trainer = build_trainer(tmp_path, epochs=1, held_out_each_epoch=False)
    trainer.held_out = {"test": trainer.val_loader}
    (epoch,) = trainer.fit()
    assert "val/macro_f1" in epoch
    assert "test/macro_f1" not in epoch
    assert "test/macro_f1" in trainer.evaluate_all()[0]


def test_a_non_finite_loss_stops_the_run_and_names_the_step(tmp_path):
    trainer = build_trainer(tmp_path, lambda_contrastive=0.0)
    torch.nn.init.constant_(trainer.model.classification_head.weight, float("nan"))
    with pytest.raises(FloatingPointError, match="loss is nan in epoch 1, batch 1"):
        trainer.train_epoch()


def test_a_misspelt_monitor_costs_no_epoch(tmp_path):
    trainer = build_trainer(tmp_path, monitor="val/aurocc")
    with pytest.raises(ValueError, match="must be a val/ metric, got val/aurocc .did you mean val/auroc"):
        trainer.fit()
    assert trainer.epoch == 0


def brief_loader(seed, batch_size=16):
    input_ids, yes = examples(64, seed)
    rows = TensorDataset(input_ids, torch.ones_like(input_ids), yes / 3)

    def collate(items):
        columns = (torch.stack(column) for column in zip(*items, strict=True))
        return dict(zip(("input_ids", "attention_mask", "labels"), columns, strict=True))

    return DataLoader(rows, batch_size=batch_size, shuffle=True, collate_fn=collate)


def test_the_snippet_of_the_brief_works_as_written():
    torch.manual_seed(0)
    config = {"learning_rate": 2e-4, "lambda_contrastive": 0.1, "batch_size": 16, "epochs": 2}
    trainer = ContrastiveTrainer(tiny_model(), brief_loader(0), brief_loader(1), torch.device("cpu"), config)
    assert {"total_loss", "bce_loss", "contrastive_loss"} <= trainer.train_epoch().keys()
    assert 0 <= trainer.evaluate()["macro_f1"] <= 1
    assert len(trainer.fit()) == 1  # one epoch is done already


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"learningrate": 1e-3}, "did you mean learning_rate"),
        ({"lambda_contrastive": -0.1}, "lambda_contrastive must be >= 0, got -0.1"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "lr must be positive"),
    ],
)
def test_bad_values_in_the_brief_config_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        ContrastiveTrainer(tiny_model(), brief_loader(0), brief_loader(1), "cpu", config)


def test_labels_outside_0_to_1_are_refused():
    trainer = ContrastiveTrainer(tiny_model(), brief_loader(0), brief_loader(1), "cpu", {})
    batch = next(iter(brief_loader(0))) | {"labels": torch.full((16, 2), 3.0)}
    trainer.train_loader = [batch]
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.1, got 3 to 3"):
        trainer.train_epoch()


def test_two_trainers_with_other_precisions_in_one_process(tmp_path):
    build_trainer(tmp_path / "a", precision="fp32").train_epoch()
    epoch = build_trainer(tmp_path / "b", precision="bf16").train_epoch()
    assert np.isfinite(epoch["total_loss"])
