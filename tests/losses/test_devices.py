"""The losses on a GPU are those on the CPU, in double and in full precision, with autocast around them or not."""

from itertools import product

import pytest
import torch

from contrastive_learning.losses import (
    AgreementLoss,
    BalancedLoss,
    ExactMatchLoss,
    GradedLoss,
    JointLoss,
    SupConLoss,
    UnanimityLoss,
)
from support.gpu import NEEDS_CUDA

pytestmark = NEEDS_CUDA

LOSSES = {
    "supcon": SupConLoss,
    "agreement": AgreementLoss,
    "unanimity": lambda **options: UnanimityLoss(hard_negative_weight=2.0, positives="yes_and_no", **options),
}
OWN_DENOMINATOR = {"graded": GradedLoss, "balanced": BalancedLoss}
CASES = [
    *product(LOSSES, ("all", "negatives"), ("shared", "per_criterion")),
    *product(OWN_DENOMINATOR, (None,), ("shared", "per_criterion")),
]


def contrastive(name, denominator, projection):
    options = {"temperature": 0.07, "projection": projection, "criterion_weights": None}
    if denominator is None:
        return OWN_DENOMINATOR[name](**options)
    return LOSSES[name](denominator=denominator, **options)


def random_batch(dtype, batch_size=300, criteria=3, dim=48):
    """Votes of two to five annotators, some missing."""
    generator = torch.Generator().manual_seed(0)
    num = torch.randint(0, 6, (batch_size, criteria), generator=generator).float()
    yes = torch.binomial(num, torch.full_like(num, 0.6), generator=generator)
    logits, embeddings = (torch.randn(batch_size, width, generator=generator) for width in (criteria, dim))
    return [column.to(dtype) for column in (logits, embeddings, yes, num)]


def values_and_gradients(loss, dtype, device, autocast=False):
    logits, embeddings, yes, num = (column.to(device) for column in random_batch(dtype))
    logits, embeddings = logits.requires_grad_(), embeddings.requires_grad_()
    with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
        losses = loss(logits, embeddings, yes, num)
    losses.total.backward()
    return [column.detach().cpu() for column in (*losses, logits.grad, embeddings.grad)]


@pytest.mark.parametrize(("dtype", "autocast"), [(torch.float64, False), (torch.float32, False), (torch.float32, True)])
@pytest.mark.parametrize("case", [*CASES, None], ids=str)
def test_values_and_gradients_are_those_of_the_cpu(case, dtype, autocast):
    part = ExactMatchLoss(temperature=0.07, denominator="all") if case is None else contrastive(*case)
    part.block_size = 64  # several tiles
    loss = JointLoss(
        contrastive=part,
        lambda_contrastive=0.5,
        targets="soft",
        criterion_weights=(1.0, 2.0, 0.5),
        pos_weight=(1.0, 3.0, 0.7),
    )
    expected = values_and_gradients(loss, torch.float64, "cpu")
    found = values_and_gradients(loss, dtype, "cuda", autocast)
    tolerance = 1e-10 if dtype == torch.float64 else 2e-5
    for value, wanted in zip(found, expected, strict=True):
        assert value.dtype == dtype
        difference = (value.double() - wanted).norm() / wanted.norm()
        assert difference < tolerance
