"""What surrounds a training run: the trainer's optional companions, none of which changes what is learned."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from contrastive_learning.data.disturbed import Disturbed
from contrastive_learning.judging import Judge, LinearJudge
from contrastive_learning.metrics.evaluation import Evaluation

Metrics = dict[str, float]
Loader = Iterable[Mapping[str, Tensor]]


def _ignore(*event: object) -> None:
    pass


class TrainingPaused(Exception):  # noqa: N818  nothing is wrong
    """Raised by `on_report` to end `fit` with a checkpoint, from which it continues with the next batch."""


class Report(NamedTuple):
    """An evaluation of the validation set within an epoch."""

    metrics: Metrics  # val/…
    number: int  # of all reports of the run, those at the ends of epochs among them, from 1
    epoch: int  # the one that it is in, from 1
    step: int  # optimizer steps of that epoch that are done
    num_steps: int  # of an epoch


class Hooks(NamedTuple):
    """Whom the trainer tells what happens, in each process. An exception that a hook raises ends `fit`.

    `on_evaluation` is called in a thread of its own, beside `log` and, on a GPU, beside the next epoch. It is done
    before the checkpoint of its epoch is written and before the next evaluation is told.
    """

    on_step: Callable[[int, int, Metrics], None] = _ignore  # batch (from 1), batches per epoch, {"total_loss": ...}
    on_evaluation: Callable[[Mapping[str, Evaluation], Metrics, int], None] = _ignore  # by prefix, metrics, epoch
    log: Callable[[Metrics, int], None] = _ignore  # metrics, epoch; epoch 0 = before training
    on_begun: Callable[[], None] = _ignore  # after the first optimizer step; takes no time from the epoch's speed
    on_report: Callable[[Report], None] = _ignore  # within an epoch, every `report_every` steps
    on_saved: Callable[[int], None] = _ignore  # epoch; if `fit` ends here, it is once the checkpoint of that is written

    def also(
        self,
        on_step: Callable[[int, int, Metrics], None],
        log: Callable[[Metrics, int], None],
        on_report: Callable[[Report], None],
    ) -> "Hooks":
        """These hooks, and three more that are called before them."""
        return self._replace(
            on_step=_both(on_step, self.on_step), log=_both(log, self.log), on_report=_both(on_report, self.on_report)
        )


def _both(first: Callable[..., None], second: Callable[..., None]) -> Callable[..., None]:
    def call(*event: object) -> None:
        first(*event)
        second(*event)

    return call


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What surrounds a training run: names of the criteria, further sets to evaluate, a folder, hooks."""

    criteria: Sequence[str] | None = None  # None = criterion_0, criterion_1, ...
    held_out: Mapping[str, Loader] = field(default_factory=dict)  # metric prefix -> loader, evaluated beside `val`
    disturbed: Callable[[], Mapping[str, Disturbed]] = dict  # metric prefix -> for its steadiness; made when needed
    checkpoint_dir: Path | None = None  # None = no checkpoints; the best weights are kept in memory
    hooks: Hooks = field(default_factory=Hooks)
    judge: Judge = field(default_factory=LinearJudge)  # of the evaluation after training; epochs use the head
    training: Loader | None = None  # what the judge reads of the training responses; None = the training loader
