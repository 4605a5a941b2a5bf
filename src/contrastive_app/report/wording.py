"""Parameters and numbers as the report writes them."""

from collections.abc import Mapping
from typing import Any

from contrastive_learning.data.responses import METRIC_PREFIXES

# metric prefix -> what the report calls the split
SPLITS = {prefix: {"test_ood": "held-out domain"}.get(split, split) for split, prefix in METRIC_PREFIXES.items()}


def setting(params: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """The parameters as a person reads them: τ = 0.07, λ = 0.1"""
    return ", ".join(f"{labels.get(name, name)} = {compact(value)}" for name, value in params.items())


def compact(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def signed(value: float, digits: int = 3) -> str:
    """With its sign, unless all digits that are shown are zeros."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")
