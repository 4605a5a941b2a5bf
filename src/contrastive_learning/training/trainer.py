"""The training loop. One step of it is in step.py."""

from __future__ import annotations  # help() shows the types as they are written here, not their long paths

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from contrastive_learning.data.cutoff import Cutoff, check_share
from contrastive_learning.judging import MixedJudge
from contrastive_learning.losses import JointLoss, NotFiniteError
from contrastive_learning.metrics.evaluation import Evaluation, predict
from contrastive_learning.model.model import ContrastiveQualityModel
from contrastive_learning.runtime.devices import random_state, set_random_state
from contrastive_learning.runtime.interrupts import HeldSignals
from contrastive_learning.runtime.processes import num_processes, rank
from contrastive_learning.samplers.sharding import ShardedBatches, sharded
from contrastive_learning.samplers.unjudged import judged_only
from contrastive_learning.training import optimizers, plain_config
from contrastive_learning.training.checkpoints import delete_checkpoints
from contrastive_learning.training.context import Loader, Metrics, Report, RunContext, TrainingPaused
from contrastive_learning.training.diagnostics import EpochStatistics
from contrastive_learning.training.epoch import NUM_SUMS, RunningEpoch
from contrastive_learning.training.evaluator import Evaluator, check_monitor
from contrastive_learning.training.keeper import Keeper
from contrastive_learning.training.prepared import prepared
from contrastive_learning.training.progress import TrainingProgress
from contrastive_learning.training.settings import TrainerSettings
from contrastive_learning.training.state import TrainingState
from contrastive_learning.training.step import BatchResult, TrainingStep


class ContrastiveTrainer:
    """Trains a ContrastiveQualityModel on BCE + lambda_contrastive x contrastive.

    The loaders are iterables of dicts with `input_ids`, `attention_mask` [batch, tokens] and either `labels`
    [batch, criteria] in 0..1 (and `num_votes`, if known) or `yes_votes` and `num_votes`. `settings` is a
    TrainerSettings, or a plain dict with any of `learning_rate`, `lambda_contrastive`, `batch_size`, `epochs`,
    `padding_free`; with TrainerSettings, `loss` and `optimizer`, which builds (optimizer, scheduler) from (model,
    num_steps), must be given. `context` names the criteria, adds sets to evaluate, and has the folder for checkpoints
    and the hooks. `cutoff` says which tokens the second of two views does not see; None = it sees all.

    Example:
        >>> import torch
        >>> from transformers import BertConfig, BertModel
        >>> from contrastive_learning import ContrastiveQualityModel, ContrastiveTrainer
        >>> encoder = BertModel(BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2))
        >>> model = ContrastiveQualityModel(num_labels=2, projection_dim=8, encoder=encoder)
        >>> input_ids = torch.randint(5, 50, (8, 6))
        >>> labels = torch.tensor([[0.0, 1.0], [1.0, 0.0]] * 4)
        >>> batch = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids), "labels": labels}
        >>> trainer = ContrastiveTrainer(model, [batch], [batch], "cpu", {"learning_rate": 1e-4, "epochs": 2})
        >>> sorted(name for name in trainer.train_epoch() if name.endswith("loss"))
        ['bce_loss', 'contrastive_loss', 'total_loss']
        >>> ["val/macro_f1" in epoch for epoch in trainer.fit()]  # the second of two epochs
        [True]
        >>> 0 <= trainer.evaluate()["macro_f1"] <= 1
        True
    """

    def __init__(
        self,
        model: ContrastiveQualityModel,
        train_loader: Loader,
        val_loader: Loader,
        device: str | torch.device,
        settings: TrainerSettings | Mapping[str, Any],
        *,
        loss: JointLoss | None = None,
        optimizer: Callable[..., optimizers.Schedule] | None = None,
        context: RunContext | None = None,
        cutoff: Cutoff | None = None,
    ) -> None:
        settings, loss, optimizer = plain_config.resolved(
            settings, loss, optimizer, temperature=model.temperature, train_loader=train_loader
        )
        self.settings, self.loss = settings, loss
        self.train_loader, self.val_loader = train_loader, val_loader
        self.context = context or RunContext()
        names = self.context.criteria
        self.criteria = _numbered(model) if names is None else tuple(names)
        loss.check_criteria(len(self.criteria))
        loss.check_views(settings.views)
        if cutoff is not None:
            check_share(cutoff.share, settings.views)
        self.steps_per_epoch = math.ceil(len(train_loader) / settings.accumulation_steps)  # type: ignore[arg-type]
        self.reports_per_epoch = settings.reports_per_epoch(self.steps_per_epoch)
        ready = prepared(
            model,
            settings,
            optimizer,
            device=str(device),
            num_steps=self.steps_per_epoch * settings.epochs,
            num_tokens=_num_tokens(train_loader, settings),
        )
        self.accelerator, self.device, self.precision = ready.accelerator, ready.accelerator.device, ready.precision
        self.model, self.optimizer, self.scheduler = ready.model, ready.optimizer, ready.scheduler
        self.padded_because, self.compiled, self._average = ready.padded_because, ready.compiled, ready.average
        self._judged_batches = judged_only(train_loader)  # type: ignore[arg-type]  # of all processes
        self._sampler: Any = getattr(train_loader, "batch_sampler", None)
        if num_processes() > 1 or hasattr(self._sampler, "set_epoch"):
            self.train_loader = sharded(train_loader)  # type: ignore[arg-type]
        self._state = TrainingState(self.accelerator, self.model, self.optimizer, self.scheduler, self._average)
        self._step = TrainingStep(ready, loss, settings, cutoff)
        self.epoch = 0  # epochs finished
        self.judge: MixedJudge | None = None  # of `evaluate_all`; None while it is the classification head by itself
        self._finished = False
        self._running: RunningEpoch | None = None  # not yet evaluated
        beside = self.device.type != "cpu"  # the next epoch; a CPU has no time to spare for it
        self._keeper = Keeper(self._state, self.context.checkpoint_dir, settings, beside=beside)
        self._last_metrics: Metrics = {}
        self._last_epoch = 0  # after or, of a report, in which the last evaluation was
        self._last_evaluations: dict[str, Evaluation] = {}  # by metric prefix

    @property
    def best(self) -> tuple[int, float] | None:
        """The best epoch so far, and its monitored value; None before the first has ended."""
        return self._keeper.best

    def fit(self, *, progress: bool = False) -> list[Metrics]:
        """Train until `epochs` or out of patience; the best epoch's weights are in the model afterwards.

        progress: show a bar on stderr; outside a terminal, such as in a notebook, a line per epoch.

        Returns the metrics of each epoch, `train/…` and `val/…`. A KeyboardInterrupt (Ctrl-C, or SIGTERM if its
        handler raises it) leaves a checkpoint if the batches are those of one of our samplers; a run that resumes from
        it, or calls `fit` again, gives the same bits as an uninterrupted one. With other batches the epoch begins anew.
        """
        if not progress:
            return self._fit_and_wait()
        own = self.context
        shown = TrainingProgress(self.settings.epochs, self.settings.monitor, first_epoch=self.epoch, quiet=rank() > 0)
        self.context = replace(own, hooks=own.hooks.also(shown.on_step, shown.on_epoch, shown.on_report))
        try:
            with shown:
                return self._fit_and_wait()
        finally:
            self.context = own

    def _fit_and_wait(self) -> list[Metrics]:
        try:
            return self._fit()
        finally:
            with HeldSignals():
                self._keeper.background.wait()

    def _fit(self) -> list[Metrics]:
        if self.epoch == 0 and self._running is None:
            self._report(self.evaluate_start())
            self._keeper.background.wait()
        history = []
        while self.epoch < self.settings.epochs and not self._keeper.out_of_patience(self.epoch):
            try:
                started = time.perf_counter()
                train = {f"train/{name}": value for name, value in self.train_epoch().items()}
                metrics = train | self._speed(time.perf_counter() - started) | self._evaluate_epoch()
                self._keeper.background.wait()
                self._report(metrics)  # before the checkpoint: a kill between the two repeats an epoch, loses none
            except (KeyboardInterrupt, TrainingPaused):
                self._keeper.keep_running(self._running)
                if self._running is not None and self._running.order is not None:
                    self.epoch = self._running.epoch  # if `fit` is called again, this epoch is not over
                raise
            with HeldSignals():
                self._keeper.keep(self.epoch, metrics[self.settings.monitor], self._evaluated)
            self._running = None
            history.append(metrics)
            self.context.hooks.on_saved(self.epoch)
        self._keeper.background.wait()
        if self.best is not None:
            self._keeper.restore_best(self._unwrapped)
        self._finished = True
        return history

    def _speed(self, seconds: float) -> Metrics:
        """Speed of the epoch; empty if the epoch was resumed after its last batch."""
        assert self._running is not None
        if self._running.num_examples == 0:
            return {}
        seconds -= self._running.evaluated_seconds
        return {"train/epoch_seconds": seconds, "train/examples_per_second": self._running.num_examples / seconds}

    def evaluate_start(self) -> Metrics:
        """Metrics before training. Raises ValueError if `monitor` is not among them: this must not cost an epoch."""
        if not self._last_metrics:
            self._last_metrics = self._evaluate_epoch()
            check_monitor(self.settings.monitor, self._last_metrics)
        return self._last_metrics

    def result(self) -> tuple[Metrics, dict[str, Evaluation], int]:
        """Metrics and evaluations by metric prefix, and the epoch they belong to: after `fit` those of `evaluate_all`
        with the best epoch's weights; those of the last evaluation, by the classification head, if a hook or a signal
        ended `fit`. If that was a report, they are only of the validation set.
        """
        if self._finished and self.best is not None:
            return *self.evaluate_all(), self.best[0]
        return self._last_metrics, self._last_evaluations, self._last_epoch

    def train_epoch(self) -> Metrics:
        """One pass over the training loader. Returns the mean `total_loss`, `bce_loss`, `contrastive_loss` in nats
        (and `instance_loss`, `consistency_loss` if they are on), `grad_norm`, `lr` and the statistics of the
        contrastive loss, see EpochStatistics. Raises FloatingPointError for a loss or embeddings that are not finite,
        ValueError if all `epochs` of the schedule are done.
        """
        num_batches = len(self.train_loader)  # type: ignore[arg-type]
        if num_batches == 0:
            raise ValueError("the training loader must have a batch, got none")
        if self.epoch >= self.settings.epochs:
            raise ValueError(
                f"the schedule has ended after {self.settings.epochs} epochs: "
                "to train longer, make the trainer with more epochs"
            )
        running = self._running
        if running is None or running.epoch < self.epoch or running.order is None:
            running = self._running = self._start_epoch(num_batches)
        else:  # after an exception, or `resume`
            self._shard.start(running.order, running.num_done)
        self.optimizer.zero_grad()  # an exception may have left gradients
        self.model.train()
        with HeldSignals() as signals:
            batches = iter(self.train_loader)  # draws from the random state
            if running.num_done > 0:
                self._state.restore_random_state()
            for index, batch in enumerate(batches, running.num_done):
                result = self._backward(batch, running, index, num_batches)
                ends_group = self._step.ends_group(index, num_batches)
                norm = self._update(index) if ends_group else torch.zeros((), device=self.device)
                running.add(index, result, norm)
                if ends_group:
                    running.num_done = index + 1
                self.context.hooks.on_step(index + 1, num_batches, {"total_loss": result.total_loss})
                if ends_group:
                    self._keeper.background.check()
                    self._tell_begun(running)
                    self._report_within(running)
                    self._stop_if_told(signals)
            self._state.note_random_states()
            self.epoch += 1
        lr = float(self.scheduler.get_last_lr()[0])
        return running.means(num_batches, self.steps_per_epoch) | {"lr": lr}

    def _backward(
        self, batch: Mapping[str, Tensor], running: RunningEpoch, index: int, num_batches: int
    ) -> BatchResult:
        """Raises FloatingPointError, which names batch and examples, for a loss or embeddings that are not finite."""
        try:
            return self._step.backward(batch, self.epoch, index, num_batches)
        except (FloatingPointError, NotFiniteError) as error:
            rows = error.rows if isinstance(error, NotFiniteError) else []
            raise FloatingPointError(f"{error}, in {running.place(index, rows)}") from error

    def _update(self, index: int) -> Tensor:
        """The optimizer step after batch `index`. Returns the norm of the gradient, a scalar."""
        norm = self._step.update()
        if self._average is not None:
            steps = self.epoch * self.steps_per_epoch + math.ceil((index + 1) / self.settings.accumulation_steps)
            self._average.update(self._unwrapped, steps)
        return norm

    def _start_epoch(self, num_batches: int) -> RunningEpoch:
        judged: Any = getattr(self._judged_batches, "batch_sampler", None)
        if hasattr(judged, "refresh"):  # hard negatives are chosen with the current weights
            judged.refresh(self._predict(self._unwrapped, self._judged_batches).embeddings)
        order = None
        if hasattr(self._sampler, "set_epoch"):
            self._sampler.set_epoch(self.epoch)
            order = list(self._sampler)
            self._shard.start(order, 0)
        statistics = EpochStatistics(self.loss, self.criteria, num_batches)
        return RunningEpoch(self.epoch, order, statistics, torch.zeros(NUM_SUMS, device=self.device))

    def _stop_if_told(self, signals: HeldSignals) -> None:
        """Raises KeyboardInterrupt in all processes if one of them received a signal."""
        told = signals.received is not None
        if num_processes() > 1:
            if told:
                self.accelerator.set_trigger()
            told = self.accelerator.check_trigger()
        if told:
            self._state.note_random_states()
            raise KeyboardInterrupt

    @property
    def _shard(self) -> ShardedBatches:
        shard = self.train_loader.batch_sampler  # type: ignore[attr-defined]
        assert isinstance(shard, ShardedBatches)
        return shard

    def evaluate(self) -> Metrics:
        """Metrics on the validation loader, without a prefix, at the decision thresholds that suit it best."""
        valid = self.predict(self.val_loader)
        return valid.metrics(self.criteria, valid)

    def evaluate_all(self) -> tuple[Metrics, dict[str, Evaluation]]:
        """`val/…` and the metrics of every held-out set, at the thresholds chosen on the validation loader.

        The probabilities are those of the context's judge. Unless it is the classification head, it is fitted on the
        training responses and kept as `self.judge`, and the metrics also tell what the head by itself scores. Returns
        the metrics, and the evaluations by metric prefix.
        """
        metrics, evaluations, self.judge = self._evaluator.at_end()
        return metrics, evaluations

    def _evaluate_epoch(self) -> Metrics:
        metrics, self._last_evaluations = self._evaluator.after_epoch(
            held_out=self.settings.held_out_each_epoch, steadiness=self.settings.steadiness == "each_epoch"
        )
        return metrics

    @property
    def _evaluator(self) -> Evaluator:
        return Evaluator(self.predict, self.val_loader, self._judged_batches, self.context, self.criteria, self.device)

    def _report(self, metrics: Metrics) -> None:
        self._last_metrics, self._last_epoch = metrics, self.epoch
        self._keeper.background.do(self.context.hooks.on_evaluation, self._last_evaluations, metrics, self.epoch)
        self.context.hooks.log(metrics, self.epoch)  # last, as it may end the run

    def _tell_begun(self, running: RunningEpoch) -> None:
        """Tell that the first optimizer step of the run is done: no checkpoint is written before that."""
        if self.epoch == 0 and running.num_done <= self.settings.accumulation_steps:
            started = time.perf_counter()
            self.context.hooks.on_begun()
            running.evaluated_seconds += time.perf_counter() - started

    def _report_within(self, running: RunningEpoch) -> None:
        """Evaluate the validation set if a report is due. What training draws from stays as it was."""
        step = math.ceil(running.num_done / self.settings.accumulation_steps)
        number = self.settings.report_within(step, self.steps_per_epoch)
        if number is None:
            return
        started, state = time.perf_counter(), random_state(self.device)
        metrics, self._last_evaluations = self._evaluator.after_epoch(
            held_out=False, steadiness=self.settings.steadiness == "each_epoch"
        )
        set_random_state(state, self.device)
        self._state.note_random_states()  # for the checkpoint, if the hook ends the run with one
        self._last_metrics, self._last_epoch = metrics, self.epoch + 1
        running.evaluated_seconds += time.perf_counter() - started
        number += self.epoch * self.reports_per_epoch
        self.context.hooks.on_report(Report(metrics, number, self.epoch + 1, step, self.steps_per_epoch))

    def predict(self, loader: Loader, *, dropout: bool = False) -> Evaluation:
        """The model's probabilities, features and embeddings on a loader, in the order of its split.

        In training they are those of the averaged weights, if the settings want an average and it has begun.
        """
        return self._predict(self._evaluated, loader, dropout=dropout)

    def _predict(self, model: ContrastiveQualityModel, loader: Loader, *, dropout: bool = False) -> Evaluation:
        with self.accelerator.autocast():
            return predict(model, loader, self.device, self.loss.projection, dropout=dropout)

    @property
    def _unwrapped(self) -> ContrastiveQualityModel:
        """The model without the wrapper for several processes, which would wait for the others."""
        model: ContrastiveQualityModel = self.accelerator.unwrap_model(self.model)
        return model

    @property
    def _evaluated(self) -> ContrastiveQualityModel:
        """The model with the weights that are evaluated and, if they are the best, kept."""
        averaged: Any = None if self._average is None or self._finished else self._average.model
        return self._unwrapped if averaged is None else averaged

    def resume(self, checkpoint_dir: Path) -> None:
        """Load the last checkpoint, so that `fit` continues with the next batch: weights, optimizer, schedule, random
        state, best epoch and, if it was saved within an epoch, the sums and the order of that epoch."""
        progress = self._state.load(checkpoint_dir)
        self.epoch, self._keeper.best = progress["epoch"], tuple(progress["best"]) or None
        if progress["running"] is not None:
            statistics = EpochStatistics(self.loss, self.criteria, len(self.train_loader))  # type: ignore[arg-type]
            running = RunningEpoch.restored(progress["running"], self.epoch, statistics, self.device)
            self._running = running

    def discard_checkpoints(self) -> None:
        """Delete the checkpoints, unless the settings keep them. Call it in the main process, after all is recorded."""
        if self.context.checkpoint_dir is not None and not self.settings.keep_checkpoints:
            delete_checkpoints(self.context.checkpoint_dir)


def _numbered(model: ContrastiveQualityModel) -> tuple[str, ...]:
    return tuple(f"criterion_{index}" for index in range(model.classification_head.out_features))


def _num_tokens(loader: Loader, settings: TrainerSettings) -> int | None:
    """Tokens of all epochs; None if the dataset does not know its `lengths`."""
    lengths = getattr(getattr(loader, "dataset", None), "lengths", None)
    return None if lengths is None else int(lengths.sum()) * settings.views * settings.epochs
