from dataclasses import replace

import numpy as np
import pytest
import torch

from contrastive_learning.losses import ExactMatchLoss, JointLoss, SupConLoss, UnanimityLoss
from contrastive_learning.samplers import Examples, random
from contrastive_learning.training.diagnostics import (
    EpochStatistics,
    anchor_report,
    is_stuck,
    remarks,
    remedy_for_stuck,
    steps_report,
    stuck_remark,
    views_report,
    warm_up_report,
)
from support.small_task import build_trainer, tiny_model

SHARED = {"temperature": 0.1, "denominator": "all", "projection": "shared", "criterion_weights": None}
CRITERIA = ("clear", "fair")


def late_remarks(tmp_path, metrics, projection="shared"):
    """The remarks after the last of four epochs, when every warning is due."""
    settings = build_trainer(tmp_path, epochs=4).settings
    return remarks(metrics, CRITERIA, settings, 4, projection=projection)


def joint(contrastive, lambda_contrastive=0.1):
    return JointLoss(
        contrastive=contrastive,
        lambda_contrastive=lambda_contrastive,
        targets="soft",
        criterion_weights=None,
        pos_weight=None,
    )


def votes(yes_shares_of_three, num_examples=300):
    rng = np.random.default_rng(0)
    yes = np.stack([rng.binomial(3, share, num_examples) for share in yes_shares_of_three], axis=1)
    ones = np.ones(num_examples, dtype=int)
    return Examples(yes, np.full_like(yes, 3), ones, ones.cumsum())


def test_the_report_names_the_criterion_that_will_starve():
    """Almost nobody is unanimous about `fair`; `clear` has plenty of both."""
    examples = votes([0.8, 0.05])
    loss = joint(UnanimityLoss(**SHARED, hard_negative_weight=1.0, positives="yes"))
    first, *warnings = anchor_report(loss, random(examples, batch_size=16, seed=0, length_window=1), CRITERIA)
    assert first.startswith("valid anchors per batch: clear 4")
    assert len(warnings) == 1
    assert "will starve on fair: 0.0%" in warnings[0]


def test_the_report_counts_anchors_as_the_loss_does():
    examples = votes([0.7, 0.9])
    batches = random(examples, batch_size=40, seed=0, length_window=1)
    expected = torch.zeros(2)
    for batch in batches:
        yes, num = (torch.from_numpy(column[batch]) for column in (examples.yes_votes, examples.num_votes))
        statistics = SupConLoss(**SHARED).statistics(torch.randn(len(batch), 4), yes, num)
        expected += statistics["valid_anchor_share"] * statistics["counted"] / len(batches)
    (line,) = anchor_report(joint(SupConLoss(**SHARED)), batches, CRITERIA)
    assert line == f"valid anchors per batch: clear {expected[0]:.0%}, fair {expected[1]:.0%}"


def test_plenty_of_anchors_is_said_briefly():
    examples = votes([0.7, 0.6])
    batches = random(examples, batch_size=40, seed=0, length_window=1)
    (line,) = anchor_report(joint(SupConLoss(**SHARED)), batches, CRITERIA)
    assert line == "valid anchors per batch: more than 95% for every criterion"


def test_with_two_views_every_response_is_an_anchor_of_its_other_view():
    """The share of anchors is then that of the batches that hold both sides of the criterion."""
    examples = votes([0.7, 0.6])
    batches = random(examples, batch_size=5, seed=0, length_window=1)
    yes = np.stack([examples.yes_votes[batch] > 1 for batch in batches])  # [batches, 5, criteria]
    clear, fair = (yes.any(1) & ~yes.all(1)).mean(0)
    assert 0.5 < clear < fair < 1
    one, two = (anchor_report(joint(SupConLoss(**SHARED)), batches, CRITERIA, views=views)[0] for views in (1, 2))
    assert two == f"valid anchors per batch: clear {clear:.0%}, fair {fair:.0%}"
    assert one != two


def test_the_cost_of_two_views_is_said_and_that_they_need_dropout():
    assert views_report(1, tiny_model().encoder) == []
    assert views_report(2, tiny_model().encoder) == ["two views: each step encodes every response twice"]
    assert views_report(2, tiny_model(dropout=0.0).encoder, cutoff=0.15) == [
        "two views: each step encodes every response twice, the second time without 15% of its tokens"
    ]
    _, warning = views_report(2, tiny_model(dropout=0.0).encoder)
    assert warning.startswith("warning: the encoder has no dropout, so both views of a response have equal embeddings")


def test_nothing_to_report_without_a_contrastive_loss():
    batches = random(votes([0.7, 0.9]), batch_size=40, seed=0, length_window=1)
    assert anchor_report(joint(None, 0.0), batches, CRITERIA) == []
    assert anchor_report(joint(SupConLoss(**SHARED), 0.0), batches, CRITERIA) == []


def test_statistics_of_an_epoch_are_means_over_its_batches():
    """Collapsed in one batch and random in the other: the mean of both; a criterion without two sides is left out."""
    statistics = EpochStatistics(joint(SupConLoss(**SHARED)), CRITERIA, num_batches=2)
    yes = torch.tensor([[3, 3], [3, 3], [0, 3], [0, 3]])
    spread = torch.eye(4)
    for index, embeddings in enumerate((torch.ones(4, 4), spread)):
        statistics.add(index, embeddings, yes, torch.full_like(yes, 3), temperature=0.1)
    means = statistics.means()
    alone = SupConLoss(**SHARED).statistics(spread, yes, torch.full_like(yes, 3))["collapse_ratio"][0].item()
    assert means["collapse_ratio/clear"] == pytest.approx((1 + alone) / 2)
    assert "collapse_ratio/fair" not in means
    assert means["valid_anchors/clear"] == 1
    assert means["valid_anchors/fair"] == 0


def test_statistics_are_those_of_the_temperature_of_the_step():
    yes = torch.tensor([[3, 3], [2, 0], [0, 3], [1, 1]])
    batch = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)), yes, torch.full_like(yes, 3)
    statistics = EpochStatistics(joint(SupConLoss(**SHARED)), CRITERIA, num_batches=1)
    statistics.add(0, *batch, temperature=0.7)
    expected = SupConLoss(**(SHARED | {"temperature": 0.7})).statistics(*batch)["excess"].mean().item()
    assert statistics.means()["excess"] == pytest.approx(expected)


def test_a_loss_over_all_criteria_has_one_entry_in_the_metrics():
    yes = torch.tensor([[3, 3], [2, 2], [0, 3], [1, 1]])
    statistics = EpochStatistics(joint(ExactMatchLoss(temperature=0.1, denominator="all")), CRITERIA, num_batches=1)
    statistics.add(0, torch.eye(4), yes, torch.full_like(yes, 3), temperature=None)
    assert statistics.means()["valid_anchors"] == statistics.means()["valid_anchors/all_criteria"] == 0.5


def test_starvation_is_said_in_words(tmp_path):
    anchors = {"train/valid_anchors/clear": 0.9, "train/valid_anchors/fair": 0.01}
    line = late_remarks(tmp_path, anchors)["starvation"]
    assert "starves on fair: fewer than 5% of the responses are anchors; use sampler=balanced" in line


def test_a_warm_up_that_is_longer_than_the_run_is_said(tmp_path):
    settings = build_trainer(tmp_path, epochs=2).settings
    assert warm_up_report(settings) == []
    (line,) = warm_up_report(replace(settings, lambda_warmup_epochs=5))
    assert "trainer.lambda_warmup_epochs is longer than the run: lambda ends at 40% of its value" in line


def test_steps_too_few_for_the_rate_are_said_with_the_epochs_that_do(tmp_path):
    """80 steps of at most 2e-5 move a weight by at most 0.0016."""
    settings = build_trainer(tmp_path, epochs=10).settings
    assert steps_report(8, settings, 1e-4) == []
    (line,) = steps_report(8, settings, 2e-5)
    assert "80 steps at optimizer.lr=2e-05 hardly train an encoder: train longer (trainer.epochs=38), or" in line
    assert steps_report(8, replace(settings, epochs=38), 2e-5) == []


def test_an_epoch_of_training_has_them(tmp_path):
    epoch = build_trainer(tmp_path).train_epoch()
    assert {"excess", "collapse_ratio/first", "valid_anchors/second"} <= epoch.keys()
    assert epoch["excess"] >= 0


def test_a_run_that_has_not_left_its_start_is_said_in_words(tmp_path):
    line = late_remarks(tmp_path, {"val/auroc": 0.53})["stuck"]
    assert "hardly better than chance (val/auroc 0.53)" in line
    assert "optimizer.lr" in line
    assert late_remarks(tmp_path, {"val/auroc": 0.61}) == {}


@pytest.mark.parametrize(
    ("metrics", "epoch", "changes", "stuck"),
    [
        ({"val/auroc": 0.53}, 10, {}, True),
        ({"val/auroc": 0.61}, 10, {}, False),
        ({"val/auroc": 0.7, "val/linear/auroc": 0.53}, 10, {}, True),  # neighbours judge; the head has learned nothing
        ({"val/auroc": 0.53}, 5, {}, False),
        ({"val/auroc": 0.53}, 5, {"patience": 4}, True),
        ({"val/auroc": 0.53}, 6, {"lambda_warmup_epochs": 6}, False),
        ({}, 10, {}, False),
    ],
)
def test_a_run_is_stuck_if_the_epoch_it_kept_has_not_left_its_start(tmp_path, metrics, epoch, changes, stuck):
    settings = replace(build_trainer(tmp_path, epochs=10).settings, **changes)
    assert is_stuck(metrics, settings, epoch) == stuck


def test_a_stuck_run_names_the_remedy():
    line = stuck_remark({"val/auroc": 0.7, "val/linear/auroc": 0.532}, remedy_for_stuck(300, 1e-3))
    assert line.startswith("Stuck: this run never left the base rates (val/auroc 0.53; 0.5 is chance)")
    assert "optimizer.warmup_ratio=0.3" in line
    for few in ((40, 1e-3), (100, 2e-5)):
        assert remedy_for_stuck(*few).startswith("train longer (more trainer.epochs), or raise optimizer.lr")


def test_collapse_is_said_in_words(tmp_path):
    line = late_remarks(tmp_path, {"train/collapse_ratio": 0.995, "val/embedding/uniformity": -0.1})["collapse"]
    assert "nearly equal" in line
    orthogonal = {"train/collapse_ratio": 1.0, "val/embedding/uniformity": -4.0}
    assert "no nearer than other pairs" in late_remarks(tmp_path, orthogonal)["collapse"]
    assert "trainer.lambda_warmup_epochs" in line
    line = late_remarks(tmp_path, {"val/embedding/effective_rank": 1.4})["rank"]
    assert "span 1.4 dimensions" in line
    assert late_remarks(tmp_path, {"val/embedding/effective_rank": 1.4}, "per_criterion") == {}
    one_criterion_in_a_shared_space = {"train/collapse_ratio/clear": 0.995, "train/collapse_ratio": 0.94}
    assert late_remarks(tmp_path, {"val/embedding/effective_rank": 9.0} | one_criterion_in_a_shared_space) == {}


@pytest.mark.parametrize(("warmup", "first"), [(1, 6), (7, 8)])
def test_nothing_is_said_before_the_embeddings_had_time_to_move(tmp_path, warmup, first):
    settings = replace(build_trainer(tmp_path, epochs=10).settings, lambda_warmup_epochs=warmup)
    collapsed = {"train/collapse_ratio": 0.995}
    due = [epoch for epoch in range(11) if remarks(collapsed, CRITERIA, settings, epoch, projection="shared")]
    assert due == list(range(first, 11))
