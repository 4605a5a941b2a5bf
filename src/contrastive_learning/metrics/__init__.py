"""What a model is worth: its probabilities against votes, and the shape of its embedding space."""

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
