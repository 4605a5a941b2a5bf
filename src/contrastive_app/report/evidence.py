"""Gathers what the report is made of: which configuration is compared with which other, over which seeds."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Self

from contrastive_app.record import METRICS_FILE
from contrastive_app.resume import RUN_FILE
from hydra_plugins.contrastive_sweeper.outcome import (
    CONFIDENCE,
    Comparison,
    Confirmation,
    Outcome,
    SeedRun,
    TrialResult,
    compare,
    doubts_of,
    undoubted,
)

CONTRASTIVE_WEIGHTS = ("loss.lambda_contrastive", "loss.instance_weight")  # all 0: the run had no contrastive term


@dataclass(frozen=True)
class Arm:
    """A configuration with the seeds that it was run with."""

    trials: Sequence[int]  # empty: the baseline of the confirm stage
    params: Mapping[str, Any]  # what was swept, the seed left out
    runs: Mapping[int, SeedRun]

    @cached_property
    def metrics(self) -> dict[int, dict[str, float]]:
        """Per seed, the metrics of the epoch that was kept, with their prefixes: {seed: {"val/macro_f1": 0.8}}."""
        return {seed: read_json(run.folder / METRICS_FILE).get("metrics", {}) for seed, run in self.runs.items()}

    @cached_property
    def weights(self) -> dict[str, float]:
        """Weights of the contrastive terms, as the first run was configured; empty if it left no file that tells."""
        config = read_json(self.folder / RUN_FILE).get("config", {})
        return {name: float(config[name]) for name in CONTRASTIVE_WEIGHTS if name in config}

    @property
    def is_baseline(self) -> bool:
        return not self.trials or (bool(self.weights) and not any(self.weights.values()))

    @property
    def folder(self) -> Path:
        """The output folder of the first seed's run."""
        return next(iter(self.runs.values())).folder

    @property
    def doubts(self) -> str:
        """How many runs are in doubt, and why: 2 of 9 runs never left the base rates. Empty if none is."""
        return doubts_of(self.runs.values())

    def objective(self, index: int, *, with_doubts: bool = True) -> dict[int, float]:
        """One objective's value per seed, of all runs or of those that are not in doubt."""
        return {seed: run.values[index] for seed, run in (self.runs if with_doubts else undoubted(self.runs)).items()}

    def metric(self, name: str) -> dict[int, float]:
        """One metric's value per seed, without the seeds whose runs lack it."""
        return {seed: metrics[name] for seed, metrics in self.metrics.items() if name in metrics}


@dataclass(frozen=True)
class Spread:
    """One value per seed, summed up."""

    mean: float
    sd: float | None  # None with one seed
    num_seeds: int

    @classmethod
    def of(cls, values: Mapping[int, float]) -> Self | None:
        numbers = list(values.values())
        if not numbers:
            return None
        return cls(fmean(numbers), stdev(numbers) if len(numbers) > 1 else None, len(numbers))


@dataclass(frozen=True)
class Evidence:
    """The configurations of a sweep, and the two that the verdict compares."""

    outcome: Outcome
    arms: Sequence[Arm]  # of the search, best first
    compared: Sequence[Arm]  # what the verdict is about: of the confirm stage, if there was one, else of the search
    best: Arm
    contrastive: Arm  # the best with a contrastive term; the best of all if none has one
    baseline: Arm | None  # the best without a contrastive term

    @property
    def is_fresh(self) -> bool:
        """Whether the compared runs have seeds that the search has not seen."""
        return self.outcome.confirmation is not None

    @property
    def num_seeds(self) -> int:
        return len(self.best.runs)

    @property
    def without(self) -> str:
        """The baseline in words: λ = 0, or what else the contrastive configuration weighs."""
        labels = {CONTRASTIVE_WEIGHTS[0]: "λ", **self.outcome.labels}
        names = [
            labels.get(name, name.rpartition(".")[2]) for name, weight in self.contrastive.weights.items() if weight
        ]
        return " and ".join(f"{name} = 0" for name in names) or "λ = 0"

    def values(self, index: int = 0) -> list[list[float]]:
        """One objective of every configuration, on the seeds of the search and on fresh ones; one value per seed."""
        arms = [*self.arms, *(self.compared if self.is_fresh else ())]
        return [list(arm.objective(index).values()) for arm in arms]

    def gain(self, index: int = 0, *, with_doubts: bool = True) -> Comparison | None:
        """What the contrastive term gains in an objective, with an interval; None with fewer than two paired seeds."""
        if self.baseline is None:
            return None
        arms = self.contrastive, self.baseline
        values, baseline = (arm.objective(index, with_doubts=with_doubts) for arm in arms)
        confirmation = self.outcome.confirmation
        confidence = CONFIDENCE if confirmation is None else confirmation.confidence
        return compare(values, baseline, self.outcome.directions[index], confidence)

    def difference(self, index: int = 0) -> float:
        """The same without an interval, which one seed is enough for. Positive = the contrastive term is better."""
        assert self.baseline is not None
        sign = 1 if self.outcome.directions[index] == "maximize" else -1
        own, other = (fmean(arm.objective(index).values()) for arm in (self.contrastive, self.baseline))
        return sign * (own - other)

    def runner_up_gap(self) -> float | None:
        """How far the two best configurations of the search are apart; None if there is only one."""
        means = [fmean(arm.objective(0).values()) for arm in self.arms]
        return next((abs(first - second) for first, second in pairwise(means)), None)


def gather(outcome: Outcome) -> Evidence:
    """Reads the files that the runs have left; a run whose folder is gone counts with its objective values only."""
    arms = _ranked(outcome, _arms_of_trials(outcome))
    compared = arms if outcome.confirmation is None else [*_confirmed_arms(outcome, outcome.confirmation, arms)]
    best = next(arm for arm in compared if outcome.chosen in arm.trials)
    without = [arm for arm in compared if arm.is_baseline]
    contrastive = next((arm for arm in (best, *compared) if not arm.is_baseline), best)
    baseline = next((arm for arm in without if arm is not contrastive), None)
    return Evidence(outcome, arms, compared, best, contrastive, baseline)


def _arms_of_trials(outcome: Outcome) -> Iterator[Arm]:
    """Trials that differ only in the seed are one arm."""
    groups: dict[str, list[TrialResult]] = {}
    for trial in outcome.trials:
        if trial.state == "COMPLETE" and trial.runs:
            groups.setdefault(repr(sorted(_params(outcome, trial).items())), []).append(trial)
    for trials in groups.values():
        runs = {seed: run for trial in trials for seed, run in trial.runs.items()}
        yield Arm([trial.number for trial in trials], _params(outcome, trials[0]), dict(sorted(runs.items())))


def _confirmed_arms(outcome: Outcome, confirmation: Confirmation, arms: Sequence[Arm]) -> Iterator[Arm]:
    params = {number: arm.params for arm in arms for number in arm.trials}
    for number, runs in confirmation.arms.items():
        if runs:
            yield Arm([] if number is None else [number], {} if number is None else params[number], runs)


def _ranked(outcome: Outcome, arms: Iterator[Arm]) -> list[Arm]:
    """Best first. With several objectives: the Pareto front, then the rest, both by the first objective."""
    sign = -1 if outcome.directions[0] == "maximize" else 1
    several = len(outcome.metrics) > 1

    def rank(arm: Arm) -> tuple[bool, float]:
        return several and not set(outcome.front) & set(arm.trials), sign * fmean(arm.objective(0).values())

    return sorted(arms, key=rank)


def _params(outcome: Outcome, trial: TrialResult) -> dict[str, Any]:
    return {name: value for name, value in trial.params.items() if name != outcome.seed_key}


def read_json(file: Path) -> dict[str, Any]:
    """The content of a JSON file; empty if there is none, as the run's folder may be gone."""
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found
