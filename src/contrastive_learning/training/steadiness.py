"""Judges responses with split votes again: under dropout, and after small edits of their texts."""

from collections.abc import Callable

import torch

from contrastive_learning.data.disturbed import Batches, Disturbed
from contrastive_learning.metrics import steadiness
from contrastive_learning.metrics.evaluation import Evaluation
from contrastive_learning.metrics.steadiness import scattered
from contrastive_learning.runtime.devices import random_state, set_random_state
from contrastive_learning.runtime.processes import rank

DROPOUT_PASSES = 4
FLIPS = "borderline/flips"


def steadiness_metrics(
    disturbed: Disturbed,
    evaluation: Evaluation,
    valid: Evaluation,
    predict: Callable[..., Evaluation],
    device: torch.device,
) -> dict[str, float]:
    """`borderline/dropout_flips`, `dropout_sd`, `edit_flips`, `edit_sd`, and `flips`, the mean of the two kinds.

    evaluation: of the whole split, undisturbed; valid: what chose the thresholds. predict: of batches -> Evaluation,
    with dropout=True under dropout. The random state that training draws from stays as it was.
    """
    if len(disturbed.rows) == 0:
        return {}
    under_dropout = [
        (disturbed.rows, each.probabilities) for each in _under_dropout(disturbed.batches, predict, device)
    ]
    after_edits = [(rows, predict(batches).probabilities) for rows, batches in disturbed.edits]
    metrics: dict[str, float] = {}
    flips = []
    for kind, parts in (("dropout", under_dropout), ("edit", after_edits)):
        if not parts:
            continue
        found = steadiness(
            evaluation.probabilities,
            scattered(parts, len(evaluation.probabilities)),
            evaluation.yes_votes,
            evaluation.num_votes,
            valid.thresholds,
        )
        if found is not None:
            metrics |= {f"borderline/{kind}_flips": found.flips, f"borderline/{kind}_sd": found.sd}
            flips.append(found.flips)
    return metrics | {FLIPS: sum(flips) / len(flips)}


def _under_dropout(batches: Batches, predict: Callable[..., Evaluation], device: torch.device) -> list[Evaluation]:
    state = random_state(device)
    torch.manual_seed(rank())  # the same masks for every model
    try:
        return [predict(batches, dropout=True) for _ in range(DROPOUT_PASSES)]
    finally:
        set_random_state(state, device)
