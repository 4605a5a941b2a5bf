import pytest
import torch

from contrastive_learning.losses import JointLoss, Losses, SupConLoss
from contrastive_learning.training.diagnostics import EpochStatistics
from contrastive_learning.training.epoch import NUM_SUMS, RunningEpoch
from contrastive_learning.training.step import BatchResult

YES = torch.tensor([[3.0], [2.0], [0.0], [1.0]])


def statistics(**changes):
    loss = JointLoss(
        contrastive=SupConLoss(temperature=0.1, denominator="all", projection="shared", criterion_weights=None),
        lambda_contrastive=0.1,
        targets="soft",
        criterion_weights=None,
        pos_weight=None,
        **changes,
    )
    return EpochStatistics(loss, ("clear",), num_batches=2)


def started(order, **changes):
    return RunningEpoch(4, order, statistics(**changes), torch.zeros(NUM_SUMS))


def result(*losses, views=1):
    terms = Losses(*(torch.tensor(loss) for loss in (*losses, 0.0, 0.0)[:5]))
    rows = torch.eye(4).repeat(views, 1), YES.repeat(views, 1), torch.full_like(YES, 3).repeat(views, 1)
    return BatchResult(terms, losses[0], *rows, 0.1, views)


def test_means_are_per_batch_and_the_norm_per_step():
    """Two batches, one optimizer step of gradient norm 6."""
    running = started(None)
    running.add(0, result(1.0, 0.5, 2.0), torch.tensor(0.0))
    running.add(1, result(3.0, 1.5, 4.0), torch.tensor(6.0))
    means = running.means(num_batches=2, num_steps=1)
    assert [means[f"{name}_loss"] for name in ("total", "bce", "contrastive")] == [2.0, 1.0, 3.0]
    assert means["grad_norm"] == 6.0
    assert means["valid_anchors/clear"] == 1
    assert running.num_examples == 8


def test_only_terms_that_are_on_are_reported_and_two_views_are_one_response():
    running = started([[5, 6, 7, 8]], consistency=0.5)
    running.add(0, result(1.0, 0.5, 2.0, 0.0, 0.25, views=2), torch.tensor(1.0))
    means = running.means(1, 1)
    assert {name for name in means if name.endswith("_loss")} == {
        "total_loss", "bce_loss", "contrastive_loss", "consistency_loss"
    }  # fmt: skip
    assert means["consistency_loss"] == 0.25
    assert means["grad_norm"] == 1.0
    assert running.num_examples == 4
    assert running.place(0, [2, 3, 6]) == "batch 1 of epoch 5, training examples [7, 8]"


def test_a_restored_epoch_has_the_means_of_the_whole_one():
    whole, first = started([[0, 1, 2, 3], [4, 5, 6, 7]]), started([[0, 1, 2, 3], [4, 5, 6, 7]])
    for running in (whole, first):
        running.add(0, result(1.0, 0.5, 2.0), torch.tensor(0.5))
        running.num_done = 1
    second = RunningEpoch.restored(first.state(), 4, statistics(), torch.device("cpu"))
    assert (second.order, second.num_done, second.num_examples) == (first.order, 1, 0)
    for running in (whole, second):
        running.add(1, result(3.0, 1.5, 4.0), torch.tensor(0.25))
    assert second.means(2, 2) == whole.means(2, 2)


def test_an_epoch_saved_by_an_earlier_version_is_restored():
    """Its statistics stood under "looks"."""
    looks = {name: [torch.tensor([0.5])] for name in ("excess", "collapse_ratio", "valid_anchor_share")}
    saved = {"order": [[0, 1]], "looks": looks, "sums": torch.tensor([1.0, 2.0, 3.0, 4.0]), "num_done": 1}
    running = RunningEpoch.restored(saved, 4, statistics(), torch.device("cpu"))
    assert running.means(1, 1) == pytest.approx(
        {"total_loss": 1, "bce_loss": 2, "contrastive_loss": 3, "grad_norm": 4}
        | dict.fromkeys(("excess", "collapse_ratio", "valid_anchors"), 0.5)
        | dict.fromkeys(("excess/clear", "collapse_ratio/clear", "valid_anchors/clear"), 0.5)
    )
    assert running.state().keys() == saved.keys()


def test_a_place_is_named_with_its_examples_if_they_are_known():
    assert started([[5, 6], [7, 8]]).place(1, [1]) == "batch 2 of epoch 5, training examples [8]"
    assert started([[5, 6], [7, 8]]).place(1, []) == "batch 2 of epoch 5"
    assert started(None).place(0, [1]) == "batch 1 of epoch 5"
