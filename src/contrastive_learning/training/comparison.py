"""What a judge by vectors changes beside the classification head by itself, told as metrics and in a line."""

from collections.abc import Mapping, Sequence

from contrastive_learning.judging import MixedJudge
from contrastive_learning.metrics import quality_metrics
from contrastive_learning.metrics.evaluation import Evaluation

WEIGHT = "judge/weight/"  # + criterion: of the judge by vectors beside the classification head


def comparison(judge: MixedJudge, linear: Mapping[str, Evaluation], criteria: Sequence[str]) -> dict[str, float]:
    """The weight of the judge by vectors per criterion, and what the classification head by itself scores:
    `<prefix>/linear/macro_f1` and `<prefix>/linear/auroc`, if a split defines them.
    """
    metrics = {f"{WEIGHT}{name}": float(weight) for name, weight in zip(criteria, judge.weights, strict=True)}
    thresholds = linear["val"].thresholds
    for prefix, evaluation in linear.items():
        votes = evaluation.yes_votes, evaluation.num_votes
        found = quality_metrics(evaluation.probabilities, *votes, criteria, thresholds)
        metrics |= {f"{prefix}/linear/{name}": found[name] for name in ("macro_f1", "auroc") if name in found}
    return metrics


def comparison_remark(metrics: Mapping[str, float]) -> str:
    """One line that says what the judge by vectors changed, from the metrics of `comparison` and of the whole judge."""
    weights = [value for name, value in metrics.items() if name.startswith(WEIGHT)]
    suffix = "/linear/macro_f1"
    splits = [name.removesuffix(suffix) for name in metrics if name.endswith(suffix)]
    scores = ", ".join(f"{name} {metrics[f'{name}/macro_f1']:.3f} ({metrics[name + suffix]:.3f})" for name in splits)
    return (
        f"the judge by vectors has weight {min(weights):.2f} to {max(weights):.2f}; "
        f"macro F1 with it (without): {scores}"
    )
