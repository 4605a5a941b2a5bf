"""Where rated responses come from, and how they become batches.

In: files or settings. Out: `Splits` of checked `RatedResponse`s (a class here is a `DataSource`: all checks on outside
data happen in this package), then `tokenized.TokenizedData`, cached on disk, whose splits collate batches.
Only `inputs.py`, `token_files.py` and `tokenized.py` import other rooms: `model.encoders` for the tokenizer, and
`samplers.examples`.
Every other room may import `responses.py`, `batches.py` and `tokenized.py`.
"""

from contrastive_learning.data.aihub import AIHubData
from contrastive_learning.data.sample import SampleData
from contrastive_learning.data.votes_data import VotesData

__all__ = ["AIHubData", "SampleData", "VotesData"]
