"""Whether a trial that has some of its seeds behind it is worth the others."""

from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from optuna_sweep.plan.plan import Plan
from optuna_sweep.race import cannot_win
from optuna_sweep.run.left_behind import Done


def is_out_of_the_race(plan: Plan, trials: Sequence[FrozenTrial], done: Sequence[Done]) -> bool:
    """Whether further seeds are not worth it (`hydra.sweeper.race`). Runs in doubt say nothing.

    trials: of the study; done: the trial's own runs, one for each of the first seeds.
    """
    if not plan.settings.race:
        return False
    seeds = [int(seed) for seed in plan.seeds if seed is not None]
    values = {seed: run.values[0] for seed, run in zip(seeds, done, strict=False) if not run.doubt}
    rivals = [
        dict(zip(seeds, (value for value, *_ in other.user_attrs["seed_values"]), strict=True))
        for other in trials
        if other.state == TrialState.COMPLETE and not {"seed_doubts", "reused_from"} & other.user_attrs.keys()
    ]
    return cannot_win(values, rivals, seeds, plan.objective.directions[0])
