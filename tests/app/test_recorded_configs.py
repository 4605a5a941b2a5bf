"""Configurations that were recorded with runs by an earlier version: they still compose, and train."""

import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from contrastive_app.parts import build_parts, load_data, wants_report
from support.commands import ROOT, SMALL, runs, train
from support.rows import write_rows

RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_a_recorded_configuration_trains(file, tmp_path):
    shutil.copy(file, tmp_path / "config.yaml")
    known = [option for option in SMALL if not option.startswith("trainer.steadiness")]  # younger than the file
    train(tmp_path, "--config-dir", str(tmp_path), "--config-name", "config", *known, "trainer.epochs=1")
    (run,) = runs(tmp_path)[1]
    assert run.info.status == "FINISHED"


VOTES = {  # all options of `data.source` when judged data of one's own could first be read, and for long after
    "_target_": "contrastive_learning.data.VotesData",
    "path": "${..path}",
    "valid_path": None,
    "test_path": None,
    "test_ood_path": None,
    "criteria": None,
    "valid_fraction": 0.1,
    "test_fraction": 0.1,
    "held_out_domains": [],
    "split_seed": 0,
}


def test_recorded_options_of_votes_still_mean_the_same_data(tmp_path):
    """What was added since (format, yes_from, hash_annotators, data.report) has the value that changes nothing."""
    rows = [{"response": f"답 {index}", "votes": {"a": [1, index % 2]}} for index in range(40)]
    path = write_rows(tmp_path / "judged.jsonl", rows)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        now = compose("train", ["data=votes", f"data.path={path}", f"data.cache_dir={tmp_path}", "tracking=none"])
    recorded = now.copy()
    kept = ("path", "max_length", "prefix", "cache_dir", "train_examples")
    recorded.data = {name: now.data[name] for name in kept} | {"source": VOTES}
    assert not wants_report(recorded, in_sweep=False)
    data, expected = (load_data(config, build_parts(config)) for config in (recorded, now))
    assert data.fingerprint == expected.fingerprint
    assert data.criteria == expected.criteria == ("a",)
    for name, split in data.splits.items():
        assert split.column("id") == expected.splits[name].column("id")
    assert sum(map(len, data.splits.values())) == 40
