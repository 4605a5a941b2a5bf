"""Which options a run that is resumed must repeat."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from contrastive_app.places import CONF
from contrastive_app.resume import changed_options, fixed_options, output_folder
from hydra_plugins.contrastive_sweeper.trial import current_trial


def composed(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides))


def changes(*overrides, without=()):
    before = {key: value for key, value in fixed_options(composed()).items() if key not in without}
    return changed_options(before, composed(*overrides), Path("/start"))


def test_options_that_are_newer_than_the_run_are_no_change_at_their_defaults():
    newer = ("trainer.unjudged_share", "trainer.views", "loss.instance_weight", "data.view_cutoff")
    assert changes(without=newer) == []
    assert changes("trainer.views=2", "trainer.unjudged_share=0.25", without=newer) == [
        "trainer.unjudged_share",
        "trainer.views",
    ]


@pytest.mark.parametrize(
    ("override", "differing"),
    [
        ("seed=1", ["sampler.seed", "seed", "trainer.seed"]),
        ("loss.lambda_contrastive=0.2", ["loss.lambda_contrastive"]),
        ("trainer.epochs=20", []),
        ("tracking.uri=sqlite:///other.db", []),
        ("+loss.contrastive.margin=1", ["loss.contrastive.margin"]),
    ],
)
def test_what_must_stay_and_what_may_change(override, differing):
    assert changes(override) == differing


def test_a_run_whose_checkpoints_are_gone_is_refused_with_the_reason(tmp_path):
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"no checkpoint to continue from: .*trainer\.keep_checkpoints=true did not"):
        output_folder(composed(f"trainer.resume_from={tmp_path}"), current_trial())


def test_an_option_without_a_default_is_a_change():
    assert changes(without=["loss.temperature"]) == ["loss.temperature"]
