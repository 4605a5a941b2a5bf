"""Every loss against the same loss written as loops over pairs, in float64, value and gradient.

The loops follow the definitions in words: no tables, no class sums, no tiles, no masks.
"""

import math
from fractions import Fraction

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

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

CASES = {
    "majority": (SupConLoss, {}),
    "unanimity": (UnanimityLoss, {"hard_negative_weight": 1.0, "positives": "yes"}),
    "unanimity, hard": (UnanimityLoss, {"hard_negative_weight": 3.0, "positives": "yes"}),
    "unanimity, both": (UnanimityLoss, {"hard_negative_weight": 1.0, "positives": "yes_and_no"}),
    "unanimity, both, hard": (UnanimityLoss, {"hard_negative_weight": 3.0, "positives": "yes_and_no"}),
    "agreement": (AgreementLoss, {}),
    "exact": (ExactMatchLoss, {}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("denominator", ["all", "negatives"])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_value_and_gradient_equal_the_loops(case, denominator, temperature, seed):
    check_against_loops(case, denominator, (1, 4, 64), temperature, seed=seed)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("denominator", ["all", "negatives"])
def test_tiny_temperatures_take_another_path_to_the_same_value(case, denominator):
    """exp(1 / 0.0012) overflows float64; the loss is of the order of 1 / temperature there."""
    check_against_loops(case, denominator, (4,), temperature=0.0012, seed=0, tolerance=1e-9)


@pytest.mark.parametrize("case", ["majority", "unanimity, both, hard", "agreement"])
def test_criterion_weights_equal_the_loops(case):
    """Criterion 1 is one-sided, so its weight must leave the mean with it."""
    check_against_loops(case, "all", (64,), 0.2, seed=3, criterion_weights=[0.5, 7.0, 2.0, 1.0])


@pytest.mark.parametrize("case", [case for case in CASES if case != "exact"])
@pytest.mark.parametrize("denominator", ["all", "negatives"])
def test_a_projection_for_each_criterion_equals_the_loops(case, denominator):
    """Five dimensions per criterion, so that no slice is a line."""
    extra = {"projection": "per_criterion", "criterion_weights": [0.5, 7.0, 2.0, 1.0]}
    check_against_loops(case, denominator, (64,), 0.2, seed=1, dim=22, **extra)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("denominator", ["all", "negatives"])
@pytest.mark.parametrize("temperature", [0.0012, 0.07, 1.0])
def test_two_views_equal_the_loops(case, denominator, temperature):
    """Among the responses are a tie, a split vote and one that nobody judged."""
    tolerance = 1e-10 if temperature > 0.01 else 1e-9
    check_against_loops(case, denominator, (4,), temperature, seed=0, tolerance=tolerance, views=2)


@pytest.mark.parametrize("case", [case for case in CASES if case != "exact"])
def test_two_views_and_a_projection_for_each_criterion_equal_the_loops(case):
    extra = {"projection": "per_criterion", "criterion_weights": [0.5, 7.0, 2.0, 1.0]}
    check_against_loops(case, "all", (64,), 0.2, seed=1, dim=22, views=2, **extra)


@pytest.mark.parametrize("projection", ["shared", "per_criterion"])
@pytest.mark.parametrize(("block_size", "temperature"), [(1, 0.2), (4, 0.0012), (64, 1.0)])
def test_instances_of_the_same_side_equal_the_loops(projection, block_size, temperature):
    """Per criterion, among the rows of the same side; a lone response, and rows without a side, add nothing."""
    z, yes, num = random_batch(0, dim=22, views=2)
    loss = InstanceLoss(temperature=temperature, among="same_side", projection=projection)
    loss.block_size = block_size
    slices = z.tensor_split(4, dim=1) if projection == "per_criterion" else [z] * 4
    means, alone = [], 0
    for criterion, part in enumerate(slices):
        unit = part / part.norm(dim=1, keepdim=True)
        sides = [side(y, n) for y, n in zip(yes[:, criterion].tolist(), num[:, criterion].tolist(), strict=True)]
        values = []
        for i, own in enumerate(sides):
            same = [k for k in range(22) if k != i and sides[k] == own]
            alone += len(same) == 1
            if own in ("yes", "no") and len(same) > 1:
                scores = torch.stack([unit[i] @ unit[k] / temperature for k in same])
                values.append(scores.logsumexp(0) - unit[i] @ unit[(i + 11) % 22] / temperature)
        means += [torch.stack(values).mean()] if values else []
    assert alone > 0
    expected = torch.stack(means).mean()
    found = loss(z, yes, num)
    tolerance = 1e-10 if temperature > 0.01 else 1e-9
    assert found.item() == pytest.approx(expected.item(), rel=tolerance)
    (gradient,), (wanted,) = torch.autograd.grad(found, z), torch.autograd.grad(expected, z)
    scale = wanted.abs().max()
    assert scale > 1e-3
    torch.testing.assert_close(gradient / scale, wanted / scale, rtol=0, atol=tolerance)


@pytest.mark.parametrize("loss_class", [GradedLoss, BalancedLoss])
@pytest.mark.parametrize("projection", ["shared", "per_criterion"])
@pytest.mark.parametrize(
    ("block_size", "temperature", "views"), [(1, 0.2, 1), (4, 0.0012, 2), (5, 1.0, 1), (64, 0.2, 2)]
)
def test_losses_with_their_own_denominator_equal_the_loops(loss_class, projection, block_size, temperature, views):
    z, yes, num = random_batch(1, dim=22, views=views)
    weights = [0.5, 7.0, 2.0, 1.0]
    loss = loss_class(temperature=temperature, projection=projection, criterion_weights=weights)
    loss.block_size = block_size
    value = loss(z, yes, num, views=views)
    geometries = z.tensor_split(4, dim=1) if projection == "per_criterion" else [z] * 4
    one = {GradedLoss: graded_loops, BalancedLoss: balanced_loops}[loss_class]
    total, weight_sum = 0.0, 0.0
    for criterion, (part, weight) in enumerate(zip(geometries, weights, strict=True)):
        votes = list(zip(yes[:, criterion].tolist(), num[:, criterion].tolist(), strict=True))
        values = one(part / part.norm(dim=1, keepdim=True), votes, temperature)
        if values:
            total, weight_sum = total + weight * torch.stack(values).mean(), weight_sum + weight
    expected = total / weight_sum
    tolerance = 1e-10 if temperature > 0.01 else 1e-9
    assert value.item() == pytest.approx(expected.item(), rel=tolerance)
    (gradient,), (wanted,) = torch.autograd.grad(value, z), torch.autograd.grad(expected, z)
    scale = wanted.abs().max()
    assert scale > 1e-3
    torch.testing.assert_close(gradient / scale, wanted / scale, rtol=0, atol=tolerance)


@pytest.mark.parametrize("denominator", ["all", "negatives"])
@pytest.mark.parametrize("projection", ["shared", "per_criterion"])
@pytest.mark.parametrize(("block_size", "temperature", "views"), [(4, 0.2, 1), (64, 0.0012, 1), (5, 0.2, 2)])
def test_positives_of_other_domains_equal_the_loops(denominator, projection, block_size, temperature, views):
    """Five domains: with one response each, two, three, and four; equal sides of one domain are in neither sum."""
    z, yes, num = random_batch(2, dim=22, views=views)
    domains = [7, 0, 0, 3, 3, 3, 5, 5, 5, 5, 8] * views
    options = {"denominator": denominator, "projection": projection, "criterion_weights": None}
    loss = SupConLoss(temperature=temperature, domains="across", **options)
    loss.block_size = block_size
    means, anchors = [], 0
    for criterion, part in enumerate(z.tensor_split(4, dim=1) if projection == "per_criterion" else [z] * 4):
        unit = part / part.norm(dim=1, keepdim=True)
        sides = [side(y, n) for y, n in zip(yes[:, criterion].tolist(), num[:, criterion].tolist(), strict=True)]
        values = []
        for i, own in enumerate(sides):
            if own not in ("yes", "no"):
                continue
            other_side = [k for k, answer in enumerate(sides) if answer == {"yes": "no", "no": "yes"}[own]]
            positives = [k for k, answer in enumerate(sides) if answer == own and domains[k] != domains[i]]
            keys = other_side + (positives if denominator == "all" else [])
            if positives and keys:
                scores = torch.stack([unit[i] @ unit[k] / temperature for k in keys])
                attraction = torch.stack([unit[i] @ unit[p] / temperature for p in positives]).mean()
                values.append(scores.logsumexp(0) - attraction)
        if values and {"yes", "no"} <= set(sides):
            means.append(torch.stack(values).mean())
            anchors += len(values)
    expected = torch.stack(means).mean()
    found = loss(z, yes, num, views=views, domains=torch.tensor(domains))
    assert sum(each.sum().item() for each in found_anchors(loss, yes, num, views, domains)) == anchors > 10
    tolerance = 1e-10 if temperature > 0.01 else 1e-9
    assert found.item() == pytest.approx(expected.item(), rel=tolerance)
    (gradient,), (wanted,) = torch.autograd.grad(found, z), torch.autograd.grad(expected, z)
    scale = wanted.abs().max()
    assert scale > 1e-3
    torch.testing.assert_close(gradient / scale, wanted / scale, rtol=0, atol=tolerance)


def found_anchors(loss, yes, num, views, domains):
    anchors, counted = loss.valid_anchors(yes, num, views=views, domains=torch.tensor(domains))
    return (anchors & counted).unbind(1)


def graded_loops(z, votes, temperature):
    """L(i) of the judged responses: each other one is once the positive, against those at least as far away as it."""
    shares = [Fraction(y, n) if n else None for y, n in votes]
    if len({share for share in shares if share is not None}) < 2:
        return []
    values = []
    for i, mine in enumerate(shares):
        others = [k for k, share in enumerate(shares) if k != i and share is not None]
        terms = []
        for j in others if mine is not None else ():
            as_far = [k for k in others if abs(shares[k] - mine) >= abs(shares[j] - mine)]
            scores = torch.stack([z[i] @ z[k] / temperature for k in as_far])
            terms.append(scores.logsumexp(0) - z[i] @ z[j] / temperature)
        values += [torch.stack(terms).mean()] if terms else []
    return values


def balanced_loops(z, votes, temperature):
    """L(i) of the responses with a side: the denominator has a mean for each side, with the side's mean embedding."""
    sides = [side(y, n) for y, n in votes]
    keys = {name: [(k, z[k]) for k, own in enumerate(sides) if own == name] for name in ("yes", "no")}
    if not all(keys.values()):
        return []
    for members in keys.values():
        mean = torch.stack([key for _, key in members]).sum(0)
        members.append((None, mean / mean.norm()))
    values = []
    for i, own in enumerate(sides):
        if own in keys:
            scores = {
                name: torch.stack([z[i] @ key / temperature for k, key in members if k != i])
                for name, members in keys.items()
            }
            means = [each.logsumexp(0) - math.log(len(each)) for each in scores.values()]
            values.append(torch.stack(means).logsumexp(0) - scores[own].mean())
    return values


def test_unjudged_responses_add_their_two_views_and_nothing_else():
    """Responses 2, 5 and 9 have no votes: no BCE, no positive or side but their own other view."""
    z, yes, num = random_batch(0, dim=22, views=2)
    logits = (z.detach()[:, :4] * 0.7).requires_grad_()
    unjudged = [2, 5, 9]
    judged = [row for row in range(11) if row not in unjudged]
    num[[*unjudged, *(row + 11 for row in unjudged)]] = 0
    yes = yes.minimum(num)
    options = {"denominator": "all", "projection": "per_criterion", "criterion_weights": None}
    supcon, instance = SupConLoss(temperature=0.2, **options), InstanceLoss(temperature=0.2)
    loss = JointLoss(
        contrastive=supcon,
        lambda_contrastive=0.3,
        targets="soft",
        criterion_weights=None,
        pos_weight=None,
        instance=instance,
        instance_weight=0.2,
        consistency=0.7,
    )
    found = loss(logits, z, yes, num, views=2)
    cells = [(i, c) for i in (*judged, *(row + 11 for row in judged)) for c in range(4) if num[i, c] > 0]
    shares = {cell: yes[cell].item() / num[cell].item() for cell in cells}
    terms = [shares[cell] * logsigmoid(logits[cell]) for cell in cells]
    terms += [(1 - shares[cell]) * logsigmoid(-logits[cell]) for cell in cells]
    bce = -torch.stack(terms).sum() / len(cells)
    contrastive = loops("majority", z, yes, num, 0.2, "all", {"projection": "per_criterion"}, 2)
    unit = z / z.norm(dim=1, keepdim=True)
    scores = [[unit[i] @ unit[k] / 0.2 for k in range(22) if k != i] for i in range(22)]
    own = [unit[i] @ unit[(i + 11) % 22] / 0.2 for i in range(22)]
    instances = torch.stack([torch.stack(row).logsumexp(0) - to for row, to in zip(scores, own, strict=True)]).mean()
    p, q = logits.chunk(2)
    consistency = ((p.sigmoid() - q.sigmoid()) * (p - q)).mean() / 2
    expected = bce + 0.3 * contrastive + 0.2 * instances + 0.7 * consistency
    for value, wanted in zip(found, (expected, bce, contrastive, instances, consistency), strict=True):
        assert value.item() == pytest.approx(wanted.item(), rel=1e-10)
    gradients = [torch.autograd.grad(total, (logits, z), retain_graph=True) for total in (found.total, expected)]
    for value, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(value, wanted, rtol=0, atol=1e-10)
    assert all(of_one[unjudged].abs().amax(1).min() > 1e-4 for of_one in gradients[0])


def check_against_loops(case, denominator, block_sizes, temperature, *, seed, tolerance=1e-10, dim=5, views=1, **extra):
    z, yes, num = random_batch(seed, dim=dim, views=views)
    loss_class, options = CASES[case]
    weights = {} if loss_class is ExactMatchLoss else {"criterion_weights": None, "projection": "shared"}
    loss = loss_class(temperature=temperature, denominator=denominator, **(weights | options | extra))
    strategy = case.split(",")[0]
    expected = loops(strategy, z, yes, num, temperature, denominator, options | extra, views)
    (expected_gradient,) = torch.autograd.grad(expected, z)
    scale = max(1.0, expected_gradient.abs().max().item())
    for block_size in block_sizes:
        loss.block_size = block_size
        value = loss(z, yes, num, views=views)
        (gradient,) = torch.autograd.grad(value, z)
        assert value.item() == pytest.approx(expected.item(), rel=tolerance, abs=tolerance)
        torch.testing.assert_close(gradient / scale, expected_gradient / scale, rtol=0, atol=tolerance)
    assert expected_gradient.abs().max() > 1e-3  # the case says something


def random_batch(seed, batch_size=11, dim=5, views=1):
    """Two to five annotators for each item and criterion, 15 % missing; votes are those of each view.

    Criterion 0 is random, 1 all unanimous yes, 2 all unanimous no but one, 3 agrees with 0 where 0 is clear.
    """
    generator = torch.Generator().manual_seed(seed)
    num = torch.randint(2, 6, (batch_size, 4), generator=generator)
    yes = (torch.rand(batch_size, 4, generator=generator) * (num + 1)).long()
    yes[:, 1] = num[:, 1]
    yes[:, 2] = num[:, 2] * (torch.arange(batch_size) == 4)
    yes[:, 3] = torch.where(2 * yes[:, 0] > num[:, 0], num[:, 3], 0)
    num[torch.rand(batch_size, 4, generator=generator) < 0.15] = 0
    num[4, 2], yes[4, 2] = 3, 3
    # two pairs with equal patterns, one with a tie and a missing vote, and one response judged in nothing
    num[0], yes[0] = torch.tensor([4, 3, 3, 0]), torch.tensor([2, 3, 0, 0])
    num[1], yes[1] = torch.tensor([2, 5, 2, 0]), torch.tensor([1, 5, 0, 0])
    num[2], yes[2] = torch.tensor([3, 3, 3, 3]), torch.tensor([3, 3, 0, 2])
    num[3], yes[3] = torch.tensor([3, 3, 3, 3]), torch.tensor([3, 3, 0, 3])
    num[5] = 0
    z = torch.randn(views * batch_size, dim, dtype=torch.float64, generator=generator) * 3
    return z.requires_grad_(), yes.minimum(num).repeat(views, 1), num.repeat(views, 1)


def loops(strategy, z, yes, num, temperature, denominator, options, views) -> Tensor:
    yes, num = yes.tolist(), num.tolist()
    per_criterion = options.get("projection") == "per_criterion"
    geometries = z.tensor_split(len(yes[0]), dim=1) if per_criterion else [z] * len(yes[0])
    geometries = [part / part.norm(dim=1, keepdim=True) for part in geometries]
    criterion_weights = options.get("criterion_weights", [1.0] * len(yes[0]))
    total, weight_sum = z.sum() * 0, 0.0
    for criterion in range(1 if strategy == "exact" else len(yes[0])):
        votes = [vote_of(strategy, y, n, criterion) for y, n in zip(yes, num, strict=True)]
        pair_weights = PAIR_WEIGHTS[strategy]
        value = one_criterion(votes, geometries[criterion], temperature, denominator, pair_weights, options, views)
        if value is not None:
            total = total + criterion_weights[criterion] * value
            weight_sum += criterion_weights[criterion]
    return total / weight_sum


def one_criterion(votes, z, temperature, denominator, pair_weights, options, views) -> Tensor | None:
    """Mean over the anchors, or None where the criterion does not count."""
    values = []
    for i, mine in enumerate(votes):
        attraction, positive_weight, keys = 0.0, 0.0, []
        for k, other in enumerate(votes):
            if k == i:
                continue
            score = z[i] @ z[k] / temperature
            if (k - i) % (len(votes) // views) == 0:  # the other view of the same response, judged or not
                positive, key = 1.0, float(denominator == "all")
            elif mine is not None and other is not None:
                positive, key = pair_weights(mine, other, denominator, options)
            else:  # not in this criterion, but still one of all others
                positive, key = 0.0, float(denominator == "all")
            attraction, positive_weight = attraction + positive * score, positive_weight + positive
            if key > 0:
                keys.append(score + math.log(key))
        if positive_weight > 0 and keys:
            values.append(torch.stack(keys).logsumexp(0) - attraction / positive_weight)
    levels = {vote for vote in votes if vote is not None}
    return torch.stack(values).mean() if values and len(levels) > 1 else None


def vote_of(strategy, yes, num, criterion):
    """What the strategy sees of one response in a criterion; None = it takes no part."""
    if strategy == "exact":
        pattern = tuple(side(y, n) for y, n in zip(yes, num, strict=True))
        return pattern if set(pattern) != {"missing"} else None
    y, n = yes[criterion], num[criterion]
    if strategy == "majority":
        return side(y, n) if side(y, n) in ("yes", "no") else None
    if n == 0:
        return None
    if strategy == "unanimity":
        return {0: "no", n: "yes"}.get(y, "split")
    return y / n


def side(y, n):
    if n == 0:
        return "missing"
    return "tie" if 2 * y == n else "yes" if 2 * y > n else "no"


def same_vote(mine, other, denominator, options):
    same = mine == other
    return float(same), 1.0 if denominator == "all" else float(not same)


def same_unanimous_vote(mine, other, denominator, options):
    attracting = {"yes": ("yes",), "yes_and_no": ("yes", "no")}[options["positives"]]
    positive = float(mine == other and mine in attracting)
    if mine == "split":  # an anchor only of its own other view
        return positive, float(denominator == "all")
    if other == "split":
        return positive, options["hard_negative_weight"]
    return positive, 1.0 if denominator == "all" else float(mine != other)


def chance_to_agree(mine, other, denominator, options):
    agree = mine * other + (1 - mine) * (1 - other)
    return agree, 1.0 if denominator == "all" else 1 - agree


PAIR_WEIGHTS = {
    "majority": same_vote,
    "exact": same_vote,
    "unanimity": same_unanimous_vote,
    "agreement": chance_to_agree,
}
