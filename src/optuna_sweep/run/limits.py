"""The limits at which a sweep ends before its last trial."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial

from optuna_sweep.settings import OptunaSweeperConf
from optuna_sweep.study.ledger import Ledger, is_as_good


@dataclass
class Limits:
    """Counts this command's trials, and says when no further one may start.

    >>> limits = Limits(OptunaSweeperConf(max_consecutive_failures=2), window=1)
    >>> limits.count(failed=True, reason="trial 0: out of memory")
    >>> limits.count(failed=True, reason="trial 1: out of memory")
    >>> limits.broken
    '2 trials in a row failed (max_consecutive_failures=2)'
    """

    settings: OptunaSweeperConf
    window: int  # number of trials over which max_failure_rate is taken: as many as run at a time
    answered: Callable[[Sequence[FrozenTrial]], str | None] = lambda trials: None  # of the plan
    started: float = field(default_factory=time.monotonic)
    first_error: str | None = None
    broken: str | None = None  # the failure limit that was reached
    _failed: list[bool] = field(default_factory=list)  # whether each trial of this command failed

    def count(self, *, failed: bool, reason: str) -> None:
        """A trial of this command has ended. reason: of a failure."""
        self._failed.append(failed)
        if failed and self.first_error is None:
            self.first_error = reason
        self.broken = self.broken or self._broken()

    def stop_as_misconfigured(self, reason: str) -> None:
        """The configuration itself is wrong, so every further trial would fail, too."""
        self.first_error = self.first_error or reason
        self.broken = self.broken or "the configuration is wrong"

    def reason_to_stop(self, ledger: Ledger) -> str | None:
        """Why no further trial may start; None if one may."""
        settings = self.settings
        if self.broken is not None:
            return self.broken
        if settings.timeout is not None and time.monotonic() - self.started >= settings.timeout:
            return f"timeout={settings.timeout:g} s"
        if (answer := self.answered(ledger.trials)) is not None:
            return answer
        if settings.target is None and settings.patience is None:
            return None
        best = ledger.best()
        if best is None:
            return None
        if settings.target is not None and is_as_good(best.values[0], settings.target, ledger.directions[0]):
            return f"target={settings.target:g} reached"
        if settings.patience is not None and ledger.since_best() >= settings.patience:
            return f"patience={settings.patience}: as many trials without a better one"
        return None

    def _broken(self) -> str | None:
        settings, failures = self.settings, sum(self._failed)
        last = self._failed[-(settings.max_consecutive_failures or 1) :]
        if settings.max_failures is not None and failures >= settings.max_failures:
            return f"{failures} trials failed (max_failures={settings.max_failures})"
        if len(last) == settings.max_consecutive_failures and all(last):
            return f"{len(last)} trials in a row failed (max_consecutive_failures={len(last)})"
        batch = self._failed[-self.window :]
        if len(self._failed) % self.window == 0 and sum(batch) / self.window > settings.max_failure_rate:
            return f"{sum(batch)} of {self.window} trials failed (max_failure_rate={settings.max_failure_rate:g})"
        return None
