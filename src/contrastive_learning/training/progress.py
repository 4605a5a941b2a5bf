"""What a person sees while training: a live bar in a terminal, otherwise one plain line per epoch."""

import io
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from contrastive_learning.metrics.table import METRICS
from contrastive_learning.training.context import Report
from contrastive_learning.training.steadiness import FLIPS

Metrics = Mapping[str, float]
PLAIN_WIDTH = 120  # columns of a table in the log, at most
BELOW_ZERO = "brier has the noise of single votes taken out, so that chance can put it below 0"


class TrainingProgress:
    """Prints to stderr. Call `on_step` and `on_epoch` from the trainer's hooks; use it as a context manager.

    log: gets what is printed as plain text, but not the bar.
    """

    def __init__(
        self,
        epochs: int,
        monitor: str,
        *,
        first_epoch: int = 0,
        quiet: bool = False,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self.console = Console(file=sys.stderr, quiet=quiet)
        self._log, self._plain = log, Console(file=io.StringIO(), width=PLAIN_WIDTH, force_terminal=False)
        self.epochs, self.monitor = epochs, monitor
        self.epoch = first_epoch
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=None, note="")
        self._loss = float("nan")
        self._value = float("nan")
        self._shown_kinds: set[str] = set()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def remark_once(self, lines: Mapping[str, str]) -> None:
        """Show each line whose kind has not been shown yet. lines: kind -> line."""
        for kind, line in lines.items():
            if kind not in self._shown_kinds:
                self.remark(line)
        self._shown_kinds |= lines.keys()

    def remark(self, line: str) -> None:
        self._say(line, style="yellow" * line.startswith("warning"))

    def results(self, table: Table) -> None:
        self.console.print(table)
        self._write(table)

    def _say(self, line: str, style: str = "") -> None:
        self._bar.console.print(line, highlight=False, soft_wrap=True, style=style)
        self._write(line)

    def _write(self, printed: str | Table) -> None:
        if self._log is None:
            return
        with self._plain.capture() as captured:
            self._plain.print(printed, highlight=False, soft_wrap=isinstance(printed, str))
        self._log(captured.get())

    def on_step(self, step: int, num_steps: int, losses: Metrics) -> None:
        self._loss = losses["total_loss"]
        self._bar.update(
            self._task,
            total=num_steps * self.epochs,
            completed=num_steps * self.epoch + step,
            description=f"epoch {self.epoch + 1}/{self.epochs}",
            note=f"loss {self._loss:.3f}  {self.monitor} {self._value:.3f}",
        )

    def on_epoch(self, metrics: Metrics, epoch: int) -> None:
        self.epoch = epoch
        self._value = metrics[self.monitor]
        losses = "  ".join(
            f"{name} {metrics[f'train/{name}_loss']:.4f}"
            for name in ("total", "bce", "contrastive", "instance", "consistency")
            if f"train/{name}_loss" in metrics
        )
        seconds = f"  {metrics['train/epoch_seconds']:.1f} s" if "train/epoch_seconds" in metrics else ""
        name = f"epoch {epoch}/{self.epochs}" if epoch else "before training"
        self._say(f"{name}  {losses}  {self.monitor} {self._value:.4f}{seconds}")

    def on_report(self, report: Report) -> None:
        self._value = report.metrics[self.monitor]
        place = f"epoch {report.epoch}/{self.epochs}, step {report.step}/{report.num_steps}"
        self._say(f"{place}  {self.monitor} {self._value:.4f}")


def results_table(
    metrics: Metrics,
    criteria: Sequence[str],
    splits: Iterable[str],
    *,
    heading: str,
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> Table:
    """A table with one row per criterion: F1 and AUROC of each split; then their means and further metrics.

    heading: of what; the title, on one line however narrow the table is, adds what the cells are. intervals: of those
    metrics of F1 that have one; they are shown below.
    """
    splits, intervals = list(splits), intervals or {}
    title = Text(f"{heading}, per criterion: mean F1 of yes and no / AUROC", no_wrap=True, overflow="ignore")
    table = Table(title=title, title_justify="left")
    table.add_column("criterion")
    for split in splits:
        table.add_column(split, justify="right")
    for criterion in criteria:
        keys = [(f"{split}/f1/{criterion}", f"{split}/auroc/{criterion}") for split in splits]
        table.add_row(criterion, *(_cell(metrics, *pair) for pair in keys))
        _add_intervals(table, intervals, [f1 for f1, _ in keys])
    table.add_section()
    table.add_row("mean", *(_cell(metrics, f"{split}/macro_f1", f"{split}/auroc") for split in splits), style="bold")
    _add_intervals(table, intervals, [f"{split}/macro_f1" for split in splits])
    shown = [metric.summary for metric in METRICS if metric.in_results]
    if any(f"{split}/{FLIPS}" in metrics for split in splits):
        shown.append(FLIPS)
    for name in shown:
        table.add_row(name, *(_cell(metrics, f"{split}/{name}") for split in splits))
    if any(metrics.get(f"{split}/brier", 0) < 0 for split in splits):
        table.caption, table.caption_justify = BELOW_ZERO, "left"
    return table


def _add_intervals(table: Table, intervals: Mapping[str, tuple[float, float]], names: Sequence[str]) -> None:
    """A row below those of the metrics `names`, one per split, if one of them has an interval."""
    if any(name in intervals for name in names):
        cells = ("{:.3f}-{:.3f}".format(*intervals[name]) if name in intervals else "" for name in names)
        table.add_row("  95 % of F1", *cells, style="dim")


def _cell(metrics: Metrics, *names: str) -> str:
    return " / ".join(f"{metrics[name]:.3f}" if name in metrics else "-" for name in names)
