"""A model on a held-out split: probabilities, features and embeddings, and the metrics computed from them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from contrastive_learning.data.batches import Batch
from contrastive_learning.metrics import (
    bootstrap_intervals,
    choose_thresholds,
    effective_rank,
    embedding_metrics,
    f1_scores,
    fit_concentrations,
    fit_vote_shares,
    quality_metrics,
    vote_share_metrics,
    vote_shares,
)
from contrastive_learning.model.model import ContrastiveQualityModel
from contrastive_learning.runtime.processes import gather_columns, num_processes, rank

FloatArray = NDArray[np.floating[Any]]  # as the model computed it: mostly float32
FEW_JUDGED = 100  # responses: figures of fewer are told with an interval
MAX_EMBEDDING_SAMPLES = 1000  # the embedding metrics compare all pairs


@dataclass(frozen=True)
class Evaluation:
    """The output of a model, with the votes. Rows are in the order of the split (of the loader, without `index`)."""

    probabilities: FloatArray  # [responses, criteria]
    features: FloatArray  # [responses, hidden]
    embeddings: FloatArray  # [responses, dim], unit norm
    yes_votes: FloatArray  # [responses, criteria]
    num_votes: FloatArray  # [responses, criteria]
    projection: str  # how the criteria share the embeddings, one of PROJECTIONS

    @cached_property
    def thresholds(self) -> FloatArray:
        """The best decision threshold per criterion [criteria], see `choose_thresholds`."""
        thresholds: FloatArray = choose_thresholds(self.probabilities, self.yes_votes, self.num_votes)
        return thresholds

    @cached_property
    def vote_shares(self) -> FloatArray:
        """How the expected vote share follows from the probability [criteria, 2], see `fit_vote_shares`."""
        fitted: FloatArray = fit_vote_shares(self.probabilities, self.yes_votes, self.num_votes)
        return fitted

    @cached_property
    def concentrations(self) -> FloatArray:
        """How many votes the expected vote share is worth per criterion [criteria], see `fit_concentrations`."""
        shares = vote_shares(self.probabilities, self.vote_shares)
        fitted: FloatArray = fit_concentrations(shares, self.yes_votes, self.num_votes)
        return fitted

    def metrics(self, criteria: Sequence[str], valid: "Evaluation") -> dict[str, float]:
        """Quality and embedding metrics without a prefix, at the thresholds and vote shares chosen on `valid`."""
        votes = self.yes_votes, self.num_votes
        quality = quality_metrics(self.probabilities, *votes, criteria, valid.thresholds)
        quality |= vote_share_metrics(vote_shares(self.probabilities, valid.vote_shares), *votes)
        embedding = self.embedding_metrics(criteria)
        spread = slice(None, None, 1 + len(self.features) // MAX_EMBEDDING_SAMPLES)  # rows may be sorted by domain
        embedding["feature_effective_rank"] = effective_rank(self.features[spread])
        return {**quality, **{f"embedding/{name}": value for name, value in embedding.items()}}

    def f1_intervals(
        self, criteria: Sequence[str], valid: "Evaluation", fewer_than: float = FEW_JUDGED
    ) -> dict[str, tuple[float, float]]:
        """95 % intervals of `f1/<criterion>` and `macro_f1` of `metrics`, where fewer than that are judged.

        They leave out the chance of training, and of choosing the thresholds on `valid`.
        """

        def scores(rows: Any) -> FloatArray:
            votes = self.yes_votes[rows], self.num_votes[rows]
            found = f1_scores(self.probabilities[rows], *votes, valid.thresholds)
            defined = found[np.isfinite(found)]
            return np.append(found, defined.mean() if len(defined) else np.nan)

        few = (self.num_votes > 0).sum(axis=0) < fewer_than
        if not few.any():
            return {}
        intervals = bootstrap_intervals(scores, len(self.probabilities))
        shown = np.append(few, True) & np.isfinite(scores(slice(None)))
        names = (*(f"f1/{criterion}" for criterion in criteria), "macro_f1")
        return {
            name: (float(low), float(high))
            for name, (low, high), is_shown in zip(names, intervals, shown, strict=True)
            if is_shown
        }

    def embedding_metrics(self, criteria: Sequence[str]) -> dict[str, float]:
        """Those of `embedding_metrics`, without a prefix, on at most MAX_EMBEDDING_SAMPLES responses."""
        return embedding_metrics(
            self.embeddings,
            self.yes_votes,
            self.num_votes,
            criteria,
            projection=self.projection,
            max_samples=MAX_EMBEDDING_SAMPLES,
            seed=0,
        )


@torch.no_grad()
def predict(
    model: ContrastiveQualityModel,
    loader: Iterable[Mapping[str, Tensor]],
    device: torch.device,
    projection: str,
    *,
    dropout: bool = False,
) -> Evaluation:
    """One pass in evaluation mode, if asked with dropout; the model's mode is restored. Processes share the batches."""
    was_training = model.training
    model.train(dropout)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()
    parts: list[tuple[Tensor, ...]] = []
    num_rows = 0
    for number, batch in enumerate(map(Batch.of, loader)):
        size = len(batch.input_ids)
        rows = torch.arange(num_rows, num_rows + size) if batch.index is None else batch.index
        num_rows += size
        if number % num_processes() == rank():
            output = model(batch.input_ids.to(device), batch.attention_mask)
            outputs = (torch.sigmoid(output.logits.float()), output.features.float(), output.embeddings)
            parts.append(tuple(column.cpu() for column in (rows, *outputs, batch.yes_votes, batch.num_votes)))
    model.train(was_training)
    if num_rows == 0:
        raise ValueError("an evaluation set must not be empty")
    order, *columns = gather_columns([torch.cat(column) for column in zip(*parts, strict=True)])
    arrays = (column[order.argsort()].numpy() for column in columns)
    probabilities, features, embeddings, yes_votes, num_votes = arrays
    return Evaluation(probabilities, features, embeddings, yes_votes, num_votes, projection)
