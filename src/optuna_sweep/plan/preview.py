"""hydra.sweeper.dry_run: prints what would run, without a store, a folder or a job."""

import optuna

from optuna_sweep.plan.plan import Plan
from optuna_sweep.plan.proposals import propose_unseen
from optuna_sweep.plan.samplers import make_sampler
from optuna_sweep.plan.space import Point
from optuna_sweep.race import fewest_complete

FIRST = 5  # trials shown of an adaptive search


def announcement(plan: Plan, num_done: int) -> list[str]:
    """What a sweep is about to do, before its first trial ends."""
    how = "a grid" if plan.points is not None else plan.sampler.rsplit(".", 1)[-1]
    aim = " and ".join(f"{aim} {name}" for aim, name in zip(plan.objective.directions, plan.metrics, strict=True))
    done = f"; {num_done} are done" if num_done else ""
    seeds = f" x {len(plan.seeds)} seeds" if len(plan.seeds) > 1 else ""
    first = f"study {plan.study_name}: {plan.num_trials} trials{seeds} by {how}, to {aim}{done}"
    return [first, *_swept(plan), *_pauses(plan), *_race(plan), *_confirm_cost(plan)]


def _swept(plan: Plan) -> list[str]:
    lines = [f"  {name}: {what}" for name, what in plan.space.describe().items()]
    if learned := plan.settings.warm_start:
        lines.append(f"  hydra.sweeper.warm_start: only where the best trials of {', '.join(learned)} lie")
    return lines


def _race(plan: Plan) -> list[str]:
    if not plan.settings.race:
        return []
    begins = fewest_complete(len(plan.seeds))
    if begins >= plan.num_trials:
        return [f"the race can drop none of {plan.num_trials} configurations: it begins when {begins} have all seeds"]
    return [f"the race begins when {begins} configurations have all seeds"]


def num_to_confirm(plan: Plan) -> int:
    """The runs of the confirm stage, at most."""
    confirm = plan.settings.confirm
    return (confirm.top_k + int(confirm.baseline is not None)) * confirm.num_seeds if confirm.is_wanted else 0


def _pauses(plan: Plan) -> list[str]:
    if plan.promotion is None:
        return []
    rungs = plan.promotion.rungs
    steps = ", ".join(str(rungs.step(rung)) for rung in range(3))
    best = f"unless they are among the best 1/{rungs.reduction_factor} there"
    return [f"trials pause after the {plan.step_name}s {steps}, … {best}"]


def _confirm_cost(plan: Plan) -> list[str]:
    if not (runs := num_to_confirm(plan)):
        return []
    confirm = plan.settings.confirm
    at_most = "at most " * confirm.stop_early
    off = "none with hydra.sweeper.confirm.num_seeds=0"
    return [f"then {at_most}{runs} runs of {runs // confirm.num_seeds} configurations to confirm ({off})"]


def print_preview(plan: Plan) -> None:
    adaptive = plan.points is None
    points = _first_points(plan) if adaptive else plan.points
    assert points is not None
    aim = f"{', '.join(plan.objective.directions)} {', '.join(plan.metrics)}"
    print(f"study {plan.study_name}, {aim}; nothing is run or stored")
    for line in _swept(plan):
        print(line)
    if adaptive:
        rest = max(0, plan.num_trials - len(points))
        print(f"{plan.num_trials} trials by {plan.sampler.rsplit('.', 1)[-1]}; the first {len(points)}:")
    else:
        print(f"a grid of {len(points)} {'trial' if len(points) == 1 else 'trials'}:")
    for number, point in enumerate(points):
        print(f"  {number:03d} {' '.join(plan.space.overrides(point)[len(plan.space.fixed) :])}")
    if adaptive and rest:
        print(f"  {rest} more depend on the results")
    print(_cost(plan))


def _first_points(plan: Plan) -> list[Point]:
    study = optuna.create_study(directions=list(plan.objective.directions))
    for point in plan.settings.enqueue:
        study.enqueue_trial(point)
    study.sampler = make_sampler(plan.settings.sampler, plan.sampler, len(study.trials))
    wanted = min(FIRST, plan.num_trials)
    points: list[Point] = []
    for index in range(wanted):
        if plan.extend is None and plan.space.is_listed and index >= len(plan.settings.enqueue):
            study.enqueue_trial(propose_unseen(study, plan.space) or {})
        trial = study.ask(plan.space.distributions)
        if plan.extend is not None:
            plan.extend(plan.config, trial)
        points.append(dict(trial.params))
    return points


def _cost(plan: Plan) -> str:
    settings = plan.settings
    runs = plan.num_trials * len(plan.seeds)
    parts = [
        f"{plan.num_trials} trials x {len(plan.seeds)} seeds = {runs} runs",
        *_pauses(plan),
        *_race(plan),
        *_confirm_cost(plan),
    ]
    if settings.trial_timeout is not None:
        parts.append(f"at most {settings.trial_timeout * (runs + num_to_confirm(plan)):g} s of trials")
    if settings.timeout is not None:
        parts.append(f"no trial starts after {settings.timeout:g} s")
    return "estimate: " + "; ".join(parts)
