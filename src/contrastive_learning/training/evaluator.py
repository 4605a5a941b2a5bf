"""Judges the validation and the held-out sets with the model's current weights: after each epoch, and at the end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from contrastive_learning.choices import did_you_mean
from contrastive_learning.data.disturbed import Disturbed
from contrastive_learning.judging import LinearJudge, MixedJudge
from contrastive_learning.metrics.evaluation import Evaluation
from contrastive_learning.training.comparison import comparison
from contrastive_learning.training.context import Loader, Metrics, RunContext
from contrastive_learning.training.steadiness import steadiness_metrics

Evaluations = dict[str, Evaluation]  # by metric prefix: val, and those of `RunContext.held_out`
Predict = Callable[..., Evaluation]  # of a loader, and of dropout=True for a pass under dropout


@dataclass(frozen=True)
class Evaluator:
    """All metrics are at the thresholds chosen on the validation loader."""

    predict: Predict
    val_loader: Loader
    training_loader: Loader  # what a judge by vectors compares with, unless the context has a loader for it
    context: RunContext
    criteria: Sequence[str]
    device: torch.device

    def after_epoch(self, *, held_out: bool, steadiness: bool) -> tuple[Metrics, Evaluations]:
        """By the classification head; `held_out` and `steadiness` tell whether these are measured, too."""
        evaluations = self._predict_all(self.context.held_out if held_out else {})
        return self._metrics(evaluations, self.context.disturbed() if steadiness else {}, self.predict), evaluations

    def at_end(self) -> tuple[Metrics, Evaluations, MixedJudge | None]:
        """By the context's judge. Unless that is the classification head, it is fitted on the training responses and
        returned, and the metrics also tell what the head by itself scores.
        """
        linear = self._predict_all(self.context.held_out)
        if isinstance(self.context.judge, LinearJudge):
            return self._metrics(linear, self.context.disturbed(), self.predict), linear, None
        training = self.training_loader if self.context.training is None else self.context.training
        judge = self.context.judge.fit(self.predict(training), linear["val"])
        judged = {prefix: judge.judged(evaluation) for prefix, evaluation in linear.items()}

        def predict(loader: Loader, *, dropout: bool = False) -> Evaluation:
            return judge.judged(self.predict(loader, dropout=dropout))

        metrics = self._metrics(judged, self.context.disturbed(), predict)
        return metrics | comparison(judge, linear, self.criteria), judged, judge

    def _predict_all(self, held_out: Mapping[str, Loader]) -> Evaluations:
        return {"val": self.predict(self.val_loader)} | {
            name: self.predict(loader) for name, loader in held_out.items()
        }

    def _metrics(
        self, evaluations: Mapping[str, Evaluation], disturbed: Mapping[str, Disturbed], predict: Predict
    ) -> Metrics:
        valid = evaluations["val"]
        metrics: Metrics = {}
        for prefix, evaluation in evaluations.items():
            own = evaluation.metrics(self.criteria, valid)
            if prefix in disturbed:
                own |= steadiness_metrics(disturbed[prefix], evaluation, valid, predict, self.device)
            metrics |= {f"{prefix}/{name}": value for name, value in own.items()}
        return metrics


def check_monitor(monitor: str, metrics: Metrics) -> None:
    """Raises ValueError if the metric that picks the best epoch is not among those of an epoch."""
    if monitor == "val/macro_f1" and "val/auroc" not in metrics:
        raise ValueError(
            "val/macro_f1 needs a criterion on which valid has both yes and no, found none: give valid more responses"
        )
    if monitor not in metrics:
        names = (name for name in metrics if name.startswith("val/"))
        raise ValueError(f"trainer.monitor must be a val/ metric, got {monitor}{did_you_mean(monitor, names)}")
