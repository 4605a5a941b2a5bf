"""What a run needs from its record, whatever keeps that record; and the tracking that keeps none."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self


class Run(Protocol):
    """An open run; a context manager that closes it with the status it deserves."""

    run_id: str | None

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def params(self, params: Mapping[str, Any]) -> None: ...

    def data(self, name: str, context: str, *, fingerprint: str, source: str, num_responses: int) -> None:
        """Record a split as an input of the run. context: "training" or "validation"."""
        ...

    def log(self, metrics: Mapping[str, float], step: int) -> None: ...

    def tags(self, tags: Mapping[str, str]) -> None: ...

    def text(self, text: str, name: str) -> None:
        """Record `text` as the file `name`."""
        ...

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Record the file `path`, in `folder` of the run's files."""
        ...

    def image(self, png: bytes, key: str, step: int) -> None:
        """Record one picture of the series `key`, which MLflow shows with a slider over the steps."""
        ...

    def model(self, judge: Path, criteria: Sequence[str]) -> str | None:
        """Record the folder that `export_judge` wrote as a model to serve. Returns its address, None if not."""
        ...

    def register(self) -> str | None:
        """Make the recorded model the champion of its registered name. Returns its address, None if not."""
        ...

    def location(self) -> str:
        """A text that tells a person where to find the run."""
        ...


class Tracker(Protocol):
    """What every `tracking` config builds: it opens runs."""

    def check(self, resume_run_id: str | None = None) -> None:
        """Raise ValueError with what to do if `open` could not open a run now, or the run `resume_run_id` again."""
        ...

    def find(self, tags: Mapping[str, str]) -> str | None:
        """The id of the last run with these tags; None if there is none."""
        ...

    def open(self, name: str | None, tags: Mapping[str, str], *, folder: Path, resume_run_id: str | None = None) -> Run:
        """Create a run, or set the run `resume_run_id` back to running, as `folder`'s run.

        Calls that the store cannot take yet are kept in a file in `folder` until it can.
        """
        ...

    def chosen(self, metrics: Mapping[str, float], always: Collection[str]) -> dict[str, float]:
        """The metrics to log, by name, those of `always` first; the others are only in the run's table."""
        ...

    def register(self, run_id: str) -> str | None:
        """Make the model of an ended run the champion of its registered name. Returns its address, None if not."""
        ...


class NoRun:
    """Takes every call and records nothing."""

    run_id: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def params(self, params: Mapping[str, Any]) -> None:
        return None

    def data(self, name: str, context: str, *, fingerprint: str, source: str, num_responses: int) -> None:
        return None

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        return None

    def tags(self, tags: Mapping[str, str]) -> None:
        return None

    def text(self, text: str, name: str) -> None:
        return None

    def artifact(self, path: Path, folder: str | None = None) -> None:
        return None

    def image(self, png: bytes, key: str, step: int) -> None:
        return None

    def model(self, judge: Path, criteria: Sequence[str]) -> str | None:
        return None

    def register(self) -> str | None:
        return None

    def location(self) -> str:
        return "nowhere (tracking=none)"


class NoTracking:
    """Opens runs that record nothing; for trying things out."""

    def check(self, resume_run_id: str | None = None) -> None:
        return None

    def find(self, tags: Mapping[str, str]) -> str | None:
        return None

    def open(
        self, name: str | None, tags: Mapping[str, str], *, folder: Path, resume_run_id: str | None = None
    ) -> NoRun:
        return NoRun()

    def chosen(self, metrics: Mapping[str, float], always: Collection[str]) -> dict[str, float]:
        return {}

    def register(self, run_id: str) -> str | None:
        return None
