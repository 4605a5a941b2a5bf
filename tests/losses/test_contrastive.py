"""Closed forms, degenerate batches, precision, statistics and errors of the contrastive losses."""

import math

import pytest
import torch
from torch import Tensor

from contrastive_learning.losses import (
    AgreementLoss,
    BalancedLoss,
    ContrastiveLoss,
    ExactMatchLoss,
    GradedLoss,
    SupConLoss,
    UnanimityLoss,
)

DENOMINATORS = ("all", "negatives")


def every_loss(denominator: str, temperature: float = 0.2) -> list[ContrastiveLoss]:
    shared = {"temperature": temperature, "denominator": denominator}
    return [
        SupConLoss(**shared, projection="shared", criterion_weights=None),
        UnanimityLoss(**shared, projection="shared", criterion_weights=None, hard_negative_weight=2.0, positives="yes"),
        UnanimityLoss(
            **shared, projection="shared", criterion_weights=None, hard_negative_weight=1.0, positives="yes_and_no"
        ),
        AgreementLoss(**shared, projection="shared", criterion_weights=None),
        ExactMatchLoss(**shared),
    ]


def with_their_own_denominator() -> list[ContrastiveLoss]:
    shared = {"temperature": 0.2, "projection": "shared", "criterion_weights": None}
    return [GradedLoss(**shared), BalancedLoss(**shared)]


ALL_LOSSES = [
    pytest.param(loss, id=f"{index}-{type(loss).__name__}-{loss.denominator}")
    for losses in (*map(every_loss, DENOMINATORS), with_their_own_denominator())
    for index, loss in enumerate(losses)
]


def votes(*columns: list[int], num: int = 3) -> tuple[Tensor, Tensor]:
    """yes_votes and num_votes [batch, criteria] of `num` annotators, from one list per criterion; -1 = not judged."""
    yes = torch.tensor(columns).T
    return yes.clamp_min(0), torch.where(yes < 0, 0, num)


def random_votes(batch_size: int, criteria: int = 3, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(batch_size, 6, generator=generator)
    num = torch.randint(0, 6, (batch_size, criteria), generator=generator)
    yes = (torch.rand(batch_size, criteria, generator=generator) * (num + 1)).long().minimum(num)
    return z, yes, num


def test_two_orthogonal_clusters():
    """Two yes at e1, two no at e2, temperature 1/2: s = 2 within and 0 across. For every anchor

    all:        log(e^2 + 2 e^0) - 2        negatives: log(2 e^0) - 2
    """
    z = torch.eye(4, dtype=torch.float64)[[0, 0, 1, 1]]
    values = {}
    for denominator in DENOMINATORS:
        loss = SupConLoss(temperature=0.5, denominator=denominator, projection="shared", criterion_weights=None)
        values[denominator] = loss(z, *votes([3, 2, 1, 0])).item()
    assert values["all"] == pytest.approx(math.log(math.exp(2) + 2) - 2, abs=1e-14)
    assert values["negatives"] == pytest.approx(math.log(2) - 2, abs=1e-14)


def test_all_embeddings_equal():
    """Every score is 1 / temperature and cancels: log of the total denominator weight, a plateau with zero gradient.

    4 unanimous yes, 1 split, 2 unanimous no, 1 missing. all: 7 others; a split one of weight 3 makes it 9.
    negatives of a yes: 2 no + 3 x 1 split = 5.
    """
    z = torch.ones(8, 3, dtype=torch.float64, requires_grad=True)
    batch = votes([3, 3, 3, 3, 2, 0, 0, -1])
    for denominator, hard, expected in (("all", 1.0, 7), ("all", 3.0, 9), ("negatives", 3.0, 5)):
        loss = UnanimityLoss(
            temperature=0.1,
            denominator=denominator,
            projection="shared",
            criterion_weights=None,
            hard_negative_weight=hard,
            positives="yes",
        )
        value = loss(z, *batch)
        assert value.item() == pytest.approx(math.log(expected), abs=1e-13)
        assert torch.autograd.grad(value, z)[0].abs().max() < 1e-12


def test_two_responses_agree_by_chance():
    """Shares 1 and 1/3, one pair: its weight w = 1/3 cancels in the numerator. s = 0 for orthogonal embeddings, so

    all: log(e^0) - 0 = 0        negatives: log((1 - w) e^0) - 0 = log(2/3)
    """
    z = torch.eye(2, dtype=torch.float64)
    for denominator, expected in (("all", 0.0), ("negatives", math.log(2 / 3))):
        loss = AgreementLoss(temperature=0.3, denominator=denominator, projection="shared", criterion_weights=None)
        assert loss(z, *votes([3, 1])).item() == pytest.approx(expected, abs=1e-14)


def test_a_match_is_a_match_in_every_criterion():
    """Responses 0 and 1 match, ties and missing votes included; 2 differs by a tie, 3 by a missing vote, 4 by a no.

    All orthogonal but 0 and 1, which are equal: s = 1 / temperature = 2, and for both anchors log(e^2 + 3) - 2.
    """
    z = torch.eye(4, dtype=torch.float64)[[0, 0, 1, 2, 3]]
    batch = votes([4, 3, 2, 4, 0], [2, 2, 2, 2, 2], [-1, -1, -1, 3, -1], num=4)
    loss = ExactMatchLoss(temperature=0.5, denominator="all")
    assert loss(z, *batch).item() == pytest.approx(math.log(math.exp(2) + 3) - 2, abs=1e-14)
    assert loss.statistics(z, *batch)["valid_anchor_share"].tolist() == [pytest.approx(2 / 5)]


def test_hard_negative_weight_equals_a_margin_on_the_cosine():
    """alpha e^s = e^{s + log alpha}: at orthogonal embeddings, log(1 + alpha) - 0 for two yes, one split."""
    z = torch.eye(3, dtype=torch.float64)
    for alpha in (1.0, 2.5):
        loss = UnanimityLoss(
            temperature=0.1,
            denominator="all",
            projection="shared",
            criterion_weights=None,
            hard_negative_weight=alpha,
            positives="yes",
        )
        assert loss(z, *votes([3, 3, 1])).item() == pytest.approx(math.log(1 + alpha), abs=1e-14)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_one_criterion_equals_pytorch_metric_learning(temperature):
    pml = pytest.importorskip("pytorch_metric_learning.losses")
    z, _, _ = random_votes(24)
    yes = torch.randint(0, 2, (24, 1), generator=torch.Generator().manual_seed(1))
    ours = SupConLoss(temperature=temperature, denominator="all", projection="shared", criterion_weights=None)
    theirs = pml.SupConLoss(temperature=temperature)
    mine, other = z.clone().requires_grad_(), z.clone().requires_grad_()
    ours(mine, yes, torch.ones_like(yes)).backward()
    theirs(other, yes[:, 0]).backward()
    assert ours(z, yes, torch.ones_like(yes)).item() == pytest.approx(theirs(z, yes[:, 0]).item(), rel=1e-5)
    torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", ALL_LOSSES)
@pytest.mark.parametrize("block_size", [3, 64])
def test_gradcheck(loss, block_size):
    z, yes, num = random_votes(7)
    loss.block_size = block_size
    assert torch.autograd.gradcheck(lambda z: loss(z, yes, num), z.double().requires_grad_())


@pytest.mark.parametrize("loss", ALL_LOSSES)
@pytest.mark.parametrize(
    "batch",
    [
        pytest.param(votes([-1] * 5, [-1] * 5), id="nothing judged"),
        pytest.param(votes([3] * 5, [0] * 5), id="one side only"),
        pytest.param(votes([3, -1, -1, -1, -1], [-1, -1, -1, 0, -1]), id="one judged response"),
        pytest.param((torch.full((5, 2), torch.nan), torch.full((5, 2), torch.nan)), id="NaN counts"),
        pytest.param((torch.ones(5, 2), torch.full((5, 2), torch.inf)), id="infinite counts"),
    ],
)
def test_a_batch_without_a_pair_gives_exactly_zero(loss, batch):
    z = random_votes(5)[0].requires_grad_()
    value = loss(z, *batch)
    assert value.item() == 0.0
    assert torch.equal(torch.autograd.grad(value, z)[0], torch.zeros_like(z))


def test_a_single_response_gives_exactly_zero():
    for denominator in DENOMINATORS:
        for loss in every_loss(denominator):
            z = torch.ones(1, 4, requires_grad=True)
            value = loss(z, *votes([3], [0]))
            assert value.item() == 0.0
            assert torch.autograd.grad(value, z)[0].abs().sum() == 0


@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_zero_embeddings_and_duplicates_stay_finite(loss):
    z, yes, num = random_votes(9)
    z[0], z[1], z[2] = 0.0, 0.0, z[3]
    z.requires_grad_()
    value = loss(z, yes, num)
    assert torch.isfinite(value)
    assert torch.isfinite(torch.autograd.grad(value, z)[0]).all()


@pytest.mark.parametrize("loss", ALL_LOSSES)
@pytest.mark.parametrize("backward_inside", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_around_the_loss_changes_nothing(loss, dtype, backward_inside):
    z, yes, num = random_votes(40)
    loss.block_size = 16
    plain, cast = z.clone().requires_grad_(), z.clone().requires_grad_()
    expected = loss(plain, yes, num)
    expected.backward()
    with torch.autocast("cpu", dtype=dtype):
        value = loss(cast, yes, num)
        if backward_inside:
            value.backward()
    if not backward_inside:
        value.backward()
    assert value.dtype == torch.float32
    assert value.item() == expected.item()
    assert torch.equal(cast.grad, plain.grad)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_embeddings_are_computed_in_float32(dtype):
    z, yes, num = random_votes(40)
    loss = SupConLoss(temperature=0.05, denominator="negatives", projection="shared", criterion_weights=None)
    narrow = z.to(dtype).requires_grad_()
    value = loss(narrow, yes, num)
    assert value.item() == loss(narrow.detach().float(), yes, num).item()
    value.backward()
    assert narrow.grad.dtype == dtype


def test_float32_is_close_to_float64():
    z, yes, num = random_votes(200)
    for denominator in DENOMINATORS:
        for loss in every_loss(denominator, temperature=0.07):
            loss.block_size = 64
            assert loss(z, yes, num).item() == pytest.approx(loss(z.double(), yes, num).item(), rel=1e-5, abs=1e-5)


def test_temperature_and_weights_take_effect():
    z, yes, num = random_votes(20)
    loss = SupConLoss(temperature=0.5, denominator="all", projection="shared", criterion_weights=[0, 2, 0])
    assert loss(z, yes, num).item() == pytest.approx(loss.statistics(z, yes, num)["value"][1].item(), rel=1e-6)
    before = loss(z, yes, num).item()
    assert loss(z, yes, num, temperature=0.05).item() != pytest.approx(before, rel=0.1)


def test_statistics_of_collapsed_and_of_ideal_embeddings():
    """5 yes and 3 no. Equal embeddings: ratio 1. Antipodal clusters: ratio 0, whatever the temperature, and

    all, yes: log(4 + 3 e^{-2/temperature}), whose excess over log 4 vanishes with the temperature.
    """
    batch = votes([3, 3, 2, 3, 3, 0, 1, 0], [3] * 8)
    collapsed = torch.ones(8, 2)
    ideal = torch.tensor([[1.0, 0.0]] * 5 + [[-1.0, 0.0]] * 3)
    for denominator in DENOMINATORS:
        for temperature in (0.01, 0.2, 2.0):
            loss = SupConLoss(
                temperature=temperature, denominator=denominator, projection="shared", criterion_weights=None
            )
            worst, best = loss.statistics(collapsed, *batch), loss.statistics(ideal, *batch)
            assert worst["collapse_ratio"][0].item() == pytest.approx(1, abs=1e-4)
            assert best["collapse_ratio"][0].item() == pytest.approx(0, abs=1e-4)
            assert worst["counted"].tolist() == [True, False]
            assert worst["value"].isnan().tolist() == [False, True]
    sharp = SupConLoss(temperature=0.1, denominator="all", projection="shared", criterion_weights=None)
    assert sharp.statistics(ideal, *batch)["excess"][0].item() == pytest.approx(0, abs=1e-5)
    assert sharp.statistics(collapsed, *batch)["excess"][0].item() == pytest.approx(
        math.log(7) - (5 * math.log(4) + 3 * math.log(2)) / 8, abs=1e-5
    )


def test_statistics_average_to_the_loss():
    z, yes, num = random_votes(30)
    for losses in (*map(every_loss, DENOMINATORS), with_their_own_denominator()):
        for loss in losses:
            statistics = loss.statistics(z.requires_grad_(), yes, num)
            assert statistics["value"].nanmean().item() == pytest.approx(loss(z, yes, num).item(), rel=1e-5)
            assert not statistics["value"].requires_grad
            anchors, counted = loss.valid_anchors(yes, num)
            assert torch.equal(statistics["counted"], counted)
            torch.testing.assert_close(statistics["valid_anchor_share"], (anchors & counted).float().mean(0))
            if loss.denominator != "negatives":
                assert (statistics["excess"] > -1e-5).all()
                assert (statistics["collapse_ratio"] > -1e-5).all()


def test_a_rare_side_counts_as_much_in_the_balanced_loss():
    """n yes at e1, two no at e2, temperature 1/2. Whatever n is, every anchor has log(e^2 + e^0) - 2, and log 2 if
    collapsed, as the denominator is the mean over yes + the mean over no; that of SupCon is filled by the n.
    """
    shared = {"temperature": 0.5, "projection": "shared", "criterion_weights": None}
    for num_yes in (2, 30):
        z = torch.eye(2, dtype=torch.float64)[[0] * num_yes + [1] * 2]
        batch = votes([3] * num_yes + [1, 0])
        assert BalancedLoss(**shared)(z, *batch).item() == pytest.approx(math.log(math.exp(2) + 1) - 2, abs=1e-14)
        collapsed = BalancedLoss(**shared).statistics(torch.ones_like(z), *batch)
        assert collapsed["value"].item() == collapsed["excess"].item() == pytest.approx(math.log(2), abs=1e-14)
        assert collapsed["collapse_ratio"].item() == pytest.approx(1, abs=1e-14)
        assert SupConLoss(**shared, denominator="all")(z, *batch).item() > (3 if num_yes == 30 else 0.2)


def test_the_graded_loss_is_least_for_embeddings_in_the_order_of_the_shares():
    """Shares 0, 1/3, 2/3, 1 on an arc of embeddings, at a small temperature. From the outer ones all others differ in
    distance; from the inner ones two of three are equally far: at best L is (2 (0) + 2 (2/3 log 2)) / 4. If 1/3 and 1
    are exchanged, they rank wrongly.
    """
    loss = GradedLoss(temperature=0.005, projection="shared", criterion_weights=None)
    angles = torch.tensor([0.0, 0.5, 1.0, 1.5], dtype=torch.float64)
    arc = torch.stack([angles.cos(), angles.sin()], dim=1)
    ordered = loss.statistics(arc, *votes([0, 1, 2, 3]))
    assert ordered["excess"].item() == pytest.approx(0, abs=1e-9)
    assert ordered["value"].item() == pytest.approx(math.log(2) / 3, abs=1e-9)
    assert loss.statistics(arc, *votes([0, 3, 2, 1]))["excess"].item() > 10
    assert loss.statistics(torch.ones_like(arc), *votes([0, 1, 2, 3]))["collapse_ratio"].item() == pytest.approx(1)


def test_many_distinct_shares_are_told_apart_in_twentieths():
    """64 shares of 0 to 63 among 63: as if they were rounded, with no more memory than of 21."""
    loss = GradedLoss(temperature=0.2, projection="shared", criterion_weights=None)
    z = torch.randn(64, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    yes = torch.arange(64)[:, None]
    rounded = (20 * yes / 63).round()
    found, expected = loss(z, yes, torch.full_like(yes, 63)), loss(z, rounded, torch.full_like(yes, 20))
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": -1}, r"^loss.temperature must be positive, got -1"),
        ({"temperature": 0}, r"^loss.temperature must be positive, got 0"),
        ({"temperature": math.nan}, r"^loss.temperature must be positive, got nan"),
        (
            {"denominator": "negative"},
            r"^loss.contrastive.denominator must be one of all, negatives; got negative .*negatives\?",
        ),
        (
            {"projection": "percriterion"},
            r"^loss.contrastive.projection must be one of shared, per_criterion; .*per_criterion\?",
        ),
        (
            {"criterion_weights": [1, -1]},
            r"^loss.contrastive.criterion_weights must be >= 0 and not all 0, got \[1.0, -1.0\]",
        ),
        ({"hard_negative_weight": 0.5}, r"^loss.contrastive.hard_negative_weight must be >= 1, got 0.5"),
        (
            {"positives": "yesandno"},
            r"^loss.contrastive.positives must be one of yes, yes_and_no; got yesandno .*yes_and_no\?",
        ),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {
        "temperature": 0.1,
        "denominator": "all",
        "projection": "shared",
        "criterion_weights": None,
        "hard_negative_weight": 1.0,
        "positives": "yes",
    }
    with pytest.raises(ValueError, match=message):
        UnanimityLoss(**(arguments | change))


def test_domains_must_be_told_where_they_are_looked_at():
    z, yes, num = random_votes(6)
    options = {"temperature": 0.1, "denominator": "all", "projection": "shared", "criterion_weights": None}
    with pytest.raises(ValueError, match=r"^loss.contrastive.domains must be one of any, across; got accross"):
        SupConLoss(**options, domains="accross")
    across = SupConLoss(**options, domains="across")
    with pytest.raises(ValueError, match=r"^loss.contrastive.domains=across needs the domain of each response"):
        across(z, yes, num)
    assert across(z, yes, num, domains=torch.zeros(6)).item() == 0  # nobody has a positive
    assert across(z, yes, num, domains=torch.arange(6)).item() > 0
    assert not across.learns_without_votes


def test_the_temperature_of_a_call_is_checked_too():
    z, yes, num = random_votes(6)
    with pytest.raises(ValueError, match="temperature must be positive, got -0.1"):
        ExactMatchLoss(temperature=0.1, denominator="all")(z, yes, num, temperature=-0.1)


@pytest.mark.parametrize("loss", ALL_LOSSES)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_embeddings_that_are_not_finite_are_named(loss, bad):
    z, yes, num = random_votes(6)
    z[3, 2] = bad
    with pytest.raises(ValueError, match=r"embeddings must be finite, got NaN or inf in 1 of 6 rows: \[3\]"):
        loss(z, yes, num)


def test_impossible_votes_and_shapes_are_named():
    z, yes, num = random_votes(6)
    loss = SupConLoss(temperature=0.1, denominator="all", projection="shared", criterion_weights=[1, 2])
    with pytest.raises(ValueError, match=r"criterion_weights must have one weight per criterion, got 2 for 3 criteria"):
        loss(z, yes, num)
    with pytest.raises(ValueError, match=r"both be \[6, criteria\] like the embeddings, got \[5, 3\] and \[5, 3\]"):
        loss(z, yes[:5], num[:5])
    with pytest.raises(ValueError, match=r"embeddings must be floats \[batch, dim\]"):
        loss(z[0], yes, num)
    with pytest.raises(ValueError, match="embeddings must not be empty"):
        loss(z[:0], yes[:0], num[:0])
    num[2, 1], yes[2, 1] = 3, 4
    with pytest.raises(ValueError, match=r"between 0 and num_votes, got a share of 1.333 in row 2, criterion 1"):
        loss(z, yes, num)
