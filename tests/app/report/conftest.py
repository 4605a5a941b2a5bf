"""Outcomes of sweeps that never ran: the files that their runs would have left."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hydra_plugins.contrastive_sweeper.outcome import Confirmation, Outcome, SeedRun, TrialResult

METRIC = "val/macro_f1"
LABELS = {"loss.temperature": "τ", "loss.lambda_contrastive": "λ"}
CRITERIA = ("safe", "<b>친절</b>")


class Sweep:
    """Trials in a folder; `trial` adds one."""

    def __init__(self, folder):
        self.folder, self.trials = folder, []

    def run(self, name, value, lambda_contrastive, *, instance_weight=0.0, **metrics):
        run = self.folder / name
        run.mkdir(parents=True)
        config = {"loss.lambda_contrastive": lambda_contrastive, "loss.instance_weight": instance_weight}
        (run / "run.json").write_text(json.dumps({"config": config}))
        known = {METRIC: value, "test/macro_f1": value - 0.1, "test_ood/borderline/brier": 1 - value}
        known |= {
            f"{split}/{name}/{each}": value
            for split in ("val", "test")
            for name in ("f1", "brier")
            for each in CRITERIA
        }
        content = {"kept_epoch": 2, "epochs": 2, "metrics": known | metrics}
        (run / "metrics.json").write_text(json.dumps(content))
        return SeedRun((value,), run)

    def trial(
        self,
        temperature,
        lambda_contrastive,
        *values,
        seeds=(0, 1, 2, 3, 4, 5, 6, 7),
        state="COMPLETE",
        instance_weight=0.0,
        stuck=None,
    ):
        number = len(self.trials)
        runs = {
            seed: self.run(f"{number:03d}/seed_{seed}", value, lambda_contrastive, instance_weight=instance_weight)
            for seed, value in zip(seeds, values, strict=False)
        }
        runs = {seed: in_doubt_if(run, stuck) for seed, run in runs.items()}
        params = {"loss.temperature": temperature, "loss.lambda_contrastive": lambda_contrastive}
        mean = (sum(values) / len(values),) if state == "COMPLETE" else ()
        self.trials.append(
            TrialResult(
                number, f"{number:03d} trial", state, params, mean, 1, 7.0, "<i>no memory</i>" * (state == "FAIL"), runs
            )
        )

    def outcome(self, confirmation=None, chosen=None):
        ranked = sorted(self.trials, key=lambda trial: -sum(trial.values))
        best = ranked[0].number if chosen is None else chosen
        return Outcome("study", [METRIC], ["maximize"], "seed", LABELS, ranked, [best], best, confirmation)

    def confirmation(self, trial, values, baseline, stuck=None):
        lambda_contrastive = self.trials[trial].params["loss.lambda_contrastive"]
        arms = {
            trial: {
                10 + seed: self.run(f"best/{seed}", value, lambda_contrastive) for seed, value in enumerate(values)
            },
            None: {10 + seed: self.run(f"without/{seed}", value, 0.0) for seed, value in enumerate(baseline)},
        }
        arms = {arm: {seed: in_doubt_if(run, stuck) for seed, run in runs.items()} for arm, runs in arms.items()}
        return Confirmation(arms, 90.0)


def in_doubt_if(run, stuck):
    """The run, in doubt if its value is that of stuck runs."""
    return run._replace(doubt="never left the base rates") if run.values[0] == stuck else run


def write_recorded(
    folder,
    probabilities,
    *,
    split="test",
    criteria=CRITERIA,
    thresholds=(0.5, 0.5),
    votes=((2, 3), (3, 3)),
    **texts,
):
    """What a run with two criteria leaves of a split, and its judge.

    probabilities: one row per response; votes: (yes, all) per criterion, the same for every response.
    """
    number = len(probabilities)
    yes, total = ([[float(count) for count in counts]] * number for counts in zip(*votes, strict=True))
    columns = {
        "id": [f"{split} {row}" for row in range(number)],
        "domain": ["weather"] * number,
        "context": [["오늘 날씨 어때요?"]] * number,
        "response": [f"response {row}" for row in range(number)],
        "yes_votes": yes,
        "num_votes": total,
        "probabilities": np.float32(probabilities).tolist(),
    }
    pd.DataFrame(columns | texts).to_parquet(folder / f"{split}.parquet")
    settings = {"criteria": criteria, "thresholds": thresholds, "vote_shares": [[1.0, 0.0]] * 2}
    settings["concentrations"] = [3.0, 3.0]
    (folder / "judge").mkdir(exist_ok=True)
    (folder / "judge/judge.json").write_text(json.dumps(settings), encoding="utf-8")


@pytest.fixture
def sweep(tmp_path: Path):
    return Sweep(tmp_path)
