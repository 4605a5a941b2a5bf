"""The description of the sweep's parent run, in markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from mlflow_stores import redact
from optuna_sweep.plan.plan import Plan, compact
from optuna_sweep.study.ledger import Ledger

BEST = 3


def describe(plan: Plan, ledger: Ledger, confirmed: Mapping[str, Any] | None, command: str) -> str:
    """What was swept, the best of it, and how to go on."""
    aims = " and ".join(f"{aim} `{name}`" for aim, name in zip(plan.directions, plan.metrics, strict=True))
    how = "every point of a grid" if plan.points is not None else f"a search by {plan.sampler.rpartition('.')[2]}"
    seeds = f", each with seeds {', '.join(map(str, plan.seeds))}" if len(plan.seeds) > 1 else ""
    swept = [f"- `{name}`: {what}" for name, what in plan.space.describe().items()]
    parts = [
        f"Study `{plan.study_name}`: {how}{seeds}, to {aims}. {_counts(ledger)}.",
        "\n".join(["**Swept**", "", *swept]),
        *_best(plan, ledger.ranked()[:BEST]),
    ]
    if confirmed is not None:
        verdict = confirmed.get("against_baseline", {}).get("verdict")
        parts.append(f"**Confirmed on fresh seeds**: {confirmed['chosen']}" + (f"; {verdict}" if verdict else ""))
    again = f"```\n{redact(command)}\n```"
    parts.append(f"**To continue** after a stop, or with a larger `hydra.sweeper.n_trials`:\n\n{again}")
    return "\n\n".join(parts)


def _counts(ledger: Ledger) -> str:
    states = {state: ledger.count(state) for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)}
    text = ", ".join(f"{count} {state.name}" for state, count in states.items() if count)
    reused = sum("reused_from" in trial.user_attrs for trial in ledger.trials)
    return (text or "Nothing finished") + (f" ({reused} reused from runs of the same point)" if reused else "")


def _best(plan: Plan, trials: Sequence[FrozenTrial]) -> list[str]:
    if not trials:
        return []
    names = list(trials[0].params)
    heading = ["trial", *(f"`{name}`" for name in names), *(f"`{name}`" for name in plan.metrics)]
    rows = [
        [
            f"{trial.number:03d}",
            *(compact(trial.params.get(name, "-")) for name in names),
            *(f"{value:.4f}" for value in trial.values),
        ]
        for trial in trials
    ]
    table = [heading, ["---"] * len(heading), *rows]
    title = "**The Pareto front**" if len(plan.metrics) > 1 else "**The best**"
    return [title + "\n\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in table)]
