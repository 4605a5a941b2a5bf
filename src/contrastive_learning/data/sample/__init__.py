"""A generated data set, to try everything on without data of one's own."""

from contrastive_learning.data.sample.source import SampleData

__all__ = ["SampleData"]
