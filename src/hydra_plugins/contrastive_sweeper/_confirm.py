"""After the search: the best configurations again, with seeds that the search has not seen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from hydra_plugins.contrastive_sweeper._plan import Plan, digest
from hydra_plugins.contrastive_sweeper._space import Axis, Space, text
from hydra_plugins.contrastive_sweeper._study import Ledger

BASELINE = "baseline"
RESAMPLES = 10_000


@dataclass(frozen=True)
class Arm:
    """A configuration that is run with every fresh seed."""

    name: str
    trial: FrozenTrial  # that it comes from
    overrides: list[str]


def arms_of(plan: Plan, ledger: Ledger) -> list[Arm]:
    ranked = ledger.ranked()[: plan.settings.confirm.top_k]
    arms = [Arm(f"trial {trial.number}", trial, plan.overrides(trial.params)) for trial in ranked]
    baseline = plan.settings.confirm.baseline
    if arms and baseline:
        kept = [line for line in arms[0].overrides if line.partition("=")[0] not in baseline]
        changed = [f"{key}={text(value)}" for key, value in baseline.items()]
        arms.append(Arm(BASELINE, ranked[0], [*kept, *changed]))
    return arms


def confirm_plan(plan: Plan, arms: Sequence[Arm]) -> Plan:
    """A grid of its own study: every arm with every fresh seed."""
    seeds = _fresh_seeds(plan)
    names = {arm.name: arm.name for arm in arms}
    axes = {
        "arm": Axis("arm", CategoricalDistribution(list(names)), names),
        "seed": Axis("seed", CategoricalDistribution(seeds), {seed: str(seed) for seed in seeds}),
    }
    space = Space(axes, plan.space.fixed)
    key = digest([[arm.name, arm.overrides] for arm in arms] + seeds)[:8]
    points = list(space.points())
    settings = replace(plan.settings, timeout=None, target=None, patience=None, enqueue=[])
    return replace(
        plan,
        settings=settings,
        space=space,
        points=points,
        num_trials=len(points),
        seeds=[None],
        study_name=f"{plan.study_name}-confirm-{key}",
        extend=None,
        overrides=_overrides(plan, arms),
        reports=False,
        folder_prefix=f"confirm-{key}/",
    )


def findings(plan: Plan, ledger: Ledger, arms: Sequence[Arm]) -> dict[str, Any] | None:
    """Mean and sd of each arm, which one is chosen, and how it stands against the baseline."""
    by_arm = {arm.name: _values_by_seed(ledger, arm.name) for arm in arms}
    complete = {name: values for name, values in by_arm.items() if values}
    candidates = [name for name in complete if name != BASELINE]
    if not candidates:
        return None
    sign = 1 if plan.directions[0] == "maximize" else -1
    chosen = max(candidates, key=lambda name: sign * fmean(complete[name].values()))
    found: dict[str, Any] = {"chosen": chosen, "arms": {name: _statistics(runs) for name, runs in complete.items()}}
    if BASELINE in complete:
        found["against_baseline"] = _compare(complete[chosen], complete[BASELINE], sign)
    return found


def report(found: Mapping[str, Any], say: Callable[[str], None]) -> None:
    for name, arm in found["arms"].items():
        say(f"confirm  {name}: mean {arm['mean']:.4f}, sd {arm['sd']:.4f} over {arm['seeds']} fresh seeds")
    say(f"chosen by mean: {found['chosen']}")
    if "against_baseline" in found:
        say(f"verdict: {found['against_baseline']['verdict']}")


def _fresh_seeds(plan: Plan) -> list[int]:
    used = [seed for seed in plan.seeds if seed is not None] or [int(plan.base.get(plan.settings.seed_key) or 0)]
    return [max(used) + 1 + index for index in range(plan.settings.confirm.num_seeds)]


def _overrides(plan: Plan, arms: Sequence[Arm]) -> Callable[[Mapping[str, Any]], list[str]]:
    by_name = {arm.name: arm.overrides for arm in arms}
    return lambda params: [*by_name[params["arm"]], f"{plan.settings.seed_key}={params['seed']}"]


def _values_by_seed(ledger: Ledger, arm: str) -> dict[int, float]:
    return {
        trial.params["seed"]: trial.values[0]
        for trial in ledger.trials
        if trial.state == TrialState.COMPLETE and trial.params["arm"] == arm
    }


def _statistics(runs: Mapping[int, float]) -> dict[str, Any]:
    values = list(runs.values())
    return {"mean": fmean(values), "sd": stdev(values) if len(values) > 1 else 0.0, "seeds": len(values)}


def _compare(chosen: Mapping[int, float], baseline: Mapping[int, float], sign: int) -> dict[str, Any]:
    """Paired over seeds; the interval is a percentile bootstrap of the mean difference, 95 %."""
    seeds = sorted(chosen.keys() & baseline.keys())
    gains = np.array([sign * (chosen[seed] - baseline[seed]) for seed in seeds])
    if len(gains) < 2:
        return {"verdict": "nothing can be said: fewer than two paired seeds"}
    drawn = np.random.default_rng(0).choice(gains, size=(RESAMPLES, len(gains)))
    low, high = (float(bound) for bound in np.quantile(drawn.mean(axis=1), [0.025, 0.975]))
    word = "a gain" if low > 0 else "a loss" if high < 0 else "no gain shown"
    size = f"{gains.mean():+.4f} [{low:+.4f}, {high:+.4f}] over {len(gains)} paired seeds"
    return {"mean_gain": float(gains.mean()), "interval_95": [low, high], "verdict": f"{word}: {size}"}
