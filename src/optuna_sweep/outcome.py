"""What a sweep found, as the application's report gets it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from optuna_sweep.plan.plan import Plan
    from optuna_sweep.run.confirm import Arm
    from optuna_sweep.study.ledger import Ledger

RESAMPLES = 10_000
FEW_SEEDS, ENOUGH_SEEDS = 4, 6  # by chance, n differences have the same sign once in 2^(n-1) times


class Comparison(NamedTuple):
    """Paired over seeds, positive = better; the interval is a percentile bootstrap of the mean difference, 95 %."""

    mean_gain: float
    low: float
    high: float
    num_seeds: int

    @property
    def word(self) -> str:
        if self.num_seeds < FEW_SEEDS:
            return "not decided"
        hint = "a hint of " if self.num_seeds < ENOUGH_SEEDS else ""
        return f"{hint}a gain" if self.low > 0 else f"{hint}a loss" if self.high < 0 else "no gain shown"

    def __str__(self) -> str:
        if self.num_seeds < FEW_SEEDS:
            return f"{self.mean_gain:+.4f} over {self.num_seeds} paired seeds, and {FEW_SEEDS} are the least"
        return f"{self.mean_gain:+.4f} [{self.low:+.4f}, {self.high:+.4f}] over {self.num_seeds} paired seeds"


class SeedRun(NamedTuple):
    values: Sequence[float]  # of the objectives; empty unless it ended well
    folder: Path


@dataclass(frozen=True)
class Tried:
    """A trial."""

    number: int
    name: str  # as in MLflow: 007 τ=0.083 λ=0.21
    state: str  # COMPLETE, PRUNED, FAIL
    params: Mapping[str, Any]
    values: Sequence[float]
    last_step: int | None  # that it reported
    seconds: float
    reason: str  # of a failure
    runs: Mapping[int, SeedRun]  # seed -> run


@dataclass(frozen=True)
class Confirmation:
    """The stage on fresh seeds."""

    arms: Mapping[int | None, Mapping[int, SeedRun]]  # number of a trial, None = the baseline -> seed -> run
    seconds: float

    @classmethod
    def of(cls, arms: Sequence["Arm"], trials: Sequence["FrozenTrial"]) -> Self:
        """trials: of the stage's own study."""
        complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
        runs = {
            arm.number: {
                trial.params["seed"]: SeedRun(trial.values, Path(trial.user_attrs["output_dir"]))
                for trial in complete
                if trial.params["arm"] == arm.name
            }
            for arm in arms
        }
        return cls(runs, sum(trial.user_attrs.get("seconds", 0.0) for trial in trials))


@dataclass(frozen=True)
class Outcome:
    study: str
    metrics: Sequence[str]
    directions: Sequence[str]
    seed_key: str
    labels: Mapping[str, str]  # parameter -> short name
    trials: Sequence[Tried]  # best first, then pruned, then failed
    front: Sequence[int]  # numbers of the Pareto-optimal trials; of one objective, of the best
    chosen: int
    confirmation: Confirmation | None

    @classmethod
    def of(cls, plan: "Plan", ledger: "Ledger", chosen: int, confirmation: Confirmation | None) -> Self:
        unfinished = sorted((trial for trial in ledger.trials if trial.state.name in ("PRUNED", "FAIL")), key=_ended)
        tried = [_tried(plan, trial) for trial in (*ledger.ranked(), *unfinished)]
        names = dict.fromkeys(name for trial in tried for name in trial.params)
        several = len(plan.directions) > 1
        return cls(
            plan.study_name,
            plan.metrics,
            plan.directions,
            plan.settings.seed_key,
            {name: plan.short(name) for name in names},
            tried,
            [trial.number for trial in ledger.study.best_trials] if several else [chosen],
            chosen,
            confirmation,
        )


def compare(values: Mapping[int, float], baseline: Mapping[int, float], direction: str) -> Comparison | None:
    """Of values by seed; None with fewer than two seeds in common."""
    import numpy as np  # here: Hydra's scan for plugins, which every start pays for, executes this module

    sign = 1 if direction == "maximize" else -1
    seeds = sorted(values.keys() & baseline.keys())
    if len(seeds) < 2:
        return None
    gains = np.array([sign * (values[seed] - baseline[seed]) for seed in seeds])
    drawn = np.random.default_rng(0).choice(gains, size=(RESAMPLES, len(gains)))
    low, high = np.quantile(drawn.mean(axis=1), [0.025, 0.975])
    return Comparison(float(gains.mean()), float(low), float(high), len(gains))


def _tried(plan: "Plan", trial: "FrozenTrial") -> Tried:
    attributes = trial.user_attrs
    return Tried(
        trial.number,
        plan.label(trial.number, trial.params),
        trial.state.name,
        trial.params,
        trial.values or (),
        trial.last_step,
        attributes.get("seconds", 0.0),
        attributes.get("reason", ""),
        _runs(plan, trial),
    )


def _runs(plan: "Plan", trial: "FrozenTrial") -> dict[int, SeedRun]:
    if "output_dir" not in trial.user_attrs:
        return {}
    first = Path(trial.user_attrs["output_dir"])
    if len(plan.seeds) == 1:
        key = plan.settings.seed_key
        seed = plan.seeds[0] if plan.seeds[0] is not None else trial.params.get(key, plan.base.get(key))
        return {int(seed or 0): SeedRun(trial.values or (), first)}
    values = trial.user_attrs.get("seed_values", [()])
    seeds = [int(seed) for seed in plan.seeds if seed is not None]
    return {seed: SeedRun(each, first.with_name(f"seed_{seed}")) for seed, each in zip(seeds, values, strict=False)}


def _ended(trial: "FrozenTrial") -> tuple[bool, int]:
    return trial.state.name == "FAIL", trial.number
