import random

import pytest
import torch

from contrastive_learning.runtime.devices import (
    accelerator,
    precision_of,
    random_state,
    resolve_device,
    seed_everything,
    set_random_state,
)


def test_a_device_is_one_of_the_choices():
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") in ("cpu", "cuda", "mps")
    with pytest.raises(ValueError, match=r"trainer\.device must be one of auto, cpu, cuda, mps; got cupu .*mean cpu"):
        resolve_device("cupu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_missing_gpu_is_named():
    with pytest.raises(ValueError, match="trainer.device=cuda needs a CUDA device, and torch finds none"):
        resolve_device("cuda:0")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_later_accelerator_has_its_own_precision(precision):
    other = accelerator("cpu", "bf16" if precision == "fp32" else "fp32")
    assert precision_of(other) != precision
    found = accelerator("cpu", precision)
    assert (precision_of(found), found.device.type) == (precision, "cpu")


def test_equal_seeds_draw_equal_numbers():
    drawn = []
    for seed in (3, 3, 4):
        seed_everything(seed)
        drawn.append((random.random(), torch.rand(2).tolist()))
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_random_state_can_be_set_again(device):
    device = torch.device(device)
    state = random_state(device)
    first = torch.rand(4, device=device), torch.rand(4)
    set_random_state(state, device)
    again = torch.rand(4, device=device), torch.rand(4)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
