"""The confirm stage, after the search: the best configurations again, with seeds that the search has not seen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from optuna_sweep.comparison import CONFIDENCE, Comparison, compare, settled
from optuna_sweep.looks import answer, confidence_of_each
from optuna_sweep.outcome import ArmMean, Confirmation, Findings, SeedRun, doubts_of, undoubted
from optuna_sweep.plan.make_plan import digest
from optuna_sweep.plan.plan import Plan
from optuna_sweep.plan.space import Axis, Space, text
from optuna_sweep.run.choice import ranked
from optuna_sweep.settings import ConfirmConf
from optuna_sweep.study.ledger import Ledger

BASELINE = "baseline"


@dataclass(frozen=True)
class Arm:
    """A configuration that is run with every fresh seed."""

    name: str
    trial: FrozenTrial  # whose configuration it is; the baseline's is that of the best, with other values
    overrides: list[str]


def arms_of(plan: Plan, ledger: Ledger) -> list[Arm]:
    """The best `confirm.top_k` configurations of the search, and the baseline if there is to be one."""
    by_point: dict[str, FrozenTrial] = {}
    for trial in ranked(plan, ledger):
        by_point.setdefault(str(trial.params), trial)  # the later ones took its result
    best = list(by_point.values())[: plan.settings.confirm.top_k]
    arms = [Arm(_name(trial.number), trial, plan.overrides(trial.params)) for trial in best]
    baseline = plan.settings.confirm.baseline
    if arms and baseline:
        kept = [line for line in arms[0].overrides if line.partition("=")[0] not in baseline]
        changed = [f"{key}={text(value)}" for key, value in baseline.items()]
        arms.append(Arm(BASELINE, best[0], [*kept, *changed]))
    return arms


def confirm_plan(plan: Plan, arms: Sequence[Arm]) -> Plan:
    """A grid with a study of its own: every arm with every fresh seed."""
    seeds = fresh_seeds(plan)
    names = {arm.name: arm.name for arm in arms}
    axes = {  # the arms of a seed one after the other, so that there are pairs from the start
        "seed": Axis("seed", CategoricalDistribution(seeds), {seed: str(seed) for seed in seeds}),
        "arm": Axis("arm", CategoricalDistribution(list(names)), names),
    }
    space = Space(axes, plan.space.fixed)
    key = digest([[arm.name, arm.overrides] for arm in arms] + seeds)[:8]
    points = list(space.points())
    settings = replace(
        plan.settings, timeout=None, target=None, patience=None, enqueue=[], warm_start=[], confirm=ConfirmConf()
    )
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
        promotion=None,
        folder_prefix=f"confirm-{key}/",
        named=partial(_label, plan, arms),
        answered=partial(_answered, plan, arms) if plan.settings.confirm.stop_early else plan.answered,
    )


def _label(plan: Plan, arms: Sequence[Arm], number: int, params: Mapping[str, Any]) -> str:
    """confirm 003 τ=0.083 λ=0.21 seed=1, or confirm baseline seed=1"""
    del number
    arm = next(arm for arm in arms if arm.name == params["arm"])
    name = BASELINE if arm.name == BASELINE else plan.label(arm.trial.number, arm.trial.params)
    return f"confirm {name} seed={params['seed']}"


def fresh_seeds(plan: Plan) -> list[int]:
    """The next `confirm.num_seeds` after the largest seed of the search."""
    used = [seed for seed in plan.seeds if seed is not None] or [int(plan.base.get(plan.settings.seed_key) or 0)]
    return [max(used) + 1 + index for index in range(plan.settings.confirm.num_seeds)]


def _answered(plan: Plan, arms: Sequence[Arm], trials: Sequence[FrozenTrial]) -> str | None:
    """Why the runs so far are enough; None if they are not, or a run of theirs is in doubt."""
    runs = {_name(number): own for number, own in confirmation_of(plan, arms, trials).arms.items()}
    if any(doubts_of(own.values()) for own in runs.values()):
        return None
    values = {name: _first_values(own) for name, own in runs.items()}
    chosen = next(name for name in values if name != BASELINE)
    why = answer(values[chosen], values[BASELINE], fresh_seeds(plan), plan.objective.directions[0])
    return why and f"{why} (confirm.stop_early)"


def confirmation_of(plan: Plan, arms: Sequence[Arm], trials: Sequence[FrozenTrial]) -> Confirmation:
    """The runs of each arm that ended well. plan: of the search; trials: of the stage's own study."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    runs = {
        None if arm.name == BASELINE else arm.trial.number: {
            int(trial.params["seed"]): SeedRun(
                trial.values, Path(trial.user_attrs["output_dir"]), *trial.user_attrs.get("seed_doubts", ())
            )
            for trial in complete
            if trial.params["arm"] == arm.name
        }
        for arm in arms
    }
    seconds = sum(trial.user_attrs.get("seconds", 0.0) for trial in trials)
    confirm = plan.settings.confirm
    confidence = confidence_of_each(confirm.num_seeds) if confirm.stop_early else CONFIDENCE
    return Confirmation(runs, seconds, confidence)


def findings(confirmation: Confirmation, direction: str) -> Findings | None:
    """Which arm has the best mean, and how it compares with the baseline; None if no run of an arm ended well.

    Runs in doubt count in the means, but the verdict also says what the comparison is without them, and decides nothing
    that only they decide.
    """
    runs_of = {_name(number): runs for number, runs in confirmation.arms.items() if runs}
    values = {name: _first_values(runs) for name, runs in runs_of.items()}
    candidates = [name for name in values if name != BASELINE]
    if not candidates:
        return None
    sign = 1 if direction == "maximize" else -1
    chosen = max(candidates, key=lambda name: sign * fmean(values[name].values()))
    means = {name: _mean(runs) for name, runs in runs_of.items()}
    if BASELINE not in values:
        return Findings(chosen, means, None, None)
    gain = compare(values[chosen], values[BASELINE], direction, confirmation.confidence)
    if not (means[chosen].doubts or means[BASELINE].doubts):
        return Findings(chosen, means, _said(gain), gain)
    own, other = (_first_values(undoubted(runs_of[name])) for name in (chosen, BASELINE))
    without = compare(own, other, direction, confirmation.confidence)
    verdict = f"{_said(gain)}; without the runs in doubt {_said(without)}"
    if gain is not None and settled(gain, without) is None:
        verdict = f"not decided, as runs in doubt decide it: {verdict}"
    return Findings(chosen, means, verdict, gain, without)


def _name(number: int | None) -> str:
    return BASELINE if number is None else f"trial {number}"


def _first_values(runs: Mapping[int, SeedRun]) -> dict[int, float]:
    return {seed: run.values[0] for seed, run in runs.items()}


def _mean(runs: Mapping[int, SeedRun]) -> ArmMean:
    values, others = list(_first_values(runs).values()), list(_first_values(undoubted(runs)).values())
    doubts = doubts_of(runs.values())
    without = fmean(others) if doubts and others else None
    return ArmMean(fmean(values), stdev(values) if len(values) > 1 else 0.0, len(values), doubts, without)


def _said(gain: Comparison | None) -> str:
    return "nothing can be said: fewer than two paired seeds" if gain is None else f"{gain.word}: {gain}"


def _overrides(plan: Plan, arms: Sequence[Arm]) -> Callable[[Mapping[str, Any]], list[str]]:
    by_name = {arm.name: arm.overrides for arm in arms}
    return lambda params: [*by_name[params["arm"]], f"{plan.settings.seed_key}={params['seed']}"]
