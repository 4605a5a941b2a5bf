"""The evaluation after training, by another judge than the classification head."""

import numpy as np
import pytest
from torch.utils.data import DataLoader

from contrastive_learning.judging import Neighbours, NeighboursJudge, PrototypesJudge, choose_weights, mix
from contrastive_learning.metrics import choose_thresholds, quality_metrics
from contrastive_learning.runtime.devices import seed_everything
from contrastive_learning.training import Hooks
from contrastive_learning.training.comparison import comparison_remark
from support.small_task import VotedBatches, build_trainer

NEIGHBOURS = NeighboursJudge(k=5, temperature=0.1, space="features")


def held_out():
    test = VotedBatches(40, 2)
    return {"test": DataLoader(test, batch_size=16, collate_fn=test.collate)}


def test_probabilities_thresholds_and_metrics_are_those_of_the_mix(tmp_path):
    trainer = build_trainer(tmp_path, epochs=2, held_out=held_out(), judge=NEIGHBOURS)
    trainer.fit()
    metrics, evaluations, _ = trainer.result()
    train, valid, test = map(trainer.predict, (trainer.train_loader, trainer.val_loader, held_out()["test"]))
    centre = train.features.mean(axis=0)
    neighbours = Neighbours.fit(train.features, train.yes_votes, train.num_votes, k=5, temperature=0.1, centre=centre)
    others = [neighbours.probabilities(split.features) for split in (valid, test)]
    weights = choose_weights(valid.probabilities, others[0], valid.yes_votes, valid.num_votes)
    assert (weights > 0.05).any()
    mixed = [mix(split.probabilities, other, weights) for split, other in zip((valid, test), others, strict=True)]
    for name, expected in zip(("val", "test"), mixed, strict=True):
        np.testing.assert_allclose(evaluations[name].probabilities, expected, atol=1e-6)
    votes = test.yes_votes, test.num_votes
    thresholds = choose_thresholds(mixed[0], valid.yes_votes, valid.num_votes)
    expected = quality_metrics(mixed[1], *votes, trainer.criteria, thresholds)
    assert {name: metrics[f"test/{name}"] for name in expected} == pytest.approx(expected, abs=1e-5)
    linear = quality_metrics(test.probabilities, *votes, trainer.criteria, valid.thresholds)
    for name in ("macro_f1", "auroc"):
        assert metrics[f"test/linear/{name}"] == pytest.approx(linear[name])
    assert [metrics[f"judge/weight/{name}"] for name in trainer.criteria] == pytest.approx(weights.tolist(), abs=1e-6)
    remark = comparison_remark(metrics)
    assert f"test {metrics['test/macro_f1']:.3f} ({linear['macro_f1']:.3f})" in remark
    assert trainer.judge.training.features.shape == (96, 32)


def test_epochs_are_judged_by_the_head_and_training_is_the_same(tmp_path):
    """The monitor, which chooses the best epoch, does not know the judge."""
    seen = {}
    for name, judge in (("linear", None), ("mixed", PrototypesJudge(temperature=0.2, space="embeddings"))):
        logged = seen[name] = []
        hooks = Hooks(log=lambda metrics, epoch, logged=logged: logged.append(metrics["val/brier"]))
        trainer = build_trainer(tmp_path / name, epochs=3, judge=judge, hooks=hooks)
        trainer.fit()
        metrics, _, epoch = trainer.result()
        seen[name] += [epoch]
        seen[f"final {name}"] = metrics["val/brier"]
    assert seen["linear"] == seen["mixed"]
    assert seen["final linear"] != seen["final mixed"]


def test_a_resumed_run_judges_as_an_uninterrupted_one(tmp_path):
    def finished(trainer):
        trainer.fit()
        return trainer.result()[1]["val"].probabilities

    expected = finished(build_trainer(tmp_path / "whole", judge=NEIGHBOURS))

    def stop(metrics, epoch):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_trainer(tmp_path / "parts", judge=NEIGHBOURS, hooks=Hooks(log=stop)).fit()
    for _ in range(2):  # a run that had ended gives the same again
        seed_everything(123)
        resumed = build_trainer(tmp_path / "parts", judge=NEIGHBOURS)
        resumed.resume(tmp_path / "parts")
        np.testing.assert_array_equal(finished(resumed), expected)


def test_without_validation_data_nothing_is_trained(tmp_path):
    trainer = build_trainer(tmp_path, judge=NEIGHBOURS)
    trainer.val_loader = []
    with pytest.raises(ValueError, match="an evaluation set must not be empty"):
        trainer.fit()
    assert trainer.epoch == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0, "temperature": 0.1, "space": "features"}, "judge.k must be at least 1, got 0"),
        ({"k": 1, "temperature": -1, "space": "features"}, "judge.temperature must be positive, got -1"),
        ({"k": 1, "temperature": 1, "space": "feature"}, "judge.space must be one of .*did you mean features"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        NeighboursJudge(**arguments)
