import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LinearLR

from contrastive_learning.runtime.devices import accelerator
from contrastive_learning.training.state import TrainingState


def state_of(steps):
    """A model trained for some steps, and the state of its training."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    scheduler = LinearLR(optimizer, total_iters=10)
    state = TrainingState(accelerator("cpu", "fp32"), model, optimizer, scheduler)
    train(state, steps)
    return state


def train(state, steps):
    for _ in range(steps):
        state.model(torch.rand(4, 3)).square().mean().backward()
        state.optimizer.step()
        state.scheduler.step()
        state.optimizer.zero_grad()


@pytest.mark.parametrize("copied", [False, True])
def test_training_continues_as_if_it_had_not_been_saved(tmp_path, copied):
    """Weights, moments, learning rate and the random inputs are those of five steps without a break.

    What is copied may be written when training is further on.
    """
    saved = state_of(3)
    saved.note_random_states()
    save = saved.saving(tmp_path, "epoch_001", {"epoch": 1, "best": [1, 0.5]}, best=True, copied=copied)
    if copied:
        train(saved, 2)
        save()
    else:
        save()
        train(saved, 2)
    loaded = state_of(0)
    torch.rand(7)
    assert loaded.load(tmp_path) == {"epoch": 1, "best": [1, 0.5]}
    train(loaded, 2)
    assert torch.equal(loaded.model.weight, saved.model.weight)
    assert loaded.scheduler.get_last_lr() == saved.scheduler.get_last_lr()


def test_the_best_weights_are_not_those_of_the_last_checkpoint(tmp_path):
    state = state_of(1)
    best = state.model.weight.detach().clone()
    state.saving(tmp_path, "epoch_001", {}, best=True)()
    train(state, 1)
    state.saving(tmp_path, "epoch_002", {}, best=False)()
    state.load_best_weights(tmp_path)
    assert torch.equal(state.model.weight, best)


def test_a_folder_without_a_checkpoint_is_named(tmp_path):
    with pytest.raises(ValueError, match="no checkpoint in"):
        state_of(0).load(tmp_path)
