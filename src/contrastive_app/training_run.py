"""One training run: prepared, trained, recorded, told.

Imported once a run begins, so that --help, --cfg job and mistyped overrides answer without torch.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from math import inf
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from contrastive_app.checks import check_places, check_same_data
from contrastive_app.launched import is_follower
from contrastive_app.parts import (
    Objective,
    build_parts,
    build_pictures,
    build_trainer,
    load_data,
    objective_names,
    objectives_of,
    training_set,
    view_cutoff,
)
from contrastive_app.record import (
    LOG_FILE,
    METRICS_TABLE,
    describe_run,
    how_to_look,
    open_run,
    record_embeddings,
    record_judge,
    record_review,
    record_start,
    record_stuck,
    record_training_embeddings,
    write_metrics,
)
from contrastive_app.resume import is_continued, output_folder
from contrastive_app.secrets import append
from contrastive_learning.data.outline import outline
from contrastive_learning.metrics.evaluation import FEW_JUDGED, Evaluation
from contrastive_learning.runtime.devices import join_processes, leave_processes
from contrastive_learning.runtime.interrupts import HeldSignals
from contrastive_learning.runtime.processes import broadcast_from_main
from contrastive_learning.tracking import MetricsTable, Run
from contrastive_learning.training import Hooks, Report, TrainingPaused
from contrastive_learning.training.checkpoints import use_whole_checkpoint
from contrastive_learning.training.comparison import comparison_remark
from contrastive_learning.training.diagnostics import (
    anchor_report,
    is_stuck,
    remarks,
    remedy_for_stuck,
    steps_report,
    stuck_remark,
    views_report,
    warm_up_report,
)
from contrastive_learning.training.progress import TrainingProgress, results_table
from hydra_plugins.contrastive_sweeper.trial import ConfigurationError, TrialPruned, current_trial


class RecordedRun(NamedTuple):
    """What a training run has come to."""

    objective: Objective  # at the best epoch or, if the trial is pruned, at its last
    location: str  # of its record
    output: Path
    run_id: str | None = None
    model: str | None = None  # its address, if it is recorded


class Result(NamedTuple):
    """What the trainer ends with."""

    metrics: dict[str, float]
    evaluations: dict[str, Evaluation]
    epoch: int  # the best
    objectives: tuple[float, ...]

    @property
    def objective(self) -> Objective:
        return self.objectives[0] if len(self.objectives) == 1 else self.objectives


class TrainingRun:
    """What `config` describes, from the checks to the last line on the terminal; `run` does it, once."""

    def __init__(self, config: DictConfig) -> None:
        """Check, load the data, build the trainer. Nothing is recorded yet, however this ends."""
        self._config, self._trial = config, current_trial()
        self._parts = build_parts(config)
        settings = self._parts.settings
        join_processes(settings.device)
        self._names = objective_names(config)
        self._output = output_folder(config, self._trial)
        check_places(self._parts.tracking, settings, self._output)
        self._parts.recipe.encoder.check(config.data.max_length)
        self._is_continued = is_continued(config, self._output, self._trial)
        damage = self._check_what_is_continued() if self._is_continued else None
        self._data = load_data(config, self._parts)
        training = training_set(config, self._parts, self._data)
        keep = None if is_follower() else partial(append, self._output / LOG_FILE)
        self._progress = TrainingProgress(settings.epochs, settings.monitor, quiet=is_follower(), log=keep)
        self._say(
            *outline(self._data),
            *self._data.remarks,
            *training.remarks,
            *anchor_report(self._parts.loss, training.batches, self._data.criteria, views=settings.views),
            *warm_up_report(settings),
            *([] if damage is None else [damage]),
        )
        self._pictures = build_pictures(self._parts, self._data, self._output, self._names[0])
        hooks = Hooks(
            self._progress.on_step,
            log=self._log,
            on_begun=self._catch_up,
            on_report=self._on_report,
            on_saved=self._pause,
        )
        if not is_follower():
            hooks = hooks._replace(on_evaluation=self._picture)
        self._trainer = build_trainer(config, self._parts, self._data, training, self._output, hooks)
        self._logged: set[str] = set()  # the metrics of the epochs
        self._later: list[Callable[[], None]] = []  # what the first step need not wait for
        self._pauses, self._place = False, "epoch 0"
        self._remedy = remedy_for_stuck(self._trainer.steps_per_epoch * settings.epochs, config.optimizer.lr)

    def run(self) -> RecordedRun:
        """Train, record and tell."""
        trainer = self._trainer
        model = trainer.accelerator.unwrap_model(trainer.model)
        self._say(
            ", ".join(
                [
                    f"device {trainer.device}",
                    f"precision {trainer.precision}",
                    *(["no padding"] if model.padding_free else []),
                    *(["compiled"] if trainer.compiled else []),
                    *(["CUDA graphs"] if model.in_graphs else []),
                ]
            ),
            *steps_report(trainer.steps_per_epoch, self._parts.settings, self._config.optimizer.lr),
            *([] if trainer.padded_because is None else [f"batches are padded: {trainer.padded_because}"]),
            *views_report(self._parts.settings.views, model.encoder, cutoff=view_cutoff(self._config)),
        )
        if self._is_continued:
            trainer.resume(self._output / "checkpoints")
            self._progress.epoch = trainer.epoch
        else:
            self._check_metrics()
        epochs_done = trainer.epoch if self._is_continued else None
        self._table = MetricsTable(self._output / METRICS_TABLE, self._data.criteria, epochs_done=epochs_done)
        opened = open_run(self._config, self._parts.tracking, self._output, self._trial, self._data)
        with opened as run, self._progress:
            self._run = run
            if not self._is_continued:
                self._later.append(partial(record_start, run, self._config, self._data, trainer))
            try:
                result = self._fit()
            finally:
                self._catch_up()  # a run that fails in its first step is recorded, too
            leave_processes()
            if is_follower() or self._pauses:
                return RecordedRun(result.objective, run.location(), self._output)
            self._record(run, result)
            self._record_pictures(run, result)
            model = self._record_judge(run, result)
            run.artifact(self._output / LOG_FILE)
        trainer.discard_checkpoints()
        self._say_results(run, result, model)
        return RecordedRun(result.objective, run.location(), self._output, run.run_id, model)

    def _check_what_is_continued(self) -> str | None:
        """What is wrong with the last checkpoint if an earlier one is used. Raises ValueError if the data changed."""
        check_same_data(self._output, self._parts.source.fingerprint())
        damage = None if is_follower() else use_whole_checkpoint(self._output / "checkpoints")
        return broadcast_from_main(damage)

    def _check_metrics(self) -> None:
        """Raises ConfigurationError if a metric is misspelt: before anything is recorded, at a sweep's first trial."""
        try:
            objectives_of(self._trainer.evaluate_start(), self._names)
        except ValueError as error:
            raise ConfigurationError(str(error)) from error

    def _fit(self) -> Result:
        with HeldSignals() if is_follower() else nullcontext():  # the main process decides when to stop
            try:
                self._trainer.fit()
            except (TrialPruned, TrainingPaused):
                self._say(f"{'paused' if self._pauses else 'pruned'} after {self._place}")
            metrics, evaluations, epoch = self._trainer.result()
        return Result(metrics, evaluations, epoch, objectives_of(metrics, self._names))

    # the trainer calls these five within `fit`, `_picture` in a thread of its own: before the epoch's checkpoint

    def _picture(self, evaluations: Mapping[str, Evaluation], metrics: Mapping[str, float], epoch: int) -> None:
        if epoch == 0:
            self._later.append(partial(self._draw, evaluations["val"], metrics, epoch))
        else:
            self._draw(evaluations["val"], metrics, epoch)

    def _catch_up(self) -> None:
        """Do what has waited for the first step; a run that is interrupted before that repeats it."""
        while self._later:
            self._later.pop(0)()

    def _draw(self, valid: Evaluation, metrics: Mapping[str, float], epoch: int) -> None:
        png = self._pictures.at_epoch(valid, epoch, objectives_of(metrics, self._names)[0])
        self._run.image(png, "val/embedding", epoch)

    def _log(self, metrics: dict[str, float], epoch: int) -> None:
        if not is_follower():
            self._table.add(metrics, epoch)
        self._run.log(self._parts.tracking.chosen(metrics, self._names), epoch)
        self._logged.update(metrics)
        self._progress.on_epoch(metrics, epoch)
        parts = self._parts
        self._progress.remark_once(
            remarks(
                metrics,
                self._data.criteria,
                parts.settings,
                epoch,
                projection=parts.loss.projection,
                remedy=self._remedy,
            )
        )
        if epoch > 0:
            self._place = f"epoch {epoch}"
            self._report(metrics[self._names[0]], epoch * self._trainer.reports_per_epoch)

    def _on_report(self, report: Report) -> None:
        self._progress.on_report(report)
        self._place = f"step {report.step} of epoch {report.epoch}"
        self._report(report.metrics[self._names[0]], report.number)
        if self._pauses:
            raise TrainingPaused

    def _pause(self, epoch: int) -> None:
        """Leave the trial PAUSED, now that there is a checkpoint from which it can continue."""
        if self._pauses:
            raise TrialPruned

    def _report(self, value: float, number: int) -> None:
        """Report a value to the study, which only rank 0 talks to. Raises TrialPruned in all processes if it prunes.

        After the last epoch there is nothing to save by that. number: of the report; without reports within epochs,
        of the epoch.
        """
        trial, per_epoch = self._trial, self._trainer.reports_per_epoch
        if per_epoch > 1:
            self._run.log({f"report/{self._names[0]}": value}, number)
        if not is_follower():
            trial.report(value, number)
            if number < self._parts.settings.epochs * per_epoch:
                trial.should_prune()
        pruned, self._pauses = broadcast_from_main((trial.pruned, trial.paused))
        if pruned:
            raise TrialPruned

    def _record(self, run: Run, result: Result) -> None:
        """Record metrics and note."""
        trainer, metrics = self._trainer, result.metrics
        write_metrics(self._output, metrics, result.epoch, trainer.epoch)
        remedies = []
        if is_stuck(metrics, self._parts.settings, trainer.epoch):
            record_stuck(run, self._trial)
            remedies.append(stuck_remark(metrics, self._remedy))
        reached = dict(zip(self._names, result.objectives, strict=True))
        describe_run(
            run, reached, metrics, self._data.criteria, result.evaluations, epoch=result.epoch, remarks=remedies
        )
        self._table.add(metrics, result.epoch, final=True)
        run.artifact(self._table.file)
        # those of the epochs are the classification head's
        logged = self._logged if trainer.judge is None else frozenset[str]()
        others = {name: value for name, value in metrics.items() if name not in logged}
        run.log(self._parts.tracking.chosen(others, self._names), trainer.epoch)

    def _record_pictures(self, run: Run, result: Result) -> None:
        """Record embeddings and maps."""
        criterion = self._pictures.criterion_at_end(result.metrics, self._parts.loss.projection)
        mapped = self._data.criteria.index(criterion)
        record_embeddings(run, self._output, self._data.splits, result.evaluations, mapped)
        if (judge := self._trainer.judge) is not None:
            record_training_embeddings(run, self._output, self._data.splits["train"], judge, mapped)
        maps = self._pictures.at_end(result.evaluations["val"], result.epoch, result.objectives[0], criterion)
        for path, folder in maps:
            run.artifact(path, folder)

    def _record_judge(self, run: Run, result: Result) -> str | None:
        """Record the objective and the judge, unless the trial is pruned. Returns the judge's address."""
        model = None
        if not self._trial.pruned:
            final = {f"final/{name}": value for name, value in zip(self._names, result.objectives, strict=True)}
            run.log(final, self._trainer.epoch)
            held_out = result.evaluations["val"]
            self._tell_interval(held_out)
            model = record_judge(run, self._config, self._output, self._data, self._trainer, held_out)
            record_review(run, self._output)
        if self._trial.number is None:  # of a sweep, only the best
            model = run.register() or model
        return model

    def _tell_interval(self, valid: Evaluation) -> None:
        """Tell the sweep how far its objective, if that is an F1 on valid, would move with other responses."""
        if self._trial.number is not None and self._names[0].startswith("val/"):
            found = valid.f1_intervals(self._data.criteria, valid, fewer_than=inf)
            if (interval := found.get(self._names[0].removeprefix("val/"))) is not None:
                self._trial.set_interval(*interval)

    def _say(self, *lines: str) -> None:
        for line in lines:
            self._progress.remark(line)

    def _say_results(self, run: Run, result: Result, model: str | None) -> None:
        heading = f"Best epoch {result.epoch} of {self._trainer.epoch}"
        criteria, valid = self._data.criteria, result.evaluations["val"]
        intervals = {
            f"{prefix}/{name}": interval
            for prefix, evaluation in result.evaluations.items()
            for name, interval in evaluation.f1_intervals(criteria, valid).items()
        }
        table = results_table(result.metrics, criteria, result.evaluations, heading=heading, intervals=intervals)
        self._progress.results(table)
        if intervals:
            self._say(f"95 %: had other responses been drawn, for criteria with fewer than {FEW_JUDGED} judged ones")
        if self._trainer.judge is not None:
            self._say(comparison_remark(result.metrics))
        self._say(f"Recorded: {run.location()}")
        if model is not None:
            self._say(f"Model:    {model}")
        self._say(f"Output:   {self._output}")
        if self._trial.number is None and (viewer := how_to_look(self._config)) is not None:
            self._say(f"Next:     {viewer}")
