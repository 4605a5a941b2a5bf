"""Which trial a search settles on: the one with the best value, or with the best estimate (`hydra.sweeper.choose`)."""

from collections.abc import Mapping
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from optuna_sweep.estimates import estimates
from optuna_sweep.outcome import Confirmation, Estimate, Findings
from optuna_sweep.plan.plan import Plan
from optuna_sweep.study.ledger import Ledger, is_feasible


@dataclass(frozen=True)
class Choice:
    """The trial whose configuration the sweep settles on, and what the confirm stage said, if there was one."""

    trial: FrozenTrial
    confirmation: Confirmation | None = None
    findings: Findings | None = None


def choose(plan: Plan, ledger: Ledger) -> Choice | None:
    """The best trial of the search; None while none is COMPLETE."""
    found = ranked(plan, ledger)
    return Choice(found[0]) if found else None


def ranked(plan: Plan, ledger: Ledger) -> list[FrozenTrial]:
    """COMPLETE trials, best first, as hydra.sweeper.choose says; those without an estimate come after the others."""
    by_value, found = ledger.ranked(), estimates_of(plan, ledger)
    sign = 1 if plan.objective.directions[0] == "minimize" else -1

    def place(trial: FrozenTrial) -> tuple[bool, bool, float]:
        estimate = found.get(trial.number)
        return not is_feasible(trial), estimate is None, 0.0 if estimate is None else sign * estimate.mean

    return sorted(by_value, key=place)


def estimates_of(plan: Plan, ledger: Ledger) -> Mapping[int, Estimate]:
    """By trial number; empty if values choose, or tell too little."""
    if plan.settings.choose == "value":
        return {}
    return estimates(ledger.trials, plan.space.distributions, plan.objective.directions[0])
