"""BCE on votes, and its sum with the contrastive term."""

import math
from functools import partial

import pytest
import torch

from contrastive_learning.losses import BalancedLoss, GradedLoss, InstanceLoss, JointLoss, SupConLoss, joint_loss

SUPCON = partial(SupConLoss, denominator="all", projection="shared", criterion_weights=None)
SAME_SIDE = InstanceLoss(temperature=0.1, among="same_side")


def joint(**changes):
    arguments = {
        "contrastive": SUPCON(temperature=0.1),
        "lambda_contrastive": 0.3,
        "targets": "soft",
        "criterion_weights": None,
        "pos_weight": None,
    }
    return JointLoss(**(arguments | changes))


def random_batch(batch_size=12, criteria=3):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch_size, criteria, generator=generator)
    embeddings = torch.randn(batch_size, 5, generator=generator)
    num = torch.randint(0, 5, (batch_size, criteria), generator=generator)
    yes = (torch.rand(batch_size, criteria, generator=generator) * (num + 1)).long().minimum(num)
    return logits.requires_grad_(), embeddings.requires_grad_(), yes, num


@pytest.mark.parametrize("targets", ["soft", "majority"])
@pytest.mark.parametrize("criterion_weights", [None, [1.0, 0.5, 2.0]])
@pytest.mark.parametrize("pos_weight", [None, 3.0, [1.0, 2.0, 0.5]])
def test_bce_equals_a_loop_over_cells(targets, criterion_weights, pos_weight):
    logits, _, yes, num = random_batch()
    total, weight_sum = 0.0, 0.0
    for i in range(12):
        for c in range(3):
            y, n = yes[i, c].item(), num[i, c].item()
            if n == 0:
                continue
            target = y / n if targets == "soft" else 0.5 if 2 * y == n else float(2 * y > n)
            p = 1 / (1 + math.exp(-logits[i, c].item()))
            yes_weight = pos_weight[c] if isinstance(pos_weight, list) else pos_weight or 1.0
            weight = 1.0 if criterion_weights is None else criterion_weights[c]
            total -= weight * (yes_weight * target * math.log(p) + (1 - target) * math.log(1 - p))
            weight_sum += weight
    loss = joint(targets=targets, criterion_weights=criterion_weights, pos_weight=pos_weight)
    assert loss.bce(logits, yes, num).item() == pytest.approx(total / weight_sum, rel=1e-5)


def test_soft_targets_are_best_at_the_share():
    """d BCE / d logit = sigmoid(logit) - share, zero at logit = log 2 for a share of 2/3."""
    logits = torch.full((4, 1), math.log(2), requires_grad=True)
    value = joint().bce(logits, torch.full((4, 1), 2), torch.full((4, 1), 3))
    assert torch.autograd.grad(value, logits)[0].abs().max() < 1e-7


def test_total_is_the_weighted_sum():
    logits, embeddings, yes, num = random_batch()
    loss = joint()
    losses = loss(logits, embeddings, yes, num, lambda_scale=0.5)
    assert losses.total.item() == pytest.approx((losses.bce + 0.3 * 0.5 * losses.contrastive).item())
    assert losses.contrastive.item() == loss.contrastive(embeddings, yes, num).item() > 0
    assert loss(logits, embeddings, yes, num).total > losses.total


def test_terms_on_two_views_equal_loops_over_pairs():
    """In float64, value and gradient; the mean over views of BCE is the BCE of all rows."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(14, 3, dtype=torch.float64, generator=generator).requires_grad_()
    z = torch.randn(14, 5, dtype=torch.float64, generator=generator).requires_grad_()
    num = torch.randint(0, 4, (7, 3), generator=generator)
    assert num.amax(1).min() > 0  # each response has a vote
    yes = num.minimum(torch.randint(0, 4, (7, 3), generator=generator))
    loss = joint(instance=InstanceLoss(temperature=0.3), instance_weight=0.2, consistency=0.7)
    votes = yes.repeat(2, 1), num.repeat(2, 1)
    losses = loss(logits, z, *votes, lambda_scale=0.5, views=2)
    bce = (loss.bce(logits[:7], yes, num) + loss.bce(logits[7:], yes, num)) / 2
    contrastive = loss.contrastive(z, *votes, views=2)
    instance, consistency = instance_by_loops(z, 0.3), consistency_by_loops(logits)
    expected = bce + 0.5 * (0.3 * contrastive + 0.2 * instance + 0.7 * consistency)
    for found, wanted in zip(losses, (expected, bce, contrastive, instance, consistency), strict=True):
        assert found.item() == pytest.approx(wanted.item(), rel=1e-12)
    gradients = torch.autograd.grad(losses.total, (logits, z)), torch.autograd.grad(expected, (logits, z))
    for found, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    assert loss.terms == losses._fields


def instance_by_loops(z, temperature):
    unit, total = z / z.norm(dim=1, keepdim=True), 0.0
    for i in range(len(z)):
        scores = [unit[i] @ unit[k] / temperature for k in range(len(z)) if k != i]
        other = (i + len(z) // 2) % len(z)
        total = total + torch.stack(scores).logsumexp(0) - unit[i] @ unit[other] / temperature
    return total / len(z)


def consistency_by_loops(logits):
    total, (num_rows, criteria) = 0.0, logits.shape
    for i in range(num_rows):
        for c in range(criteria):
            p, q = logits[i, c].sigmoid(), logits[(i + num_rows // 2) % num_rows, c].sigmoid()
            total = total + p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    return total / (num_rows * criteria)  # half of the two divergences of each response


def test_equal_views_are_consistent():
    logits = random_batch()[0]
    value = joint().consistency(torch.cat([logits, logits]))
    assert value.item() == 0
    assert torch.equal(torch.autograd.grad(value, logits)[0], torch.zeros_like(logits))


@pytest.mark.parametrize(
    ("views", "changes", "learns"),
    [
        (2, {}, True),
        (1, {}, False),
        (2, {"lambda_contrastive": 0.0}, False),
        (2, {"contrastive": SUPCON(temperature=0.1, denominator="negatives")}, False),
        (2, {"contrastive": None, "lambda_contrastive": 0.0, "consistency": 1.0}, True),
        (2, {"contrastive": None, "lambda_contrastive": 0.0}, False),
        (2, {"lambda_contrastive": 0.0, "instance": InstanceLoss(temperature=0.1), "instance_weight": 0.1}, True),
        (2, {"contrastive": GradedLoss(temperature=0.1, projection="shared", criterion_weights=None)}, False),
        (2, {"contrastive": BalancedLoss(temperature=0.1, projection="shared", criterion_weights=None)}, False),
        (2, {"lambda_contrastive": 0.0, "instance": SAME_SIDE, "instance_weight": 0.1}, False),
    ],
)
def test_which_losses_learn_from_responses_without_votes(views, changes, learns):
    """A gradient of the outputs of a response that nobody judged, if and only if the loss says so."""
    loss = joint(**changes)
    assert loss.learns_without_votes(views) == learns
    if views == 2:
        logits, z, yes, num = random_batch()
        num[5] = yes[5] = 0
        second = z * torch.linspace(0.5, 1.5, 5)
        votes = yes.repeat(2, 1), num.repeat(2, 1)
        losses = loss(torch.cat([logits, logits * 2]), torch.cat([z, second]), *votes, views=2)
        gradients = torch.autograd.grad(losses.total, (logits, z), allow_unused=True)
        assert any((gradient[5] != 0).any() for gradient in gradients if gradient is not None) == learns


def test_terms_on_two_views_need_two_views():
    batch = random_batch()
    instance = joint(instance=InstanceLoss(temperature=0.1), instance_weight=0.1)
    with pytest.raises(ValueError, match=r"^loss.instance_weight=0.1 compares two views of each response: set trainer"):
        instance(*batch)
    with pytest.raises(ValueError, match=r"^loss.consistency=0.5 compares two views of each response: set trainer"):
        joint(consistency=0.5).check_views(1)
    joint(consistency=0.5).check_views(2)


def test_nothing_judged_gives_exactly_zero():
    logits, embeddings, yes, num = random_batch()
    losses = joint(criterion_weights=[1, 2, 3], pos_weight=2)(logits, embeddings, yes, torch.zeros_like(num))
    assert [loss.item() for loss in losses] == [0.0] * 5
    for gradient in torch.autograd.grad(losses.total, (logits, embeddings)):
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_without_a_contrastive_loss():
    logits, embeddings, yes, num = random_batch()
    loss = joint(contrastive=None, lambda_contrastive=0)
    losses = loss(logits, embeddings, yes, num)
    assert losses.total.item() == losses.bce.item()
    assert losses.contrastive.item() == 0.0
    assert torch.equal(torch.autograd.grad(losses.contrastive, embeddings)[0], torch.zeros_like(embeddings))
    assert loss.temperature is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_bce_stays_in_float32_inside_autocast(dtype):
    logits, _, yes, num = random_batch()
    narrow = (logits.detach() * 20).to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        value = joint().bce(narrow, yes, num)
    assert value.dtype == torch.float32
    assert value.item() == joint().bce(narrow.float(), yes, num).item()


def test_temperature_is_that_of_the_contrastive_loss():
    loss = joint_loss(
        contrastive=SUPCON,
        temperature=0.2,
        lambda_contrastive=0.1,
        targets="soft",
        criterion_weights=None,
        pos_weight=None,
    )
    assert (loss.temperature, loss.contrastive_loss.temperature) == (0.2, 0.2)


def test_instance_discrimination_needs_no_contrastive_loss():
    shared = {"temperature": 0.2, "lambda_contrastive": 0.0, "targets": "soft", "criterion_weights": None}
    loss = joint_loss(contrastive=None, pos_weight=None, instance_weight=0.1, **shared)
    assert (loss.temperature, loss.contrastive_loss, loss.instance_loss.temperature) == (0.2, None, 0.2)
    logits, embeddings, yes, num = random_batch()
    losses = loss(logits, embeddings, yes, num, views=2, temperature=0.4)
    assert losses.instance.item() == InstanceLoss(temperature=0.4)(embeddings).item() > 0
    assert losses.total.item() == pytest.approx((losses.bce + 0.1 * losses.instance).item())
    assert joint_loss(contrastive=None, pos_weight=None, **shared).temperature is None


def test_a_call_may_bring_its_own_temperature():
    batch = random_batch()
    at_call = joint()(*batch, temperature=0.4)
    assert at_call.contrastive.item() == joint(contrastive=SUPCON(temperature=0.4))(*batch).contrastive.item()
    assert at_call.contrastive.item() != joint()(*batch).contrastive.item()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lambda_contrastive": -0.1}, "^loss.lambda_contrastive must be >= 0, got -0.1"),
        ({"lambda_contrastive": math.nan}, "^loss.lambda_contrastive must be >= 0, got nan"),
        ({"contrastive": None}, "^loss.lambda_contrastive must be 0 without a contrastive loss, got 0.3"),
        ({"instance_weight": -1}, "^loss.instance_weight must be >= 0, got -1"),
        ({"instance_weight": 0.1}, "^loss.instance_weight must be 0 without an instance loss, got 0.1"),
        ({"consistency": math.inf}, "^loss.consistency must be >= 0, got inf"),
        ({"targets": "hard"}, "^loss.targets must be one of soft, majority; got hard"),
        ({"criterion_weights": [0, 0, 0]}, "^loss.criterion_weights must be >= 0 and not all 0"),
        ({"criterion_weights": -1}, "^loss.criterion_weights must be a list with one number per criterion, got -1"),
        ({"pos_weight": [1, 0, 1]}, r"^loss.pos_weight must be positive, got \[1, 0, 1\]"),
        (
            {"pos_weight": ["a"]},
            r"^loss.pos_weight must be a number or a list with one number per criterion, got \['a'\]",
        ),
    ],
)
def test_wrong_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        joint(**change)


@pytest.mark.parametrize("option", ["criterion_weights", "pos_weight", "contrastive.criterion_weights"])
def test_weights_are_checked_by_their_option(option):
    name = option.rpartition(".")[2]
    changes = {name: [1, 2]}
    if option.startswith("contrastive"):
        changes = {"contrastive": SupConLoss(temperature=0.1, denominator="all", projection="shared", **changes)}
    loss = joint(**changes)
    loss.check_criteria(2)
    with pytest.raises(ValueError, match=f"^loss.{option} must have one weight per criterion, got 2 for 3 criteria"):
        loss.check_criteria(3)


def test_weights_of_another_number_of_criteria_are_named():
    logits, _, yes, num = random_batch()
    with pytest.raises(ValueError, match="pos_weight must have one weight per criterion, got 2 for 3 criteria"):
        joint(pos_weight=[1, 2]).bce(logits, yes, num)
    with pytest.raises(ValueError, match="criterion_weights must have one weight per criterion, got 4 for 3 criteria"):
        joint(criterion_weights=[1, 2, 3, 4]).bce(logits, yes, num)
    with pytest.raises(ValueError, match=r"one shape \[batch, criteria\], got \[12, 3\], \[12, 2\] and \[12, 3\]"):
        joint().bce(logits, yes[:, :2], num)
