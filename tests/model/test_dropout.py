"""Dropout of the CPU: what is kept, its scale and its gradients."""

import pickle

import pytest
import torch
from torch import nn

from contrastive_learning.model.dropout import QuickDropout, quicken


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.85])
def test_the_share_is_dropped_and_the_rest_scaled_forward_and_backward(share, dtype):
    torch.manual_seed(0)
    states = torch.rand(301, 333, dtype=dtype).add_(1).t().requires_grad_()  # in no order that memory has
    found = QuickDropout(share)(states)
    assert (found.dtype, found.shape) == (dtype, states.shape)
    is_kept = found != 0
    deviation = (share * (1 - share) / is_kept.numel()) ** 0.5
    assert abs(is_kept.double().mean().item() - (1 - share)) < 4 * deviation + 2**-16
    factors = is_kept / (1 - share)
    torch.testing.assert_close(found, (states * factors).to(dtype))
    found.sum().backward()
    torch.testing.assert_close(states.grad, factors.to(dtype))


def test_each_element_is_dropped_by_itself():
    """Neighbours in memory share 64 random bits: the chance that both are kept is still the product."""
    torch.manual_seed(0)
    is_kept = QuickDropout(0.3)(torch.ones(4 * 200_000)).view(-1, 4) != 0
    for other in range(1, 4):
        both = (is_kept[:, 0] & is_kept[:, other]).double().mean().item()
        assert abs(both - 0.49) < 4 * (0.49 * 0.51 / 200_000) ** 0.5


def test_the_random_state_decides_what_is_dropped():
    dropout, states = QuickDropout(0.3), torch.ones(1001)
    torch.manual_seed(1)
    first, second = dropout(states), dropout(states)
    torch.manual_seed(1)
    assert torch.equal(dropout(states), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("share", "training", "expected"), [(0.3, False, 1.0), (0.0, True, 1.0), (1.0, True, 0.0)])
def test_nothing_or_all_is_dropped_without_a_draw(share, training, expected):
    state = torch.get_rng_state()
    assert QuickDropout(share).train(training)(torch.ones(9)).eq(expected).all()
    assert torch.equal(torch.get_rng_state(), state)


def test_modules_stay_what_they_were_but_for_their_dropout():
    class Own(nn.Dropout):
        pass

    encoder, calls = nn.Sequential(nn.Dropout(0.3), nn.Sequential(nn.Dropout(0.2)), Own(0.1)).eval(), []
    encoder[0].register_forward_hook(lambda *_: calls.append(1))
    quicken(encoder)
    assert [type(module) for module in (encoder[0], encoder[1][0], encoder[2])] == [QuickDropout, QuickDropout, Own]
    assert (encoder[0].p, encoder[1][0].p, encoder[0].training) == (0.3, 0.2, False)
    encoder(torch.ones(3))
    assert calls == [1]
    assert type(pickle.loads(pickle.dumps(encoder[1]))[0]) is QuickDropout


def test_a_compiled_dropout_is_the_one_of_torch():
    dropout, states = QuickDropout(0.3), torch.ones(1000)
    torch.manual_seed(2)
    expected = nn.Dropout(0.3)(states)
    torch.manual_seed(2)
    assert torch.equal(torch.compile(dropout, backend="eager")(states), expected)
