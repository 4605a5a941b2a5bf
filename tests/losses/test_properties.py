"""What must hold for any votes, any embeddings and any temperature."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contrastive_learning.losses import (
    AgreementLoss,
    BalancedLoss,
    ContrastiveLoss,
    ExactMatchLoss,
    GradedLoss,
    SupConLoss,
    UnanimityLoss,
)

few = settings(max_examples=25)


@st.composite
def losses(draw) -> ContrastiveLoss:
    shared = {"temperature": draw(st.floats(0.01, 10)), "denominator": draw(st.sampled_from(["all", "negatives"]))}
    name = draw(st.sampled_from(["majority", "unanimity", "agreement", "exact", "graded", "balanced"]))
    if name == "exact":
        return ExactMatchLoss(**shared)
    shared |= {"criterion_weights": None, "projection": draw(st.sampled_from(["shared", "per_criterion"]))}
    if name in ("graded", "balanced"):
        del shared["denominator"]
        return (GradedLoss if name == "graded" else BalancedLoss)(**shared)
    if name == "unanimity":
        hard, positives = draw(st.floats(1, 10)), draw(st.sampled_from(["yes", "yes_and_no"]))
        return UnanimityLoss(**shared, hard_negative_weight=hard, positives=positives)
    return SupConLoss(**shared) if name == "majority" else AgreementLoss(**shared)


@st.composite
def batches(draw, dtype=torch.float64):
    batch_size, criteria = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    cells = st.integers(0, 5).flatmap(lambda num: st.tuples(st.integers(0, num), st.just(num)))
    size = batch_size * criteria
    votes = torch.tensor(draw(st.lists(cells, min_size=size, max_size=size))).view(batch_size, criteria, 2)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    spread = draw(st.sampled_from([0.0, 0.01, 1.0]))  # 0: all embeddings equal
    z = torch.ones(8, dtype=dtype) + spread * torch.randn(batch_size, 8, dtype=dtype, generator=generator)
    return z.requires_grad_(), votes[..., 0], votes[..., 1]


def value_and_gradient(loss, z, yes, num):
    value = loss(z, yes, num)
    return value.detach(), torch.autograd.grad(value, z)[0]


@few
@given(losses(), batches(dtype=torch.float32))
def test_value_and_gradient_are_finite(loss, batch):
    value, gradient = value_and_gradient(loss, *batch)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()


@few
@given(losses(), batches(), st.randoms(use_true_random=False))
def test_the_order_of_the_batch_does_not_matter(loss, batch, random):
    z, yes, num = batch
    order = list(range(len(z)))
    random.shuffle(order)
    value, gradient = value_and_gradient(loss, z, yes, num)
    moved = z.detach()[order].requires_grad_()
    moved_value, moved_gradient = value_and_gradient(loss, moved, yes[order], num[order])
    torch.testing.assert_close(moved_value, value, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(moved_gradient, gradient[order], rtol=1e-7, atol=1e-8)


@few
@given(losses(), batches(), st.integers(1, 15))
def test_the_tile_size_does_not_matter(loss, batch, block_size):
    value, gradient = value_and_gradient(loss, *batch)
    loss.block_size = block_size
    tiled_value, tiled_gradient = value_and_gradient(loss, *batch)
    torch.testing.assert_close(tiled_value, value, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(tiled_gradient, gradient, rtol=1e-7, atol=1e-8)


@few
@given(losses(), batches(), st.floats(1e-3, 1e3))
def test_the_length_of_the_embeddings_does_not_matter(loss, batch, scale):
    z, yes, num = batch
    torch.testing.assert_close(loss(z * scale, yes, num), loss(z, yes, num), rtol=1e-9, atol=1e-9)


@few
@given(batches(), st.sampled_from(["all", "negatives"]))
def test_swapping_yes_and_no_does_not_matter(batch, denominator):
    z, yes, num = batch
    for loss_class in (SupConLoss, AgreementLoss):
        loss = loss_class(temperature=0.1, denominator=denominator, projection="shared", criterion_weights=None)
        assert loss(z, num - yes, num).item() == pytest.approx(loss(z, yes, num).item(), rel=1e-9, abs=1e-9)
    for loss_class in (GradedLoss, BalancedLoss):
        loss = loss_class(temperature=0.1, projection="shared", criterion_weights=None)
        assert loss(z, num - yes, num).item() == pytest.approx(loss(z, yes, num).item(), rel=1e-9, abs=1e-9)
