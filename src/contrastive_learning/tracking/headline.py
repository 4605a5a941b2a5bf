"""The few metrics of a run that MLflow shows by themselves; `metrics_table.py` keeps every one."""

from collections.abc import Collection, Mapping

from contrastive_learning.choices import check_choice

OF_SPLIT = (
    "macro_f1",
    "auroc",
    "brier",
    "rank_agreement",
    "borderline/auroc",
    "borderline/flips",
    "linear/macro_f1",  # with a judge by vectors
)
HEADLINE = frozenset(
    [
        *(f"{split}/{name}" for split in ("val", "test", "test_ood") for name in OF_SPLIT),
        "val/embedding/silhouette",
        "val/embedding/effective_rank",
        *(f"train/{name}_loss" for name in ("total", "bce", "contrastive", "instance", "consistency")),
        "train/collapse_ratio",
        "train/examples_per_second",
    ]
)
CHOICES = ("headline", "all")


def check_metrics(choice: str) -> str:
    """Returns `choice`. Raises ValueError if it is none."""
    return check_choice("tracking.metrics", choice, CHOICES)


def chosen(metrics: Mapping[str, float], choice: str, always: Collection[str]) -> dict[str, float]:
    """What goes to the store, those of `always` first: MLflow's page that compares runs opens on the first metric.

    >>> chosen({"val/ece": 0.1, "val/auroc": 0.9, "val/f1/a": 0.8}, "headline", ["val/f1/a"])
    {'val/f1/a': 0.8, 'val/auroc': 0.9}
    """
    first = {name: metrics[name] for name in always if name in metrics}
    return first | {name: value for name, value in metrics.items() if choice == "all" or name in HEADLINE}
