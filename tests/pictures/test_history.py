import numpy as np
import pytest

from contrastive_learning.pictures.history import EmbeddingHistory
from contrastive_learning.pictures.shown import ShownResponses

IDS = [f"r{index}" for index in range(30)]


@pytest.fixture
def sample(make_split, criteria):
    return ShownResponses.of(make_split(IDS), criteria, 12)


def test_a_resumed_run_goes_on_with_the_frames_it_had(tmp_path, sample, make_split, evaluate):
    history = EmbeddingHistory(tmp_path / "history.parquet", sample)
    evaluations = [evaluate(make_split(IDS), seed) for seed in range(3)]
    for epoch, evaluation in enumerate(evaluations):
        history.add(evaluation, epoch, 0.5 + epoch / 10)
    again = EmbeddingHistory(tmp_path / "history.parquet", sample)
    assert [frame.epoch for frame in again] == [0, 1, 2]
    assert [frame.value for frame in again] == [0.5, 0.6, 0.7]
    for frame, evaluation in zip(again, evaluations, strict=True):
        assert frame.embeddings.dtype == np.float16
        assert frame.embeddings == pytest.approx(evaluation.embeddings[sample.rows], abs=1e-3)
        assert frame.probabilities == pytest.approx(evaluation.probabilities[sample.rows], abs=1e-3)
    again.add(evaluations[0], 2, 0.9)  # the epoch that was done, but had no checkpoint yet
    assert [frame.value for frame in again] == [0.5, 0.6, 0.9]
    assert len(EmbeddingHistory(tmp_path / "history.parquet", sample)) == 3


def test_a_history_of_other_responses_is_refused(tmp_path, sample, make_split, evaluate, criteria):
    EmbeddingHistory(tmp_path / "history.parquet", sample).add(evaluate(make_split(IDS), 0), 0, 0.5)
    with pytest.raises(ValueError, match="shows other responses than this run: pictures.sample_size or the data"):
        EmbeddingHistory(tmp_path / "history.parquet", ShownResponses.of(make_split(IDS), criteria, 11))
