"""Configurations that were recorded with runs by an earlier version: they still compose, and train."""

import shutil
from pathlib import Path

import pytest

from support.commands import SMALL, runs, train

RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_a_recorded_configuration_trains(file, tmp_path):
    shutil.copy(file, tmp_path / "config.yaml")
    train(tmp_path, "--config-dir", str(tmp_path), "--config-name", "config", *SMALL, "trainer.epochs=1")
    (run,) = runs(tmp_path)[1]
    assert run.info.status == "FINISHED"
