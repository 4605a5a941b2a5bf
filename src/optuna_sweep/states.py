"""The words for how jobs, trials and sweeps end, and which direction is better."""

from typing import TYPE_CHECKING, Literal, cast, get_args

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

Direction = Literal["minimize", "maximize"]

EndState = Literal[
    "ok",  # the task returned a value
    "pruned",  # the task stopped early, because the pruner said so
    "paused",  # the same, but it may continue from its checkpoint
    "timeout",  # it ran past hydra.sweeper.trial_timeout
    "failed",  # the task raised, called sys.exit, or returned what is no objective value
    "refused",  # the task raised ConfigurationError: every other trial would fail, too
    "died",  # its process is gone, without a result: a signal, out of memory
    "lost",  # its batch was given up because another job of it died
]
# as optuna.trial.TrialState has them, and PAUSED, which is WAITING for Optuna
TrialStateName = Literal["COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING", "PAUSED"]
PROMOTED_FROM = "promoted_from_rung"  # a trial's attribute: the rung at which it may not pause again
INTERVAL = "interval"  # a trial's attribute: of its value, as its task says; see CurrentTrial.set_interval
PAUSED_AT = "paused_at_rung"  # a trial's attribute: the number of the rung, from 0; None once it continues
SweepState = Literal[
    "ok",  # every trial of the plan is done, or a limit ended the search as it was meant to
    "failed",  # an error or a failure limit ended it
    "interrupted",  # Ctrl-C or SIGTERM ended it
]


def paused_at(trial: "FrozenTrial") -> int | None:
    """The rung at which the trial is paused; None if it is not."""
    rung: int | None = trial.user_attrs.get(PAUSED_AT) if trial.state.name == "WAITING" else None
    return rung


def state_of(trial: "FrozenTrial") -> TrialStateName:
    return "PAUSED" if paused_at(trial) is not None else cast(TrialStateName, trial.state.name)


def end_state_of(error: object) -> EndState | None:
    """How a job ends that raises this error: what its attribute `end_state` says; None if it says nothing.

    Optuna's own TrialPruned says nothing, and is known by its name: a job need not import Optuna.
    """
    state = "pruned" if type(error).__name__ == "TrialPruned" else getattr(error, "end_state", None)
    return cast(EndState, state) if state in get_args(EndState) else None
