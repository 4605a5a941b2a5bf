"""Instance discrimination between two views, by itself; its loop over pairs is in test_joint.py."""

import math

import pytest
import torch

from contrastive_learning.losses import InstanceLoss, NotFiniteError


def embeddings(num_responses, dtype=torch.float32):
    generator = torch.Generator().manual_seed(num_responses)
    return torch.randn(2 * num_responses, 6, dtype=dtype, generator=generator)


def test_views_equal_and_responses_orthogonal():
    """s = 1 / temperature = 2 with the other view, 0 with the other 2 (n - 1) rows: log(e^2 + 2 (n - 1)) - 2."""
    for num_responses in (2, 5):
        z = torch.eye(num_responses, dtype=torch.float64).repeat(2, 1) * 7
        expected = math.log(math.exp(2) + 2 * (num_responses - 1)) - 2
        assert InstanceLoss(temperature=0.5)(z).item() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("temperature", [0.001, 0.1])
@pytest.mark.parametrize("block_size", [1, 4, 64])
def test_gradcheck_with_any_tile_and_temperature(temperature, block_size):
    z = embeddings(5, torch.float64).requires_grad_()
    loss = InstanceLoss(temperature=temperature)
    loss.block_size = block_size
    assert torch.autograd.gradcheck(lambda z: loss(z) * temperature, (z,), eps=1e-7, atol=1e-5)
    assert loss(z).item() == pytest.approx(InstanceLoss(temperature=temperature)(z).item(), rel=1e-12)


def test_the_same_side_keeps_its_members_apart_and_repels_no_other():
    """Four orthogonal responses, two per side: log(e^2 + 2) - 2; gradients are those of the sides by themselves."""
    z = embeddings(4, torch.float64).requires_grad_()
    yes, num = torch.tensor([[3], [2], [0], [1]] * 2), torch.full((8, 1), 3)
    loss = InstanceLoss(temperature=0.5, among="same_side")
    orthogonal = torch.eye(4, dtype=torch.float64).repeat(2, 1)
    assert loss(orthogonal, yes, num).item() == pytest.approx(math.log(math.exp(2) + 2) - 2, abs=1e-14)
    sides = (InstanceLoss(temperature=0.5)(z[[first, first + 1, first + 4, first + 5]]) for first in (0, 2))
    expected = torch.stack(list(sides)).mean()
    assert loss(z, yes, num).item() == pytest.approx(expected.item(), rel=1e-12)
    torch.testing.assert_close(*(torch.autograd.grad(value, z)[0] for value in (loss(z, yes, num), expected)))


def test_nothing_judged_and_lone_responses_of_a_side_give_exactly_zero():
    z, num = embeddings(3).requires_grad_(), torch.tensor([[3], [3], [0]] * 2)
    for yes in (torch.zeros_like(num), torch.tensor([[3], [0], [0]] * 2)):
        value = InstanceLoss(temperature=0.1, among="same_side")(z, yes, num * (yes.any() > 0))
        assert value.item() == 0.0
        assert torch.equal(torch.autograd.grad(value, z)[0], torch.zeros_like(z))


def test_one_response_gives_exactly_zero():
    z = embeddings(1).requires_grad_()
    value = InstanceLoss(temperature=0.1)(z)
    assert value.item() == 0.0
    assert torch.equal(torch.autograd.grad(value, z)[0], torch.zeros_like(z))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_and_narrow_embeddings_are_computed_in_float32(dtype):
    narrow = embeddings(9).to(dtype).requires_grad_()
    wide = narrow.detach().float().requires_grad_()
    expected = InstanceLoss(temperature=0.05)(wide)
    with torch.autocast("cpu", dtype=dtype):
        value = InstanceLoss(temperature=0.05)(narrow)
    assert value.dtype == torch.float32
    assert value.item() == expected.item()
    value.backward()
    expected.backward()
    assert torch.equal(narrow.grad, wide.grad.to(dtype))


def test_no_matrix_over_pairs_is_made():
    loss = InstanceLoss(temperature=0.1)
    loss.block_size = 64
    z = embeddings(300).requires_grad_()
    with torch.profiler.profile(record_shapes=True, profile_memory=True) as profile:
        loss(z).backward()
    assert max(event.cpu_memory_usage for event in profile.events()) < 600 * 600 * z.element_size() / 10


def test_what_it_cannot_take_is_named():
    loss, z = InstanceLoss(temperature=0.1), embeddings(3)
    with pytest.raises(ValueError, match="^embeddings must hold two views of each response, got 5 rows"):
        loss(z[:5])
    with pytest.raises(ValueError, match="^embeddings must not be empty"):
        loss(z[:0])
    with pytest.raises(ValueError, match="^loss.temperature must be positive, got 0"):
        loss(z, temperature=0)
    with pytest.raises(ValueError, match="^loss.instance_among must be one of all, same_side; got side"):
        InstanceLoss(temperature=0.1, among="side")
    with pytest.raises(ValueError, match="^loss.instance_among=same_side needs the votes of the responses"):
        InstanceLoss(temperature=0.1, among="same_side")(z)
    z[4, 1] = math.nan
    with pytest.raises(NotFiniteError, match=r"NaN or inf in 1 of 6 rows: \[4\]"):
        loss(z)
