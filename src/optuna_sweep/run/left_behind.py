"""What the jobs of a trial have left in their folders, which outlive them: results, and reports that were not sent."""

import sys
from pathlib import Path
from typing import NamedTuple

from optuna_sweep.plan.plan import Plan
from optuna_sweep.run.slots import Ending, saved_ending
from optuna_sweep.study.ledger import Ledger
from optuna_sweep.study.reports import UNSENT_FILE, open_trial, unsent


class Done(NamedTuple):
    """A run that ended well."""

    values: list[float]  # of the objectives
    doubt: str  # see CurrentTrial.set_doubt


def first_ending(plan: Plan, number: int) -> Ending | None:
    """How the job of the trial's first seed ended; None if it has left no result."""
    return saved_ending(plan.sweep_dir / plan.folder(number, 0))


def saved_runs(plan: Plan, number: int) -> list[Done]:
    """The runs of the trial's first seeds that have ended well, up to the first that has not."""
    done: list[Done] = []
    for index in range(len(plan.seeds)):
        ending = saved_ending(plan.sweep_dir / plan.folder(number, index))
        if ending is None or ending.state != "ok":
            break
        try:
            done.append(Done(plan.objective.values(ending.value), ending.doubt))
        except ValueError:
            break
    return done


def send_late_reports(ledger: Ledger, number: int, folder: Path) -> None:
    """Send the reports that a job could not send during an outage. What the study refuses is printed."""
    calls = unsent(folder)
    if calls and not ledger.trial(number).state.is_finished():
        trial = open_trial(ledger.storage, ledger.study.study_name, number)
        for call, *arguments in calls:
            try:
                getattr(trial, call)(*arguments)
            except ValueError as error:
                print(f"trial {number}: the study refuses {call}{tuple(arguments)}: {error}", file=sys.stderr)
    (folder / UNSENT_FILE).unlink(missing_ok=True)
