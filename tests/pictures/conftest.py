import numpy as np
import pyarrow as pa
import pytest

from contrastive_learning.data.tokenized import TokenizedSplit
from contrastive_learning.metrics.evaluation import Evaluation

CRITERIA = ("fluent", "safe", "on_topic")


@pytest.fixture
def make_split():
    """A split of responses with three votes on each criterion, in the order given by `ids`."""

    def make(ids, *, response="맑고 따뜻해요", num_votes=3, criteria=CRITERIA):
        yes = [
            [int(name.encode()[-1] + 7 * column) % (num_votes + 1) for column in range(len(criteria))] for name in ids
        ]
        counts = pa.list_(pa.int16(), len(criteria))
        table = pa.table(
            {
                "id": list(ids),
                "domain": ["날씨"] * len(ids),
                "context": pa.array([["안녕하세요", "오늘 날씨 어때요?"]] * len(ids), pa.list_(pa.string())),
                "response": [response] * len(ids),
                "first_token": range(len(ids)),
                "num_tokens": [1] * len(ids),
                "text_number": range(len(ids)),
                "yes_votes": pa.array(yes, counts),
                "num_votes": pa.array([[num_votes] * len(criteria)] * len(ids), counts),
            }
        )
        return TokenizedSplit(table, np.ones(len(ids), dtype=np.int32), pad_token_id=0)

    return make


@pytest.fixture
def evaluate():
    """An evaluation of a split whose embeddings hold the vote shares in a random direction each, and noise."""

    def make(split, seed, dim=16, projection="shared"):
        rng = np.random.default_rng(seed)
        share = split.yes_votes / split.num_votes
        rows = share @ rng.normal(size=(share.shape[1], dim)) + 0.1 * rng.normal(size=(len(split), dim))
        embeddings = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        noise = rng.uniform(-0.1, 0.1, share.shape)
        probabilities = np.clip(share + noise, 0, 1).astype(np.float32)
        return Evaluation(probabilities, rows, embeddings, split.yes_votes, split.num_votes, projection)

    return make


@pytest.fixture
def criteria():
    return CRITERIA
