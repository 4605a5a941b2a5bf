"""A model on a held-out set: probabilities, features and embeddings, and the metrics they give."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrastive_learning.dataset import TokenizedSplit
from contrastive_learning.metrics import choose_thresholds, effective_rank, embedding_metrics, quality_metrics
from contrastive_learning.models import ContrastiveQualityModel
from contrastive_learning.processes import gather_columns, num_processes, rank

FloatArray = NDArray[np.floating[Any]]
MAX_EMBEDDING_SAMPLES = 1000  # the embedding metrics compare all pairs


@dataclass(frozen=True)
class Evaluation:
    """Rows stand in the order of the split (of the loader, if its batches have no `index`)."""

    probabilities: FloatArray  # [examples, criteria]
    features: FloatArray  # [examples, hidden]
    embeddings: FloatArray  # [examples, dim], unit norm
    yes_votes: FloatArray  # [examples, criteria]
    num_votes: FloatArray  # [examples, criteria]

    def thresholds(self) -> FloatArray:
        """The decision threshold of each criterion [criteria] that suits this set best."""
        thresholds: FloatArray = choose_thresholds(self.probabilities, self.yes_votes, self.num_votes)
        return thresholds

    def metrics(self, criteria: Sequence[str], thresholds: FloatArray) -> dict[str, float]:
        """Quality and embedding metrics without a prefix. thresholds: [criteria], chosen on valid."""
        quality = quality_metrics(self.probabilities, self.yes_votes, self.num_votes, criteria, thresholds)
        embedding = embedding_metrics(
            self.embeddings,
            self.yes_votes,
            self.num_votes,
            criteria,
            max_samples=MAX_EMBEDDING_SAMPLES,
            seed=0,
        )
        spread = slice(None, None, 1 + len(self.features) // MAX_EMBEDDING_SAMPLES)  # rows may be sorted by domain
        embedding["feature_effective_rank"] = effective_rank(self.features[spread])
        return {**quality, **{f"embedding/{name}": value for name, value in embedding.items()}}


@torch.no_grad()
def predict(model: ContrastiveQualityModel, loader: Iterable[Mapping[str, Tensor]], device: torch.device) -> Evaluation:
    """One pass in evaluation mode; the model's mode is restored. Several processes share the batches."""
    was_training = model.training
    model.eval()
    parts: list[tuple[Tensor, ...]] = []
    num_rows = 0
    for number, batch in enumerate(loader):
        size = len(batch["input_ids"])
        rows = batch.get("index", torch.arange(num_rows, num_rows + size))
        num_rows += size
        if number % num_processes() == rank():
            output = model(batch["input_ids"].to(device), batch["attention_mask"].to(device))
            judged = (torch.sigmoid(output.logits.float()), output.features.float(), output.embeddings)
            parts.append(tuple(column.cpu() for column in (rows, *judged, *votes_of(batch))))
    model.train(was_training)
    if num_rows == 0:
        raise ValueError("an evaluation set must not be empty")
    order, *columns = gather_columns([torch.cat(column) for column in zip(*parts, strict=True)])
    return Evaluation(*(column[order.argsort()].numpy() for column in columns))


def votes_of(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(yes_votes, num_votes), each [batch, criteria] float, from our own keys or from `labels` in 0..1.

    `labels` are the share of yes votes; without `num_votes` each label counts as one vote, NaN as not judged.
    """
    if "yes_votes" in batch:
        return batch["yes_votes"].float(), batch["num_votes"].float()
    if "labels" not in batch:
        raise ValueError(f"a batch must have labels, or yes_votes and num_votes; got {', '.join(batch)}")
    labels = batch["labels"].float()
    judged = torch.isfinite(labels)
    if bool(((labels < 0) | (labels > 1)).any()):
        raise ValueError(f"labels must lie in 0..1, got {labels.min().item():g} to {labels.max().item():g}")
    num_votes = batch["num_votes"].float() if "num_votes" in batch else torch.ones_like(labels)
    num_votes = torch.where(judged, num_votes.expand_as(labels), 0.0)
    return torch.where(judged, labels * num_votes, 0.0), num_votes


def write_embeddings(path: Path, split: TokenizedSplit, evaluation: Evaluation) -> None:
    """One Parquet row a response: id, domain, yes_votes, num_votes, probabilities, features, embeddings."""
    columns: dict[str, Any] = {"id": split.column("id"), "domain": split.column("domain")}
    for name in ("yes_votes", "num_votes", "probabilities", "features", "embeddings"):
        values = getattr(evaluation, name).astype(np.float32)
        flat = pa.array(values.reshape(-1))
        columns[name] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    pq.write_table(pa.table(columns), path)
