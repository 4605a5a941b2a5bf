"""The words for how jobs, trials and sweeps end, and which direction is better."""

from typing import Literal, cast, get_args

Direction = Literal["minimize", "maximize"]

EndState = Literal[
    "ok",  # the task returned a value
    "pruned",  # the task stopped early, because the pruner said so
    "timeout",  # it ran past hydra.sweeper.trial_timeout
    "failed",  # the task raised, called sys.exit, or returned what is no objective value
    "refused",  # the task raised ConfigurationError: every other trial would fail, too
    "died",  # its process is gone, without a result: a signal, out of memory
    "lost",  # its batch was given up because another job of it died
]
TrialStateName = Literal["COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING"]  # as optuna.trial.TrialState has them
SweepState = Literal[
    "ok",  # every trial of the plan is done, or a limit ended the search as it was meant to
    "failed",  # an error or a failure limit ended it
    "interrupted",  # Ctrl-C or SIGTERM ended it
]


def end_state_of(error: object) -> EndState | None:
    """How a job ends that raises this error: what its attribute `end_state` says; None if it says nothing.

    Optuna's own TrialPruned says nothing, and is known by its name: a job need not import Optuna.
    """
    state = "pruned" if type(error).__name__ == "TrialPruned" else getattr(error, "end_state", None)
    return cast(EndState, state) if state in get_args(EndState) else None
