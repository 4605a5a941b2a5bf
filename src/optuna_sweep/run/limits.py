"""When a sweep ends before its last trial."""

import time
from dataclasses import dataclass, field

from optuna_sweep.settings import OptunaSweeperConf
from optuna_sweep.study.ledger import Ledger, is_better


@dataclass
class Limits:
    settings: OptunaSweeperConf
    window: int  # trials over which max_failure_rate is taken: as many as run at a time
    started: float = field(default_factory=time.monotonic)
    first_error: str | None = None
    broken: str | None = None  # the failure limit that was passed
    _outcomes: list[bool] = field(default_factory=list)  # of this command's trials: failed?

    def count(self, *, failed: bool, reason: str) -> None:
        self._outcomes.append(failed)
        if failed and self.first_error is None:
            self.first_error = reason
        self.broken = self.broken or self._broken()

    def refuse(self, reason: str) -> None:
        """No other trial can do better."""
        self.first_error = self.first_error or reason
        self.broken = self.broken or "the configuration is wrong"

    def stops(self, ledger: Ledger) -> str | None:
        """Why no further trial may start."""
        settings = self.settings
        if self.broken is not None:
            return self.broken
        if settings.timeout is not None and time.monotonic() - self.started >= settings.timeout:
            return f"timeout={settings.timeout:g} s"
        if settings.target is None and settings.patience is None:
            return None
        best = ledger.best()
        if best is None:
            return None
        if settings.target is not None and is_better(best.values[0], settings.target, ledger.directions[0]):
            return f"target={settings.target:g} reached"
        if settings.patience is not None and ledger.since_best() >= settings.patience:
            return f"patience={settings.patience}: as many trials without a better one"
        return None

    def _broken(self) -> str | None:
        settings, failures = self.settings, sum(self._outcomes)
        last = self._outcomes[-(settings.max_consecutive_failures or 1) :]
        if settings.max_failures is not None and failures >= settings.max_failures:
            return f"{failures} trials failed (max_failures={settings.max_failures})"
        if len(last) == settings.max_consecutive_failures and all(last):
            return f"{len(last)} trials in a row failed (max_consecutive_failures={len(last)})"
        batch = self._outcomes[-self.window :]
        if len(self._outcomes) % self.window == 0 and sum(batch) / self.window > settings.max_failure_rate:
            return f"{sum(batch)} of {self.window} trials failed (max_failure_rate={settings.max_failure_rate:g})"
        return None
