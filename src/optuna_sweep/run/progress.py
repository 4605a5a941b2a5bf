"""What a person sees during the search: a live table on a terminal, elsewhere one line per finished trial."""

import sys
import time
from collections.abc import Sequence
from typing import Self

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.live import Live
from rich.table import Table

from optuna_sweep.plan.plan import Plan
from optuna_sweep.plan.preview import num_to_confirm
from optuna_sweep.readable import compact
from optuna_sweep.run.prospects import interval_of, seconds_left, seconds_of_run
from optuna_sweep.states import paused_at
from optuna_sweep.study.ledger import DONE, Ledger
from optuna_sweep.study.promotion import curves_of

RECENT = 8  # finished trials in the live table


class Progress:
    """Prints to stderr. live: whether the trials of a batch end one by one, so that a live table is worth it."""

    def __init__(self, plan: Plan, num_slots: int, *, live: bool) -> None:
        self.console = Console(file=sys.stderr)
        self._plan, self.num_slots = plan, num_slots
        self._started = time.monotonic()
        self.num_finished = 0  # by this command
        on_terminal = live and self.console.is_terminal
        self._live = Live(console=self.console, auto_refresh=False) if on_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def update(self, ledger: Ledger, running: Sequence[int]) -> None:
        if self._live is not None:
            self._live.update(self._table(ledger, running), refresh=True)

    def finished(self, ledger: Ledger, trial: FrozenTrial) -> None:
        """Tell the end of a trial, or that it pauses."""
        self.num_finished += trial.state.is_finished()
        if self._live is not None:
            return
        label = self._plan.label(trial.number, trial.params)
        name = f"trial {label}" if self._plan.named is None else label
        parts = [name, self._outcome(trial), self._seconds(trial)]
        self.say("  ".join(filter(None, [*parts, self.state(ledger)])))

    def state(self, ledger: Ledger) -> str:
        """How far the search is, in a line."""
        return "  ".join(filter(None, [self._best(ledger), self._count(ledger)]))

    def _outcome(self, trial: FrozenTrial) -> str:
        if trial.state == TrialState.FAIL:
            return f"FAIL {trial.user_attrs.get('reason', '')}".splitlines()[0]
        if paused_at(trial) is not None:
            value = trial.intermediate_values[trial.last_step or 0]
            return f"{_state(trial)} {self._plan.metrics[0]} {value:.4g} after {self._plan.step_name} {trial.last_step}"
        values = _numbers(trial.values) if trial.values else "-"
        outcome = f"{trial.state.name} {', '.join(self._plan.metrics)} {values}"
        return outcome + (f" as {trial.user_attrs['reused_from']}" if "reused_from" in trial.user_attrs else "")

    def _seconds(self, trial: FrozenTrial) -> str:
        return f"{trial.user_attrs['seconds']:.1f} s" if "seconds" in trial.user_attrs else ""

    def _best(self, ledger: Ledger) -> str:
        best = ledger.best()
        if best is None or len(best.values) > 1 or self._plan.named is not None:  # of a confirm stage, means decide
            return ""
        interval = interval_of(best, ledger.trials)
        within = "" if interval is None else " [{:.4g}, {:.4g}]".format(*interval)
        return f"best {_numbers(best.values)}{within} ({best.number:03d})"

    def _count(self, ledger: Ledger) -> str:
        trials, done = ledger.trials, ledger.count(*DONE)
        parts = [f"{done}/{self._plan.num_trials}"]
        if paused := sum(paused_at(trial) is not None for trial in trials):
            parts.append(f"{paused} paused")
        if self._plan.promotion is not None:
            rungs = self._plan.promotion.rungs.num_at_rungs(curves_of(trials, ledger.study.direction))
            parts += [f"rungs {' '.join(map(str, rungs))}"] if rungs else []
        if done < self._plan.num_trials or paused:
            parts += filter(None, [self._left(trials, self._plan.num_trials - done)])
        return ", ".join(parts)

    def _left(self, trials: Sequence[FrozenTrial], num_left: int) -> str:
        """How long the rest of the search takes, and what comes then."""
        if self._plan.promotion is not None:
            found = seconds_left(self._plan, trials, self.num_slots)
        elif self.num_finished:
            found = (time.monotonic() - self._started) / self.num_finished * num_left, False
        else:
            found = None
        if found is None:
            return ""
        seconds, at_least = found
        confirm = num_to_confirm(self._plan)
        of_run = seconds_of_run(trials) if confirm else None
        takes = "" if of_run is None else f" in {_duration(confirm * of_run / self.num_slots)}"
        then = f", then {confirm} runs to confirm{takes}" if confirm else ""
        return f"{'at least' if at_least else 'about'} {_duration(seconds)} left{then}"

    def _table(self, ledger: Ledger, running: Sequence[int]) -> Table:
        trials = ledger.trials
        names = list(dict.fromkeys(name for trial in trials for name in trial.params))
        title = f"{self._plan.study_name}  {self.state(ledger)}"
        table = Table(title=title, title_justify="left")
        for heading in ("trial", *map(self._plan.short, names), self._plan.step_name, self._plan.metrics[0], "state"):
            table.add_column(heading, justify="right")
        finished = [trial for trial in trials if trial.state.is_finished()][-RECENT:]
        paused = [trial for trial in trials if paused_at(trial) is not None]
        for trial in (*finished, *paused, *(trials[number] for number in running)):
            step = trial.last_step
            value = trial.values[0] if trial.values else trial.intermediate_values.get(step if step is not None else -1)
            cells = [compact(trial.params.get(name, "-")) for name in names]
            shown = "-" if value is None else f"{value:.4f}"
            table.add_row(f"{trial.number:03d}", *cells, "-" if step is None else str(step), shown, _state(trial))
        return table


def _state(trial: FrozenTrial) -> str:
    rung = paused_at(trial)
    return trial.state.name if rung is None else f"PAUSED at rung {rung}"


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
