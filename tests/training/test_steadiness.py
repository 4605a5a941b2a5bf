import numpy as np
import pytest
import torch

from contrastive_learning.data.disturbed import Disturbed
from contrastive_learning.training.progress import results_table
from contrastive_learning.training.steadiness import DROPOUT_PASSES, steadiness_metrics
from support.small_task import VotedBatches, build_trainer

FLIPS = "val/borderline/flips"


def disturbed_task():
    """The validation set of the small task; the edit swaps the tokens that decide."""
    valid = VotedBatches(64, 1)
    is_split = ((valid.yes_votes > 0) & (valid.yes_votes < 3)).any(1)
    rows = torch.nonzero(is_split)[:, 0].numpy()
    batch = valid.collate(rows) | {"index": torch.arange(len(rows))}
    swapped = batch["input_ids"].clone()
    swapped[:, 1:3] = torch.tensor([[7, 8], [9, 10]]).gather(1, swapped[:, 1:3].T % 2).T
    return Disturbed(rows, [batch], [(rows, [batch | {"input_ids": swapped}])])


def trained(folder, when, epochs=6, **changes):
    trainer = build_trainer(folder, epochs=epochs, steadiness=when, disturbed={"val": disturbed_task()}, **changes)
    return trainer, trainer.fit()


def test_the_opposite_text_flips_and_dropout_hardly_does(tmp_path):
    trainer, _ = trained(tmp_path, "end", epochs=20)  # after 6, the chance of the masks decides what has been learned
    metrics = trainer.evaluate_all()[0]
    assert metrics["val/borderline/edit_flips"] > 0.8
    assert metrics["val/borderline/dropout_flips"] < 0.4
    assert 0 < metrics["val/borderline/dropout_sd"] < metrics["val/borderline/edit_sd"]
    kinds = [metrics[f"val/borderline/{kind}_flips"] for kind in ("dropout", "edit")]
    assert metrics[FLIPS] == pytest.approx(np.mean(kinds))


def test_the_flips_are_the_last_row_of_the_results():
    metrics = {"val/macro_f1": 0.9, "val/borderline/auroc": 0.8}
    without, with_flips = (
        results_table(each, [], ["val"], heading="Best epoch 1 of 2") for each in (metrics, metrics | {FLIPS: 0.125})
    )
    assert with_flips.row_count == without.row_count + 1
    assert list(with_flips.columns[0].cells)[-1] == "borderline/flips"
    assert list(with_flips.columns[1].cells)[-1] == "0.125"


def test_without_dropout_nothing_moves(tmp_path):
    trainer, _ = trained(tmp_path, "end", dropout=0.0)
    assert trainer.evaluate_all()[0]["val/borderline/dropout_sd"] == pytest.approx(0, abs=1e-6)


def test_measuring_each_epoch_changes_no_bit_of_the_training(tmp_path):
    histories = {when: trained(tmp_path / when, when)[1] for when in ("each_epoch", "never")}
    losses = [[epoch["train/total_loss"] for epoch in history] for history in histories.values()]
    assert losses[0] == losses[1]
    assert [FLIPS in epoch for epoch in histories["each_epoch"]] == [True] * 6
    assert not any(FLIPS in epoch for epoch in histories["never"])


def test_the_model_is_in_training_mode_under_dropout_only(tmp_path):
    trainer, _ = trained(tmp_path, "never")
    seen = []

    def predict(batches, **options):
        evaluation = trainer.predict(batches, **options)
        seen.append(options.get("dropout", False))
        return evaluation

    evaluation = trainer.predict(trainer.val_loader)
    steadiness_metrics(disturbed_task(), evaluation, evaluation, predict, trainer.device)
    assert seen == [True] * DROPOUT_PASSES + [False]
    assert trainer.predict(trainer.val_loader).probabilities.tolist() == evaluation.probabilities.tolist()
