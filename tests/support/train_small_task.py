"""A process of tests/runtime/test_processes.py: train_small_task.py FOLDER LOSS GRAD_CACHE_CHUNK."""

import os
import sys
from pathlib import Path

import torch
from small_task import build_trainer, half_of_the_tokens, hard_negative, terms_on_two_views

from contrastive_learning.judging import NeighboursJudge
from contrastive_learning.losses import ExactMatchLoss
from contrastive_learning.runtime.devices import leave_processes
from contrastive_learning.samplers import balanced
from contrastive_learning.training import Hooks


def main(folder, loss, grad_cache_chunk):
    chunk = None if grad_cache_chunk == "none" else int(grad_cache_chunk)
    sampler = hard_negative if loss == "exact" else balanced
    on_two_views = (
        {
            "views": 2,
            "loss_changes": terms_on_two_views(),
            "unjudged": 50,
            "cutoff": half_of_the_tokens(),
            "weight_average": "ema",
        }
        if loss == "instance"
        else {}
    )
    seen = {"losses": [], "first_gradient": None}
    trainer = build_trainer(
        None,
        epochs=3,
        dropout=0.0,
        batch_size=15,
        dtype=torch.float64,
        sampler=sampler,
        hooks=Hooks(on_step=lambda step, num_steps, losses: seen["losses"].append(losses["total_loss"])),
        grad_cache_chunk=chunk,
        judge=NeighboursJudge(k=5, temperature=0.1, space="embeddings"),
        contrastive_changes={"domains": "across"} if loss == "across" else None,
        **on_two_views,
    )
    if loss == "exact":
        trainer.loss.contrastive_loss = ExactMatchLoss(temperature=0.1, denominator="all")
    update = trainer._step.update

    def watched_update():
        if seen["first_gradient"] is None:
            parameters = trainer.model.parameters()
            seen["first_gradient"] = torch.cat([parameter.grad.flatten().clone() for parameter in parameters])
        return update()

    trainer._step.update = watched_update
    for _ in range(3):
        trainer.train_epoch()
    weights = torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])
    _, evaluations = trainer.evaluate_all()
    found = {"losses": torch.tensor(seen["losses"]), "first_gradient": seen["first_gradient"], "weights": weights}
    found["judged"] = torch.from_numpy(evaluations["val"].probabilities)
    torch.save(found, Path(folder, f"{os.environ.get('RANK', 0)}.pt"))
    leave_processes()  # gloo's threads, if they still run at the end of the interpreter, can abort it


if __name__ == "__main__":
    main(*sys.argv[1:])
