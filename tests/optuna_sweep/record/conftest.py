"""The end of a sweep that never ran."""

from dataclasses import replace
from pathlib import Path

import pytest

from optuna_sweep.outcome import Outcome, TrialResult


def trial(number, params, *values, state="COMPLETE", **more):
    name = f"{number:03d} " + " ".join(f"{key}={value}" for key, value in params.items())
    folder = Path(f"/sweep/{number:03d}")
    result = TrialResult(number, name, state, params, values, 4, 1.25, more.pop("reason", ""), {}, folder=folder)
    return replace(result, **more)


@pytest.fixture
def outcome(tmp_path):
    """Four trials in two parameters: the best is number 2."""
    trials = [
        trial(2, {"loss.temperature": 0.07, "x": 3}, 0.5),
        trial(0, {"loss.temperature": 0.1, "x": 3}, 0.625, reused_from="other/7"),
        trial(1, {"loss.temperature": 0.2, "x": 3}, 0.75, state="PRUNED"),
        trial(3, {"loss.temperature": 0.3, "x": 4}, state="FAIL", reason="RuntimeError: boom", retry_of=1),
    ]
    return Outcome(
        study="s",
        metrics=["loss"],
        directions=["minimize"],
        seed_key="seed",
        labels={"loss.temperature": "τ", "x": "x"},
        trials=trials,
        front=[2],
        chosen=2,
        confirmation=None,
        unfinished=[trial(4, {}, state="WAITING", folder=None, last_step=None)],
        space={"loss.temperature": "0.05 to 0.5, log", "x": "3, 4"},
        sampler="optuna.samplers.TPESampler",
        storage="postgresql://***@host/studies",
        sweep_dir=tmp_path / "runs",
        best_config={"loss": {"temperature": 0.07}, "x": 3, "seed": "${x}"},
        command="python -m src.train -m x=3,4",
    )


@pytest.fixture
def pareto(outcome):
    """The same with two objectives, and trials 2 and 0 on the front."""
    values = {2: (0.5, 0.2), 0: (0.625, 0.1), 1: (0.75, 0.3), 3: ()}
    trials = [replace(result, values=values[result.number], state="COMPLETE") for result in outcome.trials[:3]]
    two = {"metrics": ["loss", "brier"], "directions": ["minimize", "minimize"]}
    return replace(outcome, **two, trials=[*trials, outcome.trials[3]], front=[0, 2])
