"""A judge that is trained once per module, and the command in this process."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from contrastive_app.judge.command import main
from support.commands import SMALL, runs, train


@dataclass
class Trained:
    folder: Path  # where the command ran
    output: Path  # of the run
    run_id: str
    criteria: list[str]

    def evaluated(self, split):
        """What training has recorded of a split, as a table and as arrays [responses, criteria]."""
        table = pd.read_parquet(self.output / f"{split}.parquet")
        return table, *(np.stack(table[name]) for name in ("probabilities", "yes_votes", "num_votes"))

    def rows(self, *splits):
        """The responses with their votes, in the plain form."""
        rows = []
        for split in splits:
            table, _, yes_votes, num_votes = self.evaluated(split)
            for item, yes, total in zip(table.itertuples(), yes_votes.astype(int), num_votes.astype(int), strict=True):
                votes = {name: [1] * k + [0] * (n - k) for name, k, n in zip(self.criteria, yes, total, strict=True)}
                about = {"id": item.id, "domain": item.domain, "context": list(item.context)}
                rows.append(about | {"response": item.response, "votes": votes})
        return rows


@pytest.fixture(scope="package")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    train(folder, *SMALL, "trainer.precision=fp32", "judge=neighbours", "tracking.register=judge")
    (output,) = folder.glob("outputs/*/*")
    _, (run,) = runs(folder)
    settings = json.loads((output / "judge/judge.json").read_text(encoding="utf-8"))
    return Trained(folder, output, run.info.run_id, settings["criteria"])


@pytest.fixture
def judge(trained, monkeypatch, capsys):
    """Runs the command where the run is recorded; returns what it prints on stderr, or the error that it ends with."""
    monkeypatch.chdir(trained.folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def run(*arguments):
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, getattr(sys, name))  # the command wraps them
        capsys.readouterr()
        try:
            main(list(map(str, arguments)))
        except SystemExit as ended:
            return str(ended.code)
        return capsys.readouterr().err

    return run
