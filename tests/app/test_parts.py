"""What a configuration builds, without a run."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException

from contrastive_app.parts import build_parts, load_data, training_set
from contrastive_app.places import CONF
from contrastive_app.sweep_checks import check_point
from hydra_plugins.contrastive_sweeper.trial import ConfigurationError
from support.rows import write_rows

ON_TWO_VIEWS = ("loss=instance", "trainer.views=2")


@pytest.fixture
def training(tmp_path):
    """The training set of 20 judged responses of which 16 are in train, one without votes, and a file of nine."""

    def build(*overrides):
        judged = [
            {"response": f"답 {index}", "votes": {"a": [1, index % 2, 0], "b": [index % 3 > 0]}} for index in range(20)
        ]
        more = [{"response": f"다른 답 {index}"} for index in range(9)]
        options = [
            "data=votes",
            f"data.path={write_rows(tmp_path / 'judged.jsonl', [*judged, {'response': '더'}])}",
            f"data.unjudged={write_rows(tmp_path / 'more.jsonl', more)}",
            f"data.cache_dir={tmp_path / 'cache'}",
            "sampler.batch_size=8",
            "tracking=none",
        ]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("train", [*options, *overrides])
        parts = build_parts(config)
        return training_set(config, parts, load_data(config, parts))

    return build


def test_each_batch_gets_unjudged_responses_where_a_term_can_use_them(training):
    found = training(*ON_TWO_VIEWS, "trainer.unjudged_share=0.25")
    (remark,) = found.remarks
    assert remark.startswith("10 responses without votes take part in training by their two views: 0.25 per judged one")
    batches = list(found.batches)
    assert [[index >= 16 for index in batch] for batch in batches] == [[False] * 8 + [True] * 2] * 2
    assert found.responses.collate(batches[0])["num_votes"].sum(1).tolist() == [4] * 8 + [0] * 2


def test_positives_of_other_domains_need_two_domains(training):
    with pytest.raises(ConfigurationError, match=r"domains=across needs training responses of at least two domains"):
        training("loss.contrastive.domains=across")


def test_few_judged_responses_leave_all_unjudged_ones(training):
    found = training(*ON_TWO_VIEWS, "data.train_examples=4")
    assert len(found.responses) == 4 + 10


@pytest.mark.parametrize(
    ("overrides", "remark"),
    [
        ((), "left out: 10 responses without votes; with trainer.views=2 loss.instance_weight=0.1 (or loss=instance)"),
        ((*ON_TWO_VIEWS, "trainer.unjudged_share=0"), None),
    ],
)
def test_otherwise_they_are_left_out(training, overrides, remark):
    found = training(*overrides)
    assert [line[: len(remark or "")] for line in found.remarks] == ([] if remark is None else [remark])
    assert len(found.responses) == 16
    assert sorted(index for batch in found.batches for index in batch) == list(range(16))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("model.encoder.hidden_size=130",), "model.encoder.hidden_size must be a multiple of the 4 of"),
        (("data.max_length=600",), "data.max_length=600 is more than the 512 positions of the encoder"),
        (("data=votes", "data.path=/nope.jsonl"), "/nope.jsonl"),
    ],
)
def test_a_point_of_a_sweep_is_checked_as_far_as_nothing_is_trained(overrides, message):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["tracking=none", *overrides])
    with pytest.raises((ValueError, InstantiationException)) as refused:
        check_point(config)
    assert message in str(refused.value)
