"""The embeddings of the shown responses, epoch by epoch."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from contrastive_learning.metrics.evaluation import Evaluation
from contrastive_learning.pictures.shown import FloatArray, ShownResponses


class Frame(NamedTuple):
    epoch: int  # 0 = before training
    value: float  # the objective
    embeddings: FloatArray  # [responses, dim]
    probabilities: FloatArray  # [responses, criteria]


class EmbeddingHistory:
    """Kept in half precision, in memory and in one Parquet file, so that a resumed run continues it."""

    def __init__(self, path: Path, shown: ShownResponses) -> None:
        self.path, self.shown = path, shown
        self._frames: dict[int, Frame] = _read(path, shown.ids) if path.exists() else {}

    def __iter__(self) -> Iterator[Frame]:
        """The frames in the order of their epochs."""
        return (self._frames[epoch] for epoch in sorted(self._frames))

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, evaluation: Evaluation, epoch: int, value: float) -> Frame:
        """Record an evaluation of the split that `shown` is from. A repeated epoch replaces the earlier one."""
        rows = self.shown.rows
        frame = Frame(
            epoch,
            value,
            evaluation.embeddings[rows].astype(np.float16),
            evaluation.probabilities[rows].astype(np.float16),
        )
        self._frames[epoch] = frame
        self._write()
        return frame

    def _write(self) -> None:
        frames = list(self)
        num_shown = len(self.shown.ids)
        table = pa.table(
            {
                "epoch": np.repeat([frame.epoch for frame in frames], num_shown),
                "objective": np.repeat([frame.value for frame in frames], num_shown),
                "id": self.shown.ids * len(frames),
                "probabilities": _lists(np.concatenate([frame.probabilities for frame in frames])),
                "embeddings": _lists(np.concatenate([frame.embeddings for frame in frames])),
            }
        )
        temporary = self.path.with_suffix(".tmp")
        # floats neither repeat nor compress, and this is written every epoch
        pq.write_table(table, temporary, row_group_size=num_shown, use_dictionary=["id"], compression="none")
        temporary.replace(self.path)


def _lists(matrix: FloatArray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])


def _read(path: Path, ids: list[str]) -> dict[int, Frame]:
    file = pq.ParquetFile(path)
    frames = {}
    for group in range(file.num_row_groups):  # one per epoch
        table = file.read_row_group(group)
        if table["id"].to_pylist() != ids:
            raise ValueError(f"{path} shows other responses than this run: pictures.sample_size or the data changed")
        embeddings, probabilities = (_matrix(table[name]) for name in ("embeddings", "probabilities"))
        epoch = table["epoch"][0].as_py()
        frames[epoch] = Frame(epoch, table["objective"][0].as_py(), embeddings, probabilities)
    return frames


def _matrix(column: pa.ChunkedArray) -> FloatArray:
    flat: FloatArray = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), -1)
