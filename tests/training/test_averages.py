"""Averages of weights against plain loops over the weights after each step."""

import json
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from contrastive_learning.judging import LinearJudge
from contrastive_learning.runtime.devices import seed_everything
from contrastive_learning.training import Hooks
from support.small_task import build_trainer, hard_negative, losses_of

STEPS = 24  # six batches in each of four epochs


def trained(folder, kind, **changes):
    """The trainer after `fit`, and the weights after each step, by name."""
    trainer = build_trainer(folder, weight_average=kind, dtype=torch.float64, **changes)
    update, seen = trainer._step.update, []

    def watched_update():
        norm = update()
        seen.append({name: value.detach().clone() for name, value in trainer.model.named_parameters()})
        return norm

    trainer._step.update = watched_update
    trainer.history = trainer.fit()
    return trainer, seen


def averaged(kind, seen, step):
    """The average after `step` steps; None before the first."""
    if kind == "tail":
        part = seen[STEPS // 2 : step]
        return {name: sum(each[name] for each in part) / len(part) for name in seen[0]} if part else None
    mean, decay = seen[0], 1 - 10 / STEPS
    for weights in seen[1:step]:
        mean = {name: decay * mean[name] + (1 - decay) * weights[name] for name in mean}
    return mean


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("kind", ["ema", "tail"])
def test_the_best_epochs_average_is_kept(tmp_path, kind, in_memory):
    trainer, seen = trained(None if in_memory else tmp_path, kind)
    assert len(seen) == STEPS
    expected = averaged(kind, seen, 6 * trainer.best[0]) or seen[6 * trainer.best[0] - 1]
    for name, value in trainer.model.named_parameters():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-8, msg=name)  # torch weighs in float32
    assert trainer.evaluate()["auroc"] == trainer.best[1] == max(epoch["val/auroc"] for epoch in trainer.history)


@pytest.mark.parametrize("kind", ["ema", "tail"])
def test_each_epoch_is_evaluated_by_its_average_and_training_is_the_same(tmp_path, kind):
    """An average that has begun is judged in each epoch; the steps are those of a run without."""
    predicted = []

    def note(evaluations, metrics, epoch):
        predicted.append(evaluations["val"].probabilities)

    trainer, seen = trained(None, kind, hooks=Hooks(on_evaluation=note))
    plain, same = trained(None, "none")
    assert losses_of(trainer.history) == losses_of(plain.history)
    for own, other in zip(seen, same, strict=True):
        assert all(torch.equal(own[name], other[name]) for name in own)
    for epoch in range(1, 5):
        weights = averaged(kind, seen, 6 * epoch) or seen[6 * epoch - 1]
        plain.model.load_state_dict(weights, strict=False)
        expected = plain.predict(plain.val_loader).probabilities
        np.testing.assert_allclose(predicted[epoch], expected, rtol=1e-6)


@pytest.mark.parametrize(("kind", "sampler"), [("ema", {"sampler": hard_negative}), ("tail", {})])
def test_a_resumed_run_has_the_same_average(tmp_path, kind, sampler):
    """Interrupted in the third epoch, when the tail has begun. Near negatives are those of the weights as they are."""
    changes = {"weight_average": kind, "judge": LinearJudge(), **sampler}
    whole = build_trainer(tmp_path / "whole", **changes)
    expected = losses_of(whole.fit())

    def tell(step, *event):
        if interrupted.epoch == 2 and step == 4:
            signal.raise_signal(signal.SIGINT)

    interrupted = build_trainer(tmp_path / "parts", hooks=Hooks(on_step=tell), **changes)
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit()
    seed_everything(123)
    resumed = build_trainer(tmp_path / "parts", **changes)
    resumed.resume(tmp_path / "parts")
    assert losses_of(resumed.fit()) == expected[2:]
    assert resumed.best == whole.best
    for file_name in ("model.safetensors", "averaged.safetensors"):
        one, other = (
            load_file(folder / json.loads((folder / "checkpoints.json").read_text())["last"] / file_name)
            for folder in (tmp_path / "whole", tmp_path / "parts")
        )
        assert all(torch.equal(one[name], other[name]) for name in one)
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, whole.model.state_dict()[name])


def test_without_an_average_a_checkpoint_has_one_file_of_weights(tmp_path):
    build_trainer(tmp_path, epochs=1).fit()
    assert not list(tmp_path.rglob("averaged.safetensors"))


def test_a_lost_average_is_not_replaced_by_the_last_weights(tmp_path):
    trainer = build_trainer(tmp_path, epochs=2, weight_average="ema")
    trainer.fit()
    for file in tmp_path.rglob("averaged.safetensors"):
        file.unlink()
    with pytest.raises(ValueError, match=r"averaged.safetensors is damaged, cut off or missing"):
        trainer._state.load_best_weights(tmp_path)


def test_a_misspelt_average_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"^trainer.weight_average must be one of none, ema, tail; got emma"):
        build_trainer(tmp_path, weight_average="emma")
