"""The losses on a GPU are those on the CPU, in double and in full precision, with autocast around them or not."""

from itertools import product

import pytest
import torch

from contrastive_learning.losses import (
    AgreementLoss,
    BalancedLoss,
    ExactMatchLoss,
    GradedLoss,
    InstanceLoss,
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
    "across": lambda **options: SupConLoss(domains="across", **options),
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
    """Votes of up to five annotators, some missing, of responses of three domains."""
    generator = torch.Generator().manual_seed(0)
    num = torch.randint(0, 6, (batch_size, criteria), generator=generator).float()
    yes = torch.binomial(num, torch.full_like(num, 0.6), generator=generator)
    logits, embeddings = (torch.randn(batch_size, width, generator=generator) for width in (criteria, dim))
    domains = torch.randint(0, 3, (batch_size,), generator=generator)
    return [*(column.to(dtype) for column in (logits, embeddings, yes, num)), domains]


def values_and_gradients(loss, dtype, device, autocast=False, views=1):
    logits, embeddings, yes, num, domains = (column.to(device) for column in random_batch(dtype))
    half = len(yes) // 2
    if views == 2:
        yes, num = (votes[:half].repeat(2, 1) for votes in (yes, num))
        domains = domains[:half].repeat(2)
    logits, embeddings = logits.requires_grad_(), embeddings.requires_grad_()
    with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
        losses = loss(logits, embeddings, yes, num, views=views, domains=domains)
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
    check_against_the_cpu(loss, dtype, autocast)


@pytest.mark.parametrize(("dtype", "autocast"), [(torch.float64, False), (torch.float32, False), (torch.float32, True)])
@pytest.mark.parametrize("projection", ["shared", "per_criterion"])
@pytest.mark.parametrize("among", ["all", "same_side"])
def test_terms_on_two_views_are_those_of_the_cpu(among, projection, dtype, autocast):
    instance = InstanceLoss(temperature=0.1, among=among, projection=projection)
    instance.block_size = 64
    loss = JointLoss(
        contrastive=contrastive("supcon", "all", projection),
        lambda_contrastive=0.3,
        targets="soft",
        criterion_weights=None,
        pos_weight=None,
        instance=instance,
        instance_weight=0.2,
        consistency=0.7,
    )
    check_against_the_cpu(loss, dtype, autocast, views=2)


def check_against_the_cpu(loss, dtype, autocast, views=1):
    expected = values_and_gradients(loss, torch.float64, "cpu", views=views)
    found = values_and_gradients(loss, dtype, "cuda", autocast, views)
    tolerance = 1e-10 if dtype == torch.float64 else 2e-5
    for value, wanted in zip(found, expected, strict=True):
        assert value.dtype == dtype
        assert (value.double() - wanted).norm() <= tolerance * wanted.norm()  # terms that are off are 0
