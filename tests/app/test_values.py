import re

import pytest
from hydra import compose, initialize_config_dir

from contrastive_app.places import CONF
from contrastive_app.values import check_values


def composed(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides=list(overrides))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.epochs=1.5", "trainer.epochs must be a whole number, got 1.5"),
        ("sampler.batch_size=null", "sampler.batch_size must be a whole number, got null"),
        ("optimizer.lr=abc", "optimizer.lr must be a number, got abc"),
        ("loss.temperature=null", "loss.temperature must be a number, got null"),
        ("loss.lambda_contrastive=true", "loss.lambda_contrastive must be a number, got true"),
        ("model.encoder.hidden_size=abc", "model.encoder.hidden_size must be a whole number, got abc"),
        ("data.prefix=3", "data.prefix must be text, got 3"),
        ("data.train_examples=few", "data.train_examples must be a whole number or null, got few"),
        ("trainer.patience=1.5", "trainer.patience must be a whole number or null, got 1.5"),
        ("objective.metric=[val/brier,val/auroc]", r"several objectives trainer\.monitor must be set to a single one"),
        ("objective.direction=[minimize]", r"several objectives trainer\.direction must be set to a single one"),
        ("data=votes", "data.path must be given: data.path=FILE_OR_FOLDER"),
        ("data=aihub", "data.path must be given: data.path=FILE_OR_FOLDER"),
        ("model=hub", "model.name must be given: model.name=a hub id such as klue/roberta-base, or a folder"),
        ("seed=-1", "seed must be at least 0, got -1"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_by_its_option(override, message):
    with pytest.raises(ValueError, match=message):
        check_values(composed(override))


@pytest.mark.parametrize("metric", ["test/auroc", "[val/auroc,val/brier]"])
def test_within_an_epoch_one_metric_of_valid_can_be_reported(metric):
    single = ("trainer.monitor=val/auroc", "trainer.direction=maximize")
    check_values(composed(f"objective.metric={metric}", *single))
    message = rf"^trainer.report_every needs one objective.metric on val/, got {re.escape(metric)}$"
    with pytest.raises(ValueError, match=message):
        check_values(composed(f"objective.metric={metric}", *single, "trainer.report_every=2"))


@pytest.mark.parametrize(
    "override", ["loss.temperature=1", "loss.criterion_weights=[1,2]", "loss.pos_weight=3", "trainer.patience=null"]
)
def test_what_the_constructor_takes_passes(override):
    check_values(composed(override))
