"""How good a model is: its probabilities against votes, and the shape of its embedding space.

In: probabilities, embeddings and votes as arrays (or a model and a loader, for `evaluation.predict`). Out: metrics by
name, decision thresholds, reliability curves, an `Evaluation`. `table.METRICS` is the one list of quality metrics.
Imports `choices` and `projections`, and in `evaluation.py` also `data.batches`, `model` and `runtime`; training,
pictures, serving and the application may import it.
"""

from contrastive_learning.metrics.embeddings import effective_rank, embedding_metrics
from contrastive_learning.metrics.quality import Reliability, choose_thresholds, quality_metrics, reliability

__all__ = [
    "Reliability",
    "choose_thresholds",
    "effective_rank",
    "embedding_metrics",
    "quality_metrics",
    "reliability",
]
