"""A generated data set, to try everything without data of one's own.

In: sizes, a held-out topic, a seed. Out: `Splits`, equal for equal settings on every machine. source.py draws topics
(topics.py, subjects*.py), dialogues (dialogue.py), defects (defects.py), answers (answers.py) and votes (votes.py).
Imports `data.responses` and `choices`; only `data` imports it.
"""

from contrastive_learning.data.sample.source import SampleData

__all__ = ["SampleData"]
