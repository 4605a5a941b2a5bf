"""The two ways to a denominator agree where both can be taken, and neither keeps a [batch, batch] matrix."""

from dataclasses import replace

import pytest
import torch

from contrastive_learning.losses.streamed import Denominator, _from_exp_sums, _from_row_blocks, log_denominators


def random_denominators(batch_size=23, criteria=3, levels=2):
    generator = torch.Generator().manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(batch_size, 5, dtype=torch.float64, generator=generator))
    shape = (batch_size, criteria, levels)
    keys, weights = (torch.rand(shape, dtype=torch.float64, generator=generator) for _ in range(2))
    groups = torch.randint(0, 6, (batch_size,), generator=generator)
    of_terms = torch.rand(batch_size, criteria, 4, levels, dtype=torch.float64, generator=generator)
    terms = torch.rand(batch_size, criteria, 4, dtype=torch.float64, generator=generator)
    return z, {
        "all": Denominator(everyone=True),
        "levels": Denominator(everyone=False, levels=keys, weights=weights),
        "all and levels": Denominator(everyone=True, levels=keys, weights=weights),
        "groups": Denominator(everyone=False, levels=keys, weights=weights, groups=groups),
        "terms": Denominator(everyone=False, levels=keys, weights=of_terms, terms=terms),
    }


@pytest.mark.parametrize("name", random_denominators()[1])
@pytest.mark.parametrize("block_size", [1, 7, 23, 100])
def test_exp_sums_equal_logsumexp_and_the_dense_sum(name, block_size):
    z, denominators = random_denominators()
    denominator = denominators[name]
    leaf = z.clone().requires_grad_()
    dense = dense_log_denominators(leaf, denominator, 0.1)
    direction = torch.linspace(-1, 1, dense.numel(), dtype=z.dtype).view_as(dense)
    expected = torch.autograd.grad(dense, leaf, direction)[0]
    for way in (_from_exp_sums, _from_row_blocks):
        logs, pullback = way(z, denominator, 0.1, block_size)
        torch.testing.assert_close(logs, dense, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(pullback(direction), expected, rtol=1e-10, atol=1e-10)


def dense_log_denominators(z, denominator, temperature):
    if denominator.terms is not None:  # the weighted sum of as many ordinary ones
        each = [
            dense_log_denominators(z, replace(denominator, weights=weights, terms=None), temperature)
            for weights in denominator.weights.unbind(2)
        ]
        return (torch.stack(each, dim=2) * denominator.terms).sum(2)
    same = torch.eye(len(z), dtype=torch.bool)
    if denominator.groups is not None:
        same = denominator.groups[:, None] == denominator.groups
    weights = torch.full((len(z), len(z), 1), float(denominator.everyone), dtype=z.dtype)
    if denominator.levels is not None:
        weights = weights + torch.einsum("icv,kcv->ikc", denominator.weights, denominator.levels)
    exponentials = (z @ z.T / temperature).exp().masked_fill(same, 0.0)
    return torch.einsum("ik,ikc->ic", exponentials, weights.expand(-1, -1, weights.shape[2])).log()


def test_total_weight_is_the_denominator_of_orthogonal_embeddings():
    z, denominators = random_denominators()
    for denominator in denominators.values():
        expected = dense_log_denominators(torch.eye(len(z), dtype=z.dtype), denominator, 1.0).exp()
        total = torch.as_tensor(denominator.total_weight(len(z)), dtype=z.dtype).expand_as(expected)
        torch.testing.assert_close(total, expected)


@pytest.mark.parametrize("temperature", [0.0157, 0.0156, 0.002])
def test_float32_stays_finite_on_both_sides_of_the_switch(temperature):
    """Antipodal vectors: s = -1 / temperature, whose exponential is 0 in float32 below a temperature of 0.0097."""
    z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    part = torch.ones(3, 1, 1)
    others = Denominator(everyone=False, levels=part, weights=part, groups=torch.tensor([0, 0, 1]))
    logs, pullback = log_denominators(z, others, temperature, 2)
    expected = torch.tensor([[0.0], [0.0], [0.6931]]) - 1 / temperature
    torch.testing.assert_close(logs, expected, rtol=1e-5, atol=1e-4)
    assert torch.isfinite(pullback(torch.ones(3, 1))).all()


@pytest.mark.parametrize("temperature", [0.1, 0.01])
def test_no_matrix_over_pairs_is_made(temperature):
    """No tensor alive or made on the way has as many elements as a tenth of [batch, batch]."""
    z = torch.nn.functional.normalize(torch.randn(600, 4))
    with torch.profiler.profile(record_shapes=True, profile_memory=True) as profile:
        _, pullback = log_denominators(z, Denominator(everyone=True), temperature, 64)
        pullback(torch.ones(600, 1))
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert largest < 600 * 600 * z.element_size() / 10
