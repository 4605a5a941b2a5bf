"""How good a model is: its probabilities against votes, and the shape of its embedding space.

In: probabilities, embeddings and votes as arrays (or a model and a loader, for `evaluation.predict`). Out: metrics by
name, decision thresholds, reliability curves, an `Evaluation`; which votes to ask for, which labels may be wrong.
`table.METRICS` is the one list of quality metrics.
Imports `choices` and `projections`, and in `evaluation.py` also `data.batches`, `model` and `runtime`; training,
pictures, serving and the application may import it.
"""

from contrastive_learning.metrics.asking import chances_of_error, posterior_shares, values_of_a_vote
from contrastive_learning.metrics.embeddings import effective_rank, embedding_metrics
from contrastive_learning.metrics.quality import (
    Reliability,
    choose_thresholds,
    f1_scores,
    quality_metrics,
    reliability,
    vote_share_metrics,
)
from contrastive_learning.metrics.resampling import bootstrap_intervals
from contrastive_learning.metrics.steadiness import Steadiness, steadiness
from contrastive_learning.metrics.vote_shares import (
    fit_concentrations,
    fit_vote_shares,
    vote_share_intervals,
    vote_shares,
)

__all__ = [
    "Reliability",
    "Steadiness",
    "bootstrap_intervals",
    "chances_of_error",
    "choose_thresholds",
    "effective_rank",
    "embedding_metrics",
    "f1_scores",
    "fit_concentrations",
    "fit_vote_shares",
    "posterior_shares",
    "quality_metrics",
    "reliability",
    "steadiness",
    "values_of_a_vote",
    "vote_share_intervals",
    "vote_share_metrics",
    "vote_shares",
]
