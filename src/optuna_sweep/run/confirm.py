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
from optuna_sweep.errors import SweepError
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
    trial: FrozenTrial  # whose configuration it is, or of a baseline that the search has not tried, nearly is
    overrides: list[str]


Configured = Callable[[tuple[str, ...]], Mapping[str, Any]]  # the task's flat configuration under some overrides


def arms_of(plan: Plan, ledger: Ledger, configured: Configured) -> list[Arm]:
    """The best `confirm.top_k` configurations of the search, and the baseline if there is to be one.

    With a baseline, a configuration that has its values is no candidate; the best of these is the baseline. If the
    search has tried none, that is the best candidate with the values of `confirm.baseline`. Raises SweepError if all
    have them.
    """
    baseline = plan.settings.confirm.baseline or {}
    values = [f"{key}={text(value)}" for key, value in baseline.items()]
    by_point: dict[str, FrozenTrial] = {}
    for trial in ranked(plan, ledger):
        point = str(_without_seed(plan, trial))
        by_point.setdefault(point, trial)  # the later ones took its result, or had another seed
    trials = list(by_point.values())
    without = [trial for trial in trials if baseline and _is_baseline(plan, trial, baseline, configured)]
    best = [trial for trial in trials if trial not in without][: plan.settings.confirm.top_k]
    if trials and not best:
        raise SweepError(
            f"hydra.sweeper.confirm.baseline: every configuration of the search has {', '.join(values)} already"
        )
    arms = [Arm(_name(trial.number), trial, plan.overrides(trial.params)) for trial in best]
    if without:
        arms.append(Arm(BASELINE, without[0], plan.overrides(without[0].params)))
    elif arms and baseline:
        kept = [line for line in arms[0].overrides if line.partition("=")[0] not in baseline]
        arms.append(Arm(BASELINE, best[0], [*kept, *values]))
    return arms


def _without_seed(plan: Plan, trial: FrozenTrial) -> dict[str, Any]:
    return {name: value for name, value in trial.params.items() if name != plan.settings.seed_key}


def _is_baseline(plan: Plan, trial: FrozenTrial, baseline: Mapping[str, Any], configured: Configured) -> bool:
    """Whether a trial has the values of the baseline; an option that its configuration lacks cannot differ."""
    groups = {name: value for name, value in _without_seed(plan, trial).items() if "." not in name}
    chosen = tuple(plan.space.axes[name].override(value) for name, value in groups.items())
    return all(
        (trial.params[key] if key in trial.params else configured(chosen).get(key, value)) == value
        for key, value in baseline.items()
    )


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
    point = _without_seed(plan, arm.trial)
    name = BASELINE if arm.name == BASELINE else plan.label(arm.trial.number, point)
    return f"confirm {name} seed={params['seed']}"


def fresh_seeds(plan: Plan) -> list[int]:
    """The next `confirm.num_seeds` after the largest seed of the search."""
    key = plan.settings.seed_key
    used = [seed for seed in plan.seeds if seed is not None] or [int(plan.base.get(key) or 0)]
    if key in plan.space.axes:
        axis = plan.space.axes[key]
        used = [int(seed) for seed in axis.choices or [axis.last]]
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
