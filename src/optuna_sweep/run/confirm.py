"""After the search: the best configurations again, with seeds that the search has not seen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial

from optuna_sweep.outcome import Confirmation, compare
from optuna_sweep.plan.plan import Plan, digest
from optuna_sweep.plan.space import Axis, Space, text
from optuna_sweep.study.ledger import Ledger

BASELINE = "baseline"


@dataclass(frozen=True)
class Arm:
    """A configuration that is run with every fresh seed."""

    name: str
    trial: FrozenTrial  # that it comes from
    overrides: list[str]

    @property
    def number(self) -> int | None:
        """Of its trial; None = the baseline."""
        return None if self.name == BASELINE else self.trial.number


def arms_of(plan: Plan, ledger: Ledger) -> list[Arm]:
    by_point: dict[str, FrozenTrial] = {}
    for trial in ledger.ranked():
        by_point.setdefault(str(trial.params), trial)  # later ones took its result
    ranked = list(by_point.values())[: plan.settings.confirm.top_k]
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


def findings(plan: Plan, arms: Sequence[Arm], confirmation: Confirmation) -> dict[str, Any] | None:
    """Mean and sd of each arm, which one is chosen, and how it stands against the baseline."""
    by_arm = {arm.name: confirmation.arms[arm.number] for arm in arms}
    complete = {name: {seed: run.values[0] for seed, run in runs.items()} for name, runs in by_arm.items() if runs}
    candidates = [name for name in complete if name != BASELINE]
    if not candidates:
        return None
    sign = 1 if plan.directions[0] == "maximize" else -1
    chosen = max(candidates, key=lambda name: sign * fmean(complete[name].values()))
    found: dict[str, Any] = {"chosen": chosen, "arms": {name: _statistics(runs) for name, runs in complete.items()}}
    if BASELINE in complete:
        found["against_baseline"] = _against(complete[chosen], complete[BASELINE], plan.directions[0])
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


def _statistics(runs: Mapping[int, float]) -> dict[str, Any]:
    values = list(runs.values())
    return {"mean": fmean(values), "sd": stdev(values) if len(values) > 1 else 0.0, "seeds": len(values)}


def _against(chosen: Mapping[int, float], baseline: Mapping[int, float], direction: str) -> dict[str, Any]:
    found = compare(chosen, baseline, direction)
    if found is None:
        return {"verdict": "nothing can be said: fewer than two paired seeds"}
    interval = [found.low, found.high]
    return {"mean_gain": found.mean_gain, "interval_95": interval, "verdict": f"{found.word}: {found}"}
